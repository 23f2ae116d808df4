"""Answer, then verify, beside scores that look at the prompt alone: who should go to the stronger model?

    python -m benchmarks.cascade [--answers FOLDER]

Both local models answer the questions of `benchmarks/data/questions.yaml`, greedily, one answer each (ten minutes on
two cores; `--answers` keeps them in a folder, and reads them from there). Then the same questions are routed by each
score, in one run:

- the complexity score that ships, and the length of the prompt: known before anything is asked;
- verify: the confidence of the weak model's own answer, by maps fitted without the fold that they judge;
- agree: whether two local models say the same, word for word, as `judge: exact` compares.

Two pairs: 135M against 0.5B, both measured, and each of them against a strong model that is always right. APGR, CPT and
skill as in `routing_metrics`. What this does not show: traffic of another kind (the questions are short and have one
answer), real cloud models (none can be reached here), `samples`, and that verify pays for the weak answer each time.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
from pathlib import Path

import numpy as np
import yaml

from hybridinfer.commands import Answer
from hybridinfer.edge.calibrate import Labelled, Question, held_out, read
from hybridinfer.policy.model import TargetBlock
from hybridinfer.questioning import ask_all
from hybridinfer.sameness import same
from hybridinfer.signals.complexity import load as load_scorer
from hybridinfer.targets.base import TargetContext
from hybridinfer.targets.onnx import OnnxTarget

from .routing_metrics import interval, quality, skill

QUESTIONS = Path(__file__).parent / "data" / "questions.yaml"
WEAK, STRONG = "smollm2-135m", "qwen2.5-coder-0.5b"
Answers = list[tuple[Labelled, str]]


def main(arguments: list[str]) -> None:
    parser = argparse.ArgumentParser(description="Answer, then verify, beside prompt-only scores.")
    parser.add_argument("--answers", type=Path, help="folder that keeps the models' answers between runs")
    parser.add_argument("--draws", type=int, default=500, help="bootstrap samples")
    options = parser.parse_args(arguments)
    questions = read(yaml.safe_load(QUESTIONS.read_text("utf-8")))
    answers = {model: _answers(model, questions, options.answers) for model in (WEAK, STRONG)}
    scorer = load_scorer()
    before = {
        "complexity": np.array([scorer.scale(scorer.judge(question.ask)[0]) for question in questions]),
        "length": np.array([float(len(question.ask)) for question in questions]),
    }
    both = zip(answers[WEAK], answers[STRONG], strict=True)
    differ = np.array([float(not same((Answer(text=one), Answer(text=other)))) for (_, one), (_, other) in both])
    right = {model: np.array([float(label.right) for label, _ in rows]) for model, rows in answers.items()}
    unsure = {model: 1 - np.array(held_out([label for label, _ in rows])) for model, rows in answers.items()}
    ideal = np.ones(len(questions))
    print(f"{len(questions)} questions; random routing: APGR .500, skill .000")
    for weak, strong, title in (
        (WEAK, right[STRONG], f"{WEAK} -> {STRONG}, both measured"),
        (WEAK, ideal, f"{WEAK} -> a model that is always right"),
        (STRONG, ideal, f"{STRONG} -> a model that is always right"),
    ):
        verify = {"verify": unsure[weak]}
        if strong is ideal:  # the second answer is a local model's: it is no routing to that very model
            verify |= {"agree": differ, "verify+agree": unsure[weak] + differ}
        print(f"\n{title}: right {right[weak].mean():.2f} -> {strong.mean():.2f}")
        for name, score in (before | verify).items():
            sample = score, right[weak], strong
            figures, (low, high) = quality(*sample), interval(skill, *sample, draws=options.draws)
            print(
                f"  {name:14} APGR {figures.apgr:.3f}  CPT50 {figures.cpt50:5.1f}%  CPT80 {figures.cpt80:5.1f}%  "
                f"skill {figures.skill:+.3f} [{low:+.3f}, {high:+.3f}]"
            )


def _answers(model: str, questions: tuple[Question, ...], folder: Path | None) -> Answers:
    """In the order of the questions, from the folder where it has them; right or wrong is judged anew."""
    file = folder / f"{model}.jsonl" if folder is not None else None
    if file is not None and file.is_file():
        rows = {row["ask"]: row for row in map(json.loads, file.read_text("utf-8").splitlines())}
        return [_judged(question, rows[question.ask]["features"], rows[question.ask]["text"]) for question in questions]
    print(f"asking {model} ...", file=sys.stderr)
    found = asyncio.run(_ask(model, questions))
    if file is not None:
        file.parent.mkdir(parents=True, exist_ok=True)
        kept = zip(questions, found, strict=True)
        lines = [json.dumps({"ask": q.ask, "text": text, "features": dict(one.features)}) for q, (one, text) in kept]
        file.write_text("\n".join(lines) + "\n", "utf-8")
    return found


def _judged(question: Question, features: dict[str, float], text: str) -> tuple[Labelled, str]:
    return Labelled(features=features, right=question.is_answered_by(text)), text


async def _ask(model: str, questions: tuple[Question, ...]) -> Answers:
    target = OnnxTarget(TargetBlock(kind="onnx", model=model), TargetContext(name="asked"))
    try:
        return await ask_all(target, questions)
    finally:
        await target.aclose()


if __name__ == "__main__":
    main(sys.argv[1:])
