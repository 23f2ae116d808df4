"""Can it be told on this machine whether two answers say the same? `judge: embedding`, beside a plain cosine.

    hybridinfer models pull minilm-l6-v2
    python -m benchmarks.agreement [--answers FOLDER]

Pairs written by hand (`benchmarks/data/agreement.yaml`): the same in other words, and answers that contradict each other.
With `--answers` also what two local models said to the same questions (`python -m benchmarks.cascade --answers FOLDER`
keeps it there): pairs of right answers agree, a right and a wrong one do not.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

import yaml

from hybridinfer.commands import Answer
from hybridinfer.edge import embedder
from hybridinfer.edge.calibrate import read
from hybridinfer.likeness import LEAST, alike
from hybridinfer.sameness import same

from .cascade import QUESTIONS, STRONG, WEAK

PAIRS = Path(__file__).parent / "data" / "agreement.yaml"
Pair = tuple[str, str, str, bool]
"""Question, two answers, whether they say the same."""


def main(arguments: list[str]) -> None:
    parser = argparse.ArgumentParser(description="Who can tell whether two answers say the same?")
    parser.add_argument("--answers", type=Path, help="folder with the answers that benchmarks.cascade kept")
    options = parser.parse_args(arguments)
    _report("written by hand", _by_hand())
    if options.answers is not None:
        _report(f"{WEAK} and {STRONG}", _of_models(options.answers))


def _by_hand() -> list[Pair]:
    rows = yaml.safe_load(PAIRS.read_text("utf-8"))["answers"]
    return [
        (row["ask"], row["says"], other, kind == "same")
        for row in rows
        for kind in ("same", "other")
        for other in row[kind]
    ]


def _of_models(folder: Path) -> list[Pair]:
    said = [
        {
            row["ask"]: row["text"]
            for row in map(json.loads, (folder / f"{model}.jsonl").read_text("utf-8").splitlines())
        }
        for model in (WEAK, STRONG)
    ]
    pairs: list[Pair] = []
    for question in read(yaml.safe_load(QUESTIONS.read_text("utf-8"))):
        first, second = (texts[question.ask] for texts in said)
        right = question.is_answered_by(first), question.is_answered_by(second)
        if any(right):  # two wrong answers may be the same or not
            pairs.append((question.ask, first, second, all(right)))
    return pairs


def _report(title: str, pairs: list[Pair]) -> None:
    model = embedder.load()
    print(f"\n{title}: {sum(pair[3] for pair in pairs)} pairs agree, {sum(not pair[3] for pair in pairs)} do not")
    judges = {
        "exact": lambda _ask, one, other: same((one, other)),
        f"cosine >= {LEAST}": lambda _ask, one, other: (
            float(model.vector(one.text) @ model.vector(other.text)) >= LEAST
        ),
        "embedding": lambda ask, one, other: same((one, other)) or alike(ask, one, other, lambda: model),
    }
    for name, judge in judges.items():
        found = [(agrees, judge(ask, Answer(text=one), Answer(text=other))) for ask, one, other, agrees in pairs]
        for agrees, words in ((True, "agreements found"), (False, "contradictions taken for agreement")):
            of = [said for really, said in found if really is agrees]
            print(f"  {name:16} {words:36} {sum(of):4} of {len(of):4} ({sum(of) / max(1, len(of)):.0%})")


if __name__ == "__main__":
    main(sys.argv[1:])
