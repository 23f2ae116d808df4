"""How fast the local models are on this machine.

    python benchmarks/engine.py [--models smollm2-135m,...] [--only speed,together,first] [--rounds 5] [--seconds 60]
                                [--quick] [--threads N] [--llama-python PATH] [--json] [--soak REQUESTS]

For each model that is here, load seconds in a fresh process and memory, and

- speed: prefill and decode tokens per second and time to first token at 128 prompt tokens. With --llama-python, a
  Python that has llama-cpp-python, the same file is measured there, on as many threads, in turn with ours: short
  rounds for so many seconds, so that both meet the same noise;
- together: tokens per second of 1, 2, 4 and 8 answers at once;
- first: time to first token of a prompt of 908 tokens: new, with 900 of them known, and with these 900 from the disk
  (`prefix_disk`; takes the extra `protect`).

Medians of the rounds, best in brackets: the best is what the machine can do, the median what it did. Ratios are
medians of the ratios within a round, and ratios of the bests. --quick: speed alone, 30 seconds for each model.

--soak sends so many short requests, eight at a time, one in ten cancelled, and shows the memory on the way, by thirds
at the end, and the slots and bytes that are left behind.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

PREFILL, DECODE = 128, 16
LEAST_ROUNDS = 3
PROMPT = [(37 * number) % 40000 + 300 for number in range(PREFILL)]
TOGETHER, STEPS, START = (1, 2, 4, 8), 12, 32
KNOWN, NEW = 900, 8
SHORT = (4, 4, 8, 8, 16, 70)  # tokens of a short prompt; the longest is worth remembering
PARTS = ("speed", "together", "first")
PAUSE = 0.02  # the threads of who was measured last stop spinning
QUICK_SECONDS = 30.0

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
    parser.add_argument("--only", default=",".join(PARTS), help="speed, together, first")
    parser.add_argument("--rounds", type=int, default=5, help="of together and first")
    parser.add_argument("--seconds", type=float, default=60.0, help="for the speed of each model")
    parser.add_argument("--threads", type=int, default=default_threads())
    parser.add_argument("--llama-python", default="")
    parser.add_argument("--quick", action="store_true", help=f"speed alone, {QUICK_SECONDS:.0f} seconds for each model")
    parser.add_argument("--soak", type=int, default=0)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--child", default="", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        (soak if options.soak else serve)(options.child, options.threads, options.soak)
        return
    store = Store.default()
    names = [name for name in options.models.split(",") if name]
    models = [find(name) for name in names] or [m for m in catalogue().values() if store.state(m) == "ready"]
    if options.quick:
        options.only, options.seconds = "speed", min(options.seconds, QUICK_SECONDS)
    rows = []
    for model in models:
        ours = [sys.executable, __file__, "--child", model.id, "--threads", str(options.threads)]
        if options.soak:
            subprocess.run([*ours, "--soak", str(options.soak)], check=True)
            continue
        theirs = None
        if options.llama_python:
            arguments = [str(store.file(model)), str(options.threads), json.dumps(PROMPT), str(DECODE)]
            theirs = [options.llama_python, "-c", LLAMA, *arguments]
        rows += measure(model.id, ours, theirs, options)
    if options.json:
        print(json.dumps({"threads": options.threads, "load": os.getloadavg(), "rows": rows}, indent=2))
    elif rows:
        table(rows, options.threads)


def measure(name: str, ours: list[str], theirs: list[str] | None, options: argparse.Namespace) -> list[dict]:
    """The rows of one model: ours, and llama.cpp's where there is one."""
    engines = {"hybridinfer": Engine(ours)} | ({"llama.cpp": Engine(theirs)} if theirs else {})
    parts = options.only.split(",")
    if "speed" in parts:
        for engine in engines.values():
            engine.warm_up()
        end, done = time.perf_counter() + options.seconds, 0
        while done < LEAST_ROUNDS or time.perf_counter() < end:
            for engine in list(engines.values())[:: -1 if done % 2 else 1]:  # neither is always first
                engine.round("speed")
                time.sleep(PAUSE)
            done += 1
    for part in PARTS[1:]:
        for _ in range(options.rounds if part in parts else 0):
            engines["hybridinfer"].round(part)
    rows = [{"model": name, "engine": engine} | child.summary() for engine, child in engines.items()]
    if theirs and "speed" in parts:
        for key in ("prefill", "decode"):
            pairs = list(zip(*([row[key] for row in child.rounds["speed"]] for child in engines.values()), strict=True))
            rows[0][f"{key}_ratio"] = statistics.median(one / other for one, other in pairs)
            rows[0][f"best_{key}_ratio"] = rows[0][f"best_{key}"] / rows[1][f"best_{key}"]
        rows[0]["rounds"] = len(pairs)
    for child in engines.values():
        child.close()
    return rows


class Engine:
    """A child process that measures a part once for each line it reads."""

    def __init__(self, command: list[str]) -> None:
        self._child = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.rounds: dict[str, list[dict[str, float]]] = {}
        self._load = self._read()["load"]

    def warm_up(self) -> None:
        """Measure the speed once, for nothing."""
        self.round("speed")
        self.rounds.clear()

    def round(self, part: str) -> None:
        """Measure once more."""
        assert self._child.stdin
        self._child.stdin.write(f"{part}\n")
        self._child.stdin.flush()
        self.rounds.setdefault(part, []).append(self._read())

    def summary(self) -> dict[str, float]:
        """Medians, and the best of the speeds."""
        values = {key: [row[key] for row in rows] for rows in self.rounds.values() for key in rows[0]}
        medians = {key: statistics.median(list_) for key, list_ in values.items()}
        best = {f"best_{key}": max(values[key]) for key in ("prefill", "decode") if key in values}
        ratios = {}
        for part, keys, base in (
            ("together", [f"x{count}" for count in TOGETHER[1:]], "x1"),
            ("first", ["cached", "disk"], "cold"),
        ):
            for key in keys if part in self.rounds else ():
                ratios[f"{key}_ratio"] = statistics.median(row[key] / row[base] for row in self.rounds[part])
                if part == "together":
                    ratios[f"best_{key}_ratio"] = max(values[key]) / max(values[base])
        return {"load": self._load, **medians, **best, **ratios}

    def close(self) -> None:
        """End the child."""
        self._child.communicate()

    def _read(self) -> dict[str, float]:
        assert self._child.stdout
        return json.loads(self._child.stdout.readline())


def serve(name: str, threads: int, _: int) -> None:
    """The child: load `name`, then measure the part that each line of stdin names."""
    from hybridinfer.edge.catalogue import find
    from hybridinfer.edge.pool import load
    from hybridinfer.edge.session import Sequence, Stop, runtime
    from hybridinfer.edge.store import Store

    runtime()
    begun = time.perf_counter()
    loaded = load(find(name), Store.default(), threads=threads, pull=False)
    print(json.dumps({"load": time.perf_counter() - begun}), flush=True)
    sequence, stop, desk = Sequence(loaded.session), Stop(), Desk(loaded)
    for line in sys.stdin:
        if line.strip() == "speed":
            sequence.length = 0
            start = time.perf_counter()
            sequence.feed(PROMPT, stop)
            middle = time.perf_counter()
            for _step in range(DECODE):
                sequence.feed([500], stop)
            end = time.perf_counter()
            row = {"prefill": PREFILL / (middle - start), "decode": DECODE / (end - middle), "ttft": middle - start}
            row["rss"] = rss()
        elif line.strip() == "together":
            row = {f"x{count}": desk.throughput(count) for count in TOGETHER}
        else:
            row = dict(zip(("cold", "cached", "disk"), desk.first_tokens(), strict=True))
        print(json.dumps(row), flush=True)


class Desk:
    """The engine's batch in the hands of the benchmark."""

    def __init__(self, loaded) -> None:
        from hybridinfer.edge.batch import Batch
        from hybridinfer.edge.session import Stop

        self.batch = Batch(loaded, count=max(TOGETHER), memory=2 << 30, halt=Stop(), ended=lambda _: None)
        self._session = loaded.session
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

    def first_tokens(self) -> tuple[float, float, float]:
        """Seconds to the first token: of a new prompt, of one whose beginning is known, and of one known to the disk."""
        from hybridinfer.edge.prefix import BLOCK, PrefixCache
        from hybridinfer.edge.prefix_disk import PrefixDisk

        self._turn += 1
        random = [(977 * (number + 1) * self._turn) % 40000 + 300 for number in range(KNOWN + 2 * NEW)]
        scope, again, limit = str(self._turn), random[:KNOWN] + random[-NEW:], 1 << 30
        shape = (len(self._session.past), self._session.heads, BLOCK, self._session.head_size)
        with tempfile.TemporaryDirectory() as folder:
            disk = PrefixDisk(Path(folder), bytes(32), limit=limit, shape=shape, identity="benchmark")
            self.batch.prefixes.make_room(self.batch.memory.limit)
            self.batch.prefixes = PrefixCache(self.batch.memory, limit, disk)
            cold, known = self._first(random[: KNOWN + NEW], scope), self._first(again, scope)
            disk.close()
            self.batch.prefixes.make_room(self.batch.memory.limit)  # what was known is on the disk only
            return cold, known, self._first(again, scope)

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
    """Short requests, eight at a time, through the engine's own thread; fails where a row or its memory is left."""
    import queue
    import random

    from hybridinfer.edge import engine as module
    from hybridinfer.edge.catalogue import find
    from hybridinfer.edge.generate import Done, Piece, Prompt
    from hybridinfer.edge.pool import load
    from hybridinfer.edge.store import Store
    from hybridinfer.edge.vocabulary import Vocabulary
    from hybridinfer.receipt import Code

    batches: list[module.Batch] = []

    class Seen(module.Batch):
        """A batch that can be looked into afterwards."""

        def __init__(self, *arguments, **named) -> None:
            super().__init__(*arguments, **named)
            batches.append(self)

    module.Batch = Seen
    loading = lambda: load(find(name), Store.default(), threads=threads, pull=False)  # noqa: E731
    engine = module.Engine(loading, name=name, memory=64 << 20)
    ended: queue.Queue = queue.Queue()
    draw = random.Random(1)

    def send() -> None:
        count, most, scope = draw.choice(SHORT), draw.randint(1, 4), draw.choice([None, "a", "b"])

        def prepare(vocabulary: Vocabulary) -> Prompt:
            tokens = tuple(draw.choices(range(vocabulary.tokenizer.size), k=count))
            return Prompt(tokens=tokens, max_tokens=most, context=512, scope=scope)

        cancelled = draw.random() < 0.1
        over = []

        def emit(item: module.Item) -> None:
            if not isinstance(item, Piece) and not over:
                over.append(item)
                ended.put(item)
            elif cancelled:
                task.cancel()

        task = module.Task(prepare=prepare, emit=emit)
        engine.submit(task)

    begun, failed, memory = time.perf_counter(), 0, list[float]()
    for _ in range(8):
        send()
    for number in range(1, requests + 1):
        item = ended.get()
        failed += not (isinstance(item, Done) or getattr(item, "code", None) is Code.CANCELLED)
        memory.append(rss())
        if number % max(1, requests // 10) == 0:
            kept = batches[0].prefixes.bytes / 1e6
            seconds = time.perf_counter() - begun
            print(
                f"{name}: {number} requests, {seconds:.0f} s, RSS {rss():.0f} MB, {kept:.0f} of them kept beginnings",
                flush=True,
            )
        if number <= requests - 8:
            send()
    engine.close()
    (batch,) = batches
    left, size = batch.memory.taken - batch.prefixes.bytes, max(1, requests // 3)
    thirds = ", ".join(
        f"{statistics.median(memory[at : at + size]):.0f}" for at in range(0, 3 * size, size) if memory[at:]
    )
    print(f"{name}: RSS by thirds of the requests, medians: {thirds} MB")
    print(f"{name}: {failed} failed, {int((batch.slots.lengths > 0).sum())} slots and {left} bytes left behind")
    sys.exit(bool(failed or left or batch.busy or batch.slots.lengths.any()))


def rss() -> float:
    """Resident memory in MB."""
    return int(Path("/proc/self/status").read_text("ascii").split("VmRSS:")[1].split()[0]) / 1e3


def table(rows: list[dict], threads: int) -> None:
    """As Markdown; what was not measured is left out."""
    print(
        f"{threads} threads, load {os.getloadavg()[0]:.1f}; {PREFILL} tokens of prompt, {DECODE} of answer; medians (best)\n"
    )
    if "decode" in rows[0]:
        print(
            "| model | engine | decode tok/s | prefill tok/s | TTFT s | load s | RSS MB |\n|---|---|---|---|---|---|---|"
        )
        for row in rows:
            print(
                f"| {row['model']} | {row['engine']} | {row['decode']:.1f} ({row['best_decode']:.1f}) "
                f"| {row['prefill']:.0f} ({row['best_prefill']:.0f}) | {row['ttft']:.2f} | {row['load']:.2f} | {row['rss']:.0f} |"
            )
    for row in rows:
        if "decode_ratio" in row:
            print(
                f"\n{row['model']}, {row['rounds']} rounds: {row['decode_ratio']:.2f} of llama.cpp's decode "
                f"({row['best_decode_ratio']:.2f}), {row['prefill_ratio']:.2f} of its prefill ({row['best_prefill_ratio']:.2f})"
            )
    for row in rows:
        if "x1" in row:
            speeds = [f"{row['x1']:.1f} tok/s alone"]
            for count in TOGETHER[1:]:
                ratio, best = row[f"x{count}_ratio"], row[f"best_x{count}_ratio"]
                speeds.append(f"{count} at once {row[f'x{count}']:.1f}, {ratio:.2f}x ({best:.2f}x)")
            print(f"\n{row['model']}: {'; '.join(speeds)}")
        if "cold" in row:
            print(
                f"\n{row['model']}: first token of {KNOWN + NEW} tokens {row['cold']:.2f} s, "
                f"{KNOWN} of them known {row['cached']:.3f} s ({row['cached_ratio']:.1%}), "
                f"from the disk {row['disk']:.3f} s ({row['disk_ratio']:.1%})"
            )


if __name__ == "__main__":
    main()
