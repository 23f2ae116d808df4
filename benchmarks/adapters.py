"""What one cloud call costs: our adapter, the bare vendor SDK and a bare httpx2 POST, in CPU, interleaved.

    python benchmarks/adapters.py [--requests 300] [--rounds 5]

All three talk to the loopback emulator in another process. A figure is the median over the rounds of this process's
CPU microseconds per call; a ratio is against the bare POST of the same round. Per chunk: the difference between a
long and a short stream, divided by the chunks between them.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import multiprocessing
import statistics
import time
from collections.abc import Awaitable, Callable
from multiprocessing.connection import Connection

import httpx2

from hybridinfer.drill.emulator import Emulator
from hybridinfer.policy.model import TargetBlock
from hybridinfer.targets.anthropic import AnthropicTarget
from hybridinfer.targets.base import TargetContext
from hybridinfer.targets.openai import OpenAITarget
from hybridinfer.types import Message, Request, Text

SHORT, LONG = 8, 400
Call = Callable[[bool, int], Awaitable[None]]


def serve(pipe: Connection) -> None:
    """The emulator's process."""
    from hybridinfer.drill import serve as serving
    from hybridinfer.drill.replies import Reply

    def reply(request: Request) -> Reply:
        words = request.max_tokens or SHORT
        return Reply(text="word " * words, input_tokens=9, output_tokens=words)

    serving.reply = reply  # type: ignore[attr-defined]
    with Emulator() as emulator:
        pipe.send((emulator.base_url_openai, emulator.base_url_anthropic))
        pipe.recv()


def ours(kind: str, url: str) -> Call:
    """Our adapter: events, usage, every check."""
    factory = OpenAITarget if kind == "openai" else AnthropicTarget
    context = TargetContext(name="t", environ={"OPENAI_API_KEY": "k", "ANTHROPIC_API_KEY": "k"})
    target = factory(TargetBlock(kind=kind, model="m", base_url=url), context)

    async def call(stream: bool, words: int) -> None:
        request = Request(messages=(Message(role="user", parts=(Text(text="hi"),)),), max_tokens=words)
        async for _ in target.stream(request, stream=stream):
            pass

    return call


def vendor(kind: str, url: str, client: httpx2.AsyncClient) -> Call:
    """The vendor's SDK as its manual shows it."""
    messages = [{"role": "user", "content": "hi"}]
    if kind == "openai":
        import openai

        gpt = openai.AsyncOpenAI(api_key="k", base_url=url, http_client=client, max_retries=0)

        async def call(stream: bool, words: int) -> None:
            extra = {"stream_options": {"include_usage": True}} if stream else {}
            answer = await gpt.chat.completions.create(
                model="m", messages=messages, max_tokens=words, stream=stream, **extra
            )
            if stream:
                async for _ in answer:
                    pass

        return call
    import anthropic

    claude = anthropic.AsyncAnthropic(
        api_key="k", base_url=url, http_client=client, max_retries=0, open_telemetry=False
    )

    async def call(stream: bool, words: int) -> None:
        answer = await claude.messages.create(model="m", messages=messages, max_tokens=words, stream=stream)
        if stream:
            async for _ in answer:
                pass

    return call


def bare(kind: str, url: str, client: httpx2.AsyncClient) -> Call:
    """A POST and json.loads; for a stream, its lines."""
    path = "/chat/completions" if kind == "openai" else "/v1/messages"
    headers = {"authorization": "Bearer k", "content-type": "application/json"}

    async def call(stream: bool, words: int) -> None:
        body = {"model": "m", "messages": [{"role": "user", "content": "hi"}], "max_tokens": words, "stream": stream}
        content = json.dumps(body).encode()
        if not stream:
            (await client.post(url + path, content=content, headers=headers)).json()
            return
        async with client.stream("POST", url + path, content=content, headers=headers) as response:
            async for line in response.aiter_lines():
                if line.startswith("data: {"):
                    json.loads(line[6:])

    return call


async def cpu(call: Call, *, stream: bool, words: int, number: int) -> float:
    """CPU microseconds per call."""
    before = time.process_time()
    for _ in range(number):
        await call(stream, words)
    return (time.process_time() - before) / number * 1e6


async def measure(kind: str, url: str, requests: int, rounds: int) -> None:
    client = httpx2.AsyncClient(limits=httpx2.Limits(max_keepalive_connections=10))
    contenders = {
        "bare POST": bare(kind, url, client),
        "vendor SDK": vendor(kind, url, client),
        "ours": ours(kind, url),
    }
    for call in contenders.values():  # imports, connections, caches
        await cpu(call, stream=True, words=SHORT, number=20)
        await cpu(call, stream=False, words=SHORT, number=20)
    figures: dict[str, dict[str, list[float]]] = {name: {"whole": [], "stream": [], "chunk": []} for name in contenders}
    for _ in range(rounds):
        for name, call in contenders.items():
            figures[name]["whole"].append(await cpu(call, stream=False, words=SHORT, number=requests))
            short = await cpu(call, stream=True, words=SHORT, number=requests // 2)
            long = await cpu(call, stream=True, words=LONG, number=max(1, requests // 10))
            figures[name]["stream"].append(short)
            figures[name]["chunk"].append((long - short) / (LONG - SHORT))
    await client.aclose()
    for name, kinds in figures.items():
        cells = []
        for what, values in kinds.items():
            ratio = statistics.median(a / b for a, b in zip(values, figures["bare POST"][what], strict=True))
            cells.append(f"{what} {statistics.median(values):8.1f} us x{ratio:.2f}")
        print(f"{kind:10} {name:11} " + "   ".join(cells))


def main() -> None:
    """Measure both vendors."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--requests", type=int, default=300)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    here, there = multiprocessing.Pipe()
    process = multiprocessing.get_context("spawn").Process(target=serve, args=(there,))
    process.start()
    urls = here.recv()
    for kind, url in zip(("openai", "anthropic"), urls, strict=True):
        asyncio.run(measure(kind, url, options.requests, options.rounds))
    here.send("stop")
    process.join()


if __name__ == "__main__":
    main()
