"""How fast the local models are on this machine.

    python benchmarks/engine.py [--models smollm2-135m,...] [--rounds 5] [--threads N] [--quick] [--json]
                                [--llama-python PATH] [--soak REQUESTS]

For each model that is here: load seconds in a fresh process, prefill and decode tokens per second, time to first
token at 128 prompt tokens, memory; tokens per second of 1, 2, 4 and 8 answers at once; time to first token of a
prompt of 908 tokens, new and with 900 of them known. With --llama-python, a Python that has llama-cpp-python, the
same file is measured there, round by round in turn, and the ratio is shown. Medians of the rounds, best in brackets:
the best is what the machine can do, the median what it did. Ratios are medians of the ratios within a round.

--soak sends so many short requests, eight at a time, and shows the memory on the way.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import time
from pathlib import Path

PREFILL, DECODE = 128, 48
PROMPT = [(37 * number) % 40000 + 300 for number in range(PREFILL)]
TOGETHER, STEPS, START = (1, 2, 4, 8), 16, 32
KNOWN, NEW = 900, 8

LLAMA = """
import json, sys, time
from llama_cpp import Llama
path, threads, prompt, decode = sys.argv[1], int(sys.argv[2]), json.loads(sys.argv[3]), int(sys.argv[4])
begun = time.perf_counter()
model = Llama(path, n_ctx=1024, n_threads=threads, n_threads_batch=threads, verbose=False)
print(json.dumps({"load": time.perf_counter() - begun}), flush=True)
for _ in sys.stdin:
    model.reset()
    a = time.perf_counter(); model.eval(prompt)
    b = time.perf_counter()
    for _ in range(decode): model.eval([500])
    c = time.perf_counter()
    rss = int(open("/proc/self/status").read().split("VmRSS:")[1].split()[0]) / 1e3
    print(json.dumps({"prefill": len(prompt) / (b - a), "decode": decode / (c - b), "ttft": b - a, "rss": rss}), flush=True)
"""


def main() -> None:
    from hybridinfer.edge.catalogue import catalogue, find
    from hybridinfer.edge.store import Store
    from hybridinfer.edge.threads import default_threads

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", default="", help="names or paths, with commas; all that are here")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=default_threads())
    parser.add_argument("--llama-python", default="")
    parser.add_argument("--quick", action="store_true", help="the first model only, two rounds")
    parser.add_argument("--soak", type=int, default=0)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--child", default="", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        (soak if options.soak else serve)(options.child, options.threads, options.soak)
        return
    store = Store.default()
    names = [name for name in options.models.split(",") if name]
    models = [find(name) for name in names] or [m for m in catalogue().values() if store.state(m) != "absent"]
    if options.quick:
        models, options.rounds = models[:1], 2
    rows = []
    for model in models:
        file = store.file(model)
        ours = [sys.executable, __file__, "--child", model.id, "--threads", str(options.threads)]
        if options.soak:
            subprocess.run([*ours, "--soak", str(options.soak)], check=True)
            continue
        engines = {"hybridinfer": Engine(ours)}
        if options.llama_python:
            arguments = [str(file), str(options.threads), json.dumps(PROMPT), str(DECODE)]
            engines["llama.cpp"] = Engine([options.llama_python, "-c", LLAMA, *arguments])
        for _ in range(options.rounds):  # in turn, so that both meet the same noise
            for engine in engines.values():
                engine.round()
        rows += [{"model": model.id, "engine": name} | engine.summary() for name, engine in engines.items()]
        if "llama.cpp" in engines:
            ours_, theirs = engines["hybridinfer"].rounds, engines["llama.cpp"].rounds
            for key in ("prefill", "decode"):
                pairs = zip(ours_, theirs, strict=True)
                rows[-2][f"{key}_ratio"] = statistics.median(one[key] / other[key] for one, other in pairs)
        for engine in engines.values():
            engine.close()
    if options.json:
        print(json.dumps({"threads": options.threads, "rounds": options.rounds, "rows": rows}, indent=2))
    elif rows:
        table(rows, options.threads)


class Engine:
    """A child process that measures one round for each line it reads."""

    def __init__(self, command: list[str]) -> None:
        self._child = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.rounds: list[dict[str, float]] = []
        self._load = self._read()["load"]

    def round(self) -> None:
        """Measure once more."""
        assert self._child.stdin
        self._child.stdin.write("\n")
        self._child.stdin.flush()
        self.rounds.append(self._read())

    def summary(self) -> dict[str, float]:
        """Medians, and the best of the speeds."""
        medians = {key: statistics.median(row[key] for row in self.rounds) for key in self.rounds[0]}
        best = {f"best_{key}": max(row[key] for row in self.rounds) for key in ("prefill", "decode")}
        ratios = {
            f"{key}_ratio": statistics.median(row[key] / row[base] for row in self.rounds)
            for key, base in [*((f"x{count}", "x1") for count in TOGETHER[1:]), ("cached", "cold")]
            if key in medians
        }
        return {"load": self._load, **medians, **best, **ratios}

    def close(self) -> None:
        """End the child."""
        self._child.communicate()

    def _read(self) -> dict[str, float]:
        assert self._child.stdout
        return json.loads(self._child.stdout.readline())


def serve(name: str, threads: int, _: int) -> None:
    """The child: load `name`, then a round for each line of stdin."""
    from hybridinfer.edge.catalogue import find
    from hybridinfer.edge.pool import load
    from hybridinfer.edge.session import Sequence, Stop, runtime
    from hybridinfer.edge.store import Store

    runtime()
    begun = time.perf_counter()
    loaded = load(find(name), Store.default(), threads=threads, pull=False)
    print(json.dumps({"load": time.perf_counter() - begun}), flush=True)
    sequence, stop, desk = Sequence(loaded.session), Stop(), Desk(loaded)
    for _line in sys.stdin:
        sequence.length = 0
        start = time.perf_counter()
        sequence.feed(PROMPT, stop)
        middle = time.perf_counter()
        for _step in range(DECODE):
            sequence.feed([500], stop)
        end = time.perf_counter()
        row = {
            "prefill": PREFILL / (middle - start),
            "decode": DECODE / (end - middle),
            "ttft": middle - start,
            "rss": rss(),
            **{f"x{count}": desk.throughput(count) for count in TOGETHER},
        }
        row["cold"], row["cached"] = desk.first_tokens()
        print(json.dumps(row), flush=True)


class Desk:
    """The engine's batch in the hands of the benchmark."""

    def __init__(self, loaded) -> None:
        from hybridinfer.edge.batch import Batch
        from hybridinfer.edge.session import Stop

        self.batch = Batch(loaded, count=max(TOGETHER), memory=2 << 30, halt=Stop(), ended=lambda _: None)
        self._turn = 0

    def throughput(self, count: int) -> float:
        """Tokens per second of `count` answers at once, their prompts run already."""
        tasks = [self._add(PROMPT[number : number + START], lambda _: None)[0] for number in range(count)]
        while self.batch.writing < count:
            self.batch.round()
        begun = time.perf_counter()
        for _ in range(STEPS):
            self.batch.round()
        seconds = time.perf_counter() - begun
        for task in tasks:
            task.cancel()
        self.batch.round()
        return count * STEPS / seconds

    def first_tokens(self) -> tuple[float, float]:
        """Seconds to the first token: of a new prompt, and of one whose beginning is known."""
        self._turn += 1
        random = [(977 * (number + 1) * self._turn) % 40000 + 300 for number in range(KNOWN + 2 * NEW)]
        scope = str(self._turn)
        return self._first(random[: KNOWN + NEW], scope), self._first(random[:KNOWN] + random[-NEW:], scope)

    def _first(self, tokens: list[int], scope: str) -> float:
        begun = time.perf_counter()
        task, items = self._add(tokens, scope=scope)
        while not self.batch.writing:
            self.batch.round()
        seconds = time.perf_counter() - begun
        task.cancel()
        self.batch.round()
        assert items is not None
        return seconds

    def _add(self, tokens: list[int], emit=None, scope: str | None = None):
        from hybridinfer.edge.engine import Task
        from hybridinfer.edge.generate import Prompt

        items: list = []
        prompt = Prompt(tokens=tuple(tokens), max_tokens=2000, context=4096, scope=scope, constraint=Endless)
        task = Task(prepare=lambda _: prompt, emit=emit or items.append)
        self.batch.add(task)
        return task, items


class Endless:
    """A constraint under which no answer ends by itself."""

    done = False

    def __init__(self, tokenizer) -> None:
        self._ends = list(tokenizer.end_ids)

    def mask(self, logits) -> None:
        """Forbid the end."""
        logits[self._ends] = float("-inf")

    def accept(self, token: int) -> None:
        """Nothing to remember."""


def soak(name: str, threads: int, requests: int) -> None:
    """Short requests, eight at a time, through the engine's own thread."""
    import queue
    import random

    from hybridinfer.edge.catalogue import find
    from hybridinfer.edge.engine import Engine as Local
    from hybridinfer.edge.engine import Task
    from hybridinfer.edge.generate import Done, Piece, Prompt
    from hybridinfer.edge.pool import load
    from hybridinfer.edge.store import Store

    engine = Local(lambda: load(find(name), Store.default(), threads=threads, pull=False), name=name, memory=256 << 20)
    ended: queue.Queue = queue.Queue()
    draw = random.Random(1)

    def send() -> None:
        tokens = tuple(draw.choices(PROMPT, k=draw.randint(4, 100)))
        scope = draw.choice([None, "a", "b"])
        prompt = Prompt(tokens=tokens, max_tokens=draw.randint(1, 8), context=512, scope=scope)
        emit = lambda item: None if isinstance(item, Piece) else ended.put(item)  # noqa: E731
        engine.submit(Task(prepare=lambda _: prompt, emit=emit))

    begun, failed = time.perf_counter(), 0
    for _ in range(8):
        send()
    for number in range(1, requests + 1):
        failed += not isinstance(ended.get(), Done)
        if number % max(1, requests // 10) == 0:
            print(f"{name}: {number} requests, {time.perf_counter() - begun:.0f} s, RSS {rss():.0f} MB", flush=True)
        if number <= requests - 8:
            send()
    print(f"{name}: {failed} failed")
    engine.close()


def rss() -> float:
    """Resident memory in MB."""
    return int(Path("/proc/self/status").read_text("ascii").split("VmRSS:")[1].split()[0]) / 1e3


def table(rows: list[dict], threads: int) -> None:
    print(f"{threads} threads; {PREFILL} tokens of prompt, {DECODE} of answer; medians (best)\n")
    print("| model | engine | decode tok/s | prefill tok/s | TTFT s | load s | RSS MB |\n|---|---|---|---|---|---|---|")
    for row in rows:
        print(
            f"| {row['model']} | {row['engine']} | {row['decode']:.1f} ({row['best_decode']:.1f}) "
            f"| {row['prefill']:.0f} ({row['best_prefill']:.0f}) | {row['ttft']:.2f} | {row['load']:.2f} | {row['rss']:.0f} |"
        )
    for row in rows:
        if "decode_ratio" in row:
            print(
                f"\n{row['model']}: {row['decode_ratio']:.2f} of llama.cpp's decode, {row['prefill_ratio']:.2f} of its prefill"
            )
    print("\n| model | " + " | ".join(f"{count} at once, tok/s" for count in TOGETHER), end=" ")
    print(f"| TTFT s, {KNOWN + NEW} tokens | {KNOWN} of them known |\n|---|" + "---|" * (len(TOGETHER) + 2))
    for row in rows:
        if "x1" in row:
            speeds = [f"{row['x1']:.1f}"]
            speeds += [f"{row[f'x{count}']:.1f} ({row[f'x{count}_ratio']:.2f}x)" for count in TOGETHER[1:]]
            print(
                f"| {row['model']} | {' | '.join(speeds)} | {row['cold']:.2f} | {row['cached']:.3f} ({row['cached_ratio']:.1%}) |"
            )


if __name__ == "__main__":
    main()
