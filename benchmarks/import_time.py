"""CPU time of `from hybridinfer import Router` in a fresh interpreter, beside what it is measured against.

    python benchmarks/import_time.py [runs]

Children are started in turn (interleaved, so that a busy moment hits all alike); user plus system time comes from the
kernel's account of each child. The median of all runs is printed, less that of an empty program.
"""

from __future__ import annotations

import os
import statistics
import sys

PROGRAMS = {
    "(empty program)": "pass",
    "from hybridinfer import Router": "from hybridinfer import Router",
    "import pydantic": "import pydantic; pydantic.BaseModel",
    "import openai": "import openai; openai.OpenAI",
    "import anthropic": "import anthropic; anthropic.Anthropic",
}
ENVIRON = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
"""Installed packages have their bytecode beside them; a checkout gets it at its first run."""


def cpu_seconds(program: str) -> float:
    """User plus system seconds of one child that runs `program`."""
    child = os.posix_spawn(sys.executable, [sys.executable, "-c", program], ENVIRON)
    _, status, usage = os.wait4(child, 0)
    if status:
        sys.exit(f"{program!r} failed")
    return usage.ru_utime + usage.ru_stime


def main() -> None:
    """Print one line per program."""
    runs = int(sys.argv[1]) if len(sys.argv) > 1 else 11
    for program in PROGRAMS.values():
        cpu_seconds(program)  # writes the bytecode, warms the page cache
    times = {name: [] for name in PROGRAMS}
    for _ in range(runs):
        for name, program in PROGRAMS.items():
            times[name].append(cpu_seconds(program))
    empty = statistics.median(times["(empty program)"])
    print(
        f"Python {sys.version.split()[0]}, {runs} runs, an empty program takes {empty * 1000:.0f} ms CPU; above that:"
    )
    for name, seconds in times.items():
        if name != "(empty program)":
            print(f"{name:32} {(statistics.median(seconds) - empty) * 1000:6.0f} ms CPU")


if __name__ == "__main__":
    main()
