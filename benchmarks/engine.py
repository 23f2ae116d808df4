"""How fast the local models are on this machine.

    python benchmarks/engine.py [--models smollm2-135m,...] [--rounds 5] [--threads N] [--json]
                                [--llama-python PATH]

For each model that is here: load seconds (hashes checked, in a fresh process), prefill and decode tokens per
second, time to first token at 128 prompt tokens, memory. With --llama-python, a Python that has
llama-cpp-python, the same file is measured there, round by round in turn, and the ratio is shown.
Medians of the rounds, best in brackets: the best is what the machine can do, the median what it did.
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
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--child", default="", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        serve(options.child, options.threads)
        return
    store = Store.default()
    names = [name for name in options.models.split(",") if name]
    models = [find(name) for name in names] or [m for m in catalogue().values() if store.state(m) != "absent"]
    rows = []
    for model in models:
        file = store.file(model)
        ours = [sys.executable, __file__, "--child", model.id, "--threads", str(options.threads)]
        engines = {"hybridinfer": Engine(ours)}
        if options.llama_python:
            arguments = [str(file), str(options.threads), json.dumps(PROMPT), str(DECODE)]
            engines["llama.cpp"] = Engine([options.llama_python, "-c", LLAMA, *arguments])
        for _ in range(options.rounds):  # in turn, so that both meet the same noise
            for engine in engines.values():
                engine.round()
        rows += [{"model": model.id, "engine": name} | engine.summary() for name, engine in engines.items()]
        for engine in engines.values():
            engine.close()
    if options.json:
        print(json.dumps({"threads": options.threads, "rounds": options.rounds, "rows": rows}, indent=2))
    else:
        table(rows, options.threads)


class Engine:
    """A child process that measures one round for each line it reads."""

    def __init__(self, command: list[str]) -> None:
        self._child = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self._rounds: list[dict[str, float]] = []
        self._load = self._read()["load"]

    def round(self) -> None:
        """Measure once more."""
        assert self._child.stdin
        self._child.stdin.write("\n")
        self._child.stdin.flush()
        self._rounds.append(self._read())

    def summary(self) -> dict[str, float]:
        """Medians, and the best of the speeds."""
        medians = {key: statistics.median(row[key] for row in self._rounds) for key in self._rounds[0]}
        best = {f"best_{key}": max(row[key] for row in self._rounds) for key in ("prefill", "decode")}
        return {"load": self._load, **medians, **best}

    def close(self) -> None:
        """End the child."""
        self._child.communicate()

    def _read(self) -> dict[str, float]:
        assert self._child.stdout
        return json.loads(self._child.stdout.readline())


def serve(name: str, threads: int) -> None:
    """The child: load `name`, then a round for each line of stdin."""
    from hybridinfer.edge.catalogue import find
    from hybridinfer.edge.pool import load
    from hybridinfer.edge.session import Sequence, Stop, runtime
    from hybridinfer.edge.store import Store

    runtime()
    begun = time.perf_counter()
    session = load(find(name), Store.default(), threads=threads, pull=False).session
    print(json.dumps({"load": time.perf_counter() - begun}), flush=True)
    sequence, stop = Sequence(session), Stop()
    for _ in sys.stdin:
        sequence.length = 0
        start = time.perf_counter()
        sequence.feed(PROMPT, stop)
        middle = time.perf_counter()
        for _ in range(DECODE):
            sequence.feed([500], stop)
        end = time.perf_counter()
        row = {
            "prefill": PREFILL / (middle - start),
            "decode": DECODE / (end - middle),
            "ttft": middle - start,
            "rss": int(Path("/proc/self/status").read_text("ascii").split("VmRSS:")[1].split()[0]) / 1e3,
        }
        print(json.dumps(row), flush=True)


def table(rows: list[dict], threads: int) -> None:
    print(f"{threads} threads; {PREFILL} tokens of prompt, {DECODE} of answer; medians (best)\n")
    print("| model | engine | decode tok/s | prefill tok/s | TTFT s | load s | RSS MB |\n|---|---|---|---|---|---|---|")
    for row in rows:
        print(
            f"| {row['model']} | {row['engine']} | {row['decode']:.1f} ({row['best_decode']:.1f}) "
            f"| {row['prefill']:.0f} ({row['best_prefill']:.0f}) | {row['ttft']:.2f} | {row['load']:.2f} | {row['rss']:.0f} |"
        )


if __name__ == "__main__":
    main()
