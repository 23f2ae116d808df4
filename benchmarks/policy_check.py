"""What `hybridinfer policy check` costs on a policy of 100 rules, the start of Python included.

    python benchmarks/policy_check.py [--rules 100] [--runs 15]

Each line is a process of its own, run in turn with the others; the figure is the CPU time (user and system) of the
child, the least and the median of all runs. Bytecode is written first, as an installation does.

The floor is what this machine needs to start Python and import PyYAML and pydantic, without one line of hybridinfer;
no check can be quicker than that. `policy check` below it reads, validates and proves the policy.
"""

from __future__ import annotations

import argparse
import os
import resource
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

PRIVACY = ("public", "personal", "secret")
COMPLEXITY = ("low", "medium", "high")
SIZE = ("short", "medium", "long")
BUDGET = ("ok", "tight", "spent")
FLOOR = "import yaml; from pydantic import BaseModel, BeforeValidator, Field, PlainSerializer, model_validator"
VALIDATOR = f"""import os; os.environ["PYDANTIC_DISABLE_PLUGINS"] = "__all__"; {FLOOR}
class One(BaseModel): name: str"""


def policy(rules: int) -> str:
    """A policy of that many rules over four signals and a tag, with eight clouds and three boundaries."""
    lines = ["version: 1", "targets:", "  small: {kind: onnx, model: qwen2.5-coder-0.5b}"]
    for i in range(8):
        vendor = "kind: openai, model: gpt-6-luna" if i % 2 else "kind: anthropic, model: claude-haiku-5-5"
        lines.append(f"  cloud{i}: {{{vendor}, first_token: 4s, region: {'eu' if i % 3 else 'us'}}}")
    lines += [
        "  sorry: {kind: canned, text: sorry}",
        "boundaries:",
        "  - {name: secrets, when: {privacy: secret}, cloud: never}",
        "  - {name: personal, when: {privacy: personal}, cloud: masked}",
        "  - {name: europe, when: {tags: {tenant: eu}}, regions: [eu]}",
        "rules:",
    ]
    for i in range(rules - 1):
        when = f"privacy: {PRIVACY[i % 3]}, complexity: {COMPLEXITY[i // 3 % 3]}, size: {SIZE[i // 9 % 3]}"
        when += f", budget: {BUDGET[i // 27 % 3]}, tags: {{team: team{i // 81}}}"
        use = f"cloud{i % 8}, cloud{(i + 1) % 8}, small, sorry"
        lines.append(f"  - {{name: rule-{i}, when: {{{when}}}, use: [{use}]}}")
    lines.append("  - {name: rest, use: [small, sorry]}")
    return "\n".join(lines) + "\n"


def cpu_ms(command: list[str], environ: dict[str, str]) -> float:
    """CPU milliseconds of one run of `command`."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=environ)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return 1000 * (after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rules", type=int, default=100)
    parser.add_argument("--runs", type=int, default=15)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "policy.yaml")
        file.write_text(policy(options.rules), encoding="utf-8")
        check = [sys.executable, "-m", "hybridinfer", "policy", "check", str(file), "--no-environment"]
        commands = {
            "python, nothing": [sys.executable, "-c", "pass"],
            "floor: pydantic + yaml": [sys.executable, "-c", FLOOR],
            "... and a model's validator": [sys.executable, "-c", VALIDATOR],
            "policy check --no-prices": [*check, "--no-prices"],
            "policy check": check,
        }
        environ = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
        environ |= {"PYTHONPYCACHEPREFIX": str(Path(folder, "bytecode"))}
        for command in commands.values():
            cpu_ms(command, environ)  # writes the bytecode, warms the page cache
        figures: dict[str, list[float]] = {name: [] for name in commands}
        for _ in range(options.runs):
            for name, command in commands.items():
                figures[name].append(cpu_ms(command, environ))
    print(f"{options.rules} rules, {options.runs} runs, load average {os.getloadavg()[0]:.1f}; CPU ms per process")
    for name, values in figures.items():
        print(f"{name:28}{min(values):8.0f} least{statistics.median(values):8.0f} median")
    floor, whole = min(figures["floor: pydantic + yaml"]), min(figures["policy check"])
    print(f"policy check takes {whole / floor:.1f} times the floor, {whole - floor:.0f} ms above it (least of each)")


if __name__ == "__main__":
    main()
