"""`hybridinfer models calibrate`: how far a local model's confidence can be trusted."""

from __future__ import annotations

import os
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter

from ..errors import ModelError
from .progress import bar
from .terminal import UsageError, print_json, talk

if TYPE_CHECKING:
    from ..edge.calibrate import Labelled, Question, Worth
    from ..edge.risk import Risk

Flag = Annotated[bool, Parameter(negative="")]


def calibrate(
    model: str = "qwen2.5-coder-0.5b",
    *,
    questions: Path,
    risk: float | None = None,
    dry_run: Flag = False,
    json: Flag = False,
) -> int:
    """Fit the map from how sure a model is to how often it is right, on questions whose answers are known.

    The map is what `accept: {confidence: 0.7}` in a rule relies on; yours wins over the shipped one. Its worth is told
    by questions that it was not fitted on. Questions and answers stay on this machine, and none is kept.

    Args:
        model: A name from `models list`, or a path to a model.
        questions: A YAML file `questions: [{ask: ..., answers: [...]}]`, at least 200, like those your users ask.
        risk: Also tell the confidence above which at most this share of accepted answers is wrong (such as 0.05), with
            a certainty of 95% for questions like these, or that they do not suffice to say.
        dry_run: Write nothing.
        json: Print {model, file, questions, right, auroc, brier, ece, threshold, at_most, accepted, enough}.
    """
    from ..edge.calibrate import LEAST, TooFewAnswers, fit, held_out
    from ..edge.confidence import own_file
    from ..edge.risk import threshold
    from ..learning.levels import write_whole

    if risk is not None and not 0 < risk < 1:
        raise UsageError(f"--risk {risk:g}: give a share between 0 and 1, such as 0.05")
    asked = _read(questions)
    if len(asked) < LEAST:  # said before anybody waits for answers
        raise UsageError(f"--questions {questions}: {len(asked)} questions, and a map needs at least {LEAST}")
    name, answers = _ask(model, asked)
    said = {"fitted": datetime.now(UTC).date().isoformat(), "from": questions.name}
    try:
        made, worth = fit(name, answers, said)
    except TooFewAnswers as error:
        talk(str(error))
        return 1
    bound = None
    if risk is not None:
        bound = threshold(held_out(answers), [answer.right for answer in answers], risk=risk)
    file = None if dry_run else own_file(name, os.environ)
    if file is not None:
        write_whole(file, made.to_json())
    if json:
        print_json(_row(name, file, worth, bound))
    else:
        _say(name, file, worth, risk, bound)
    return 0


def _read(file: Path) -> tuple[Question, ...]:
    import yaml

    from ..edge.calibrate import read

    try:
        return read(yaml.safe_load(file.read_text("utf-8")))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise UsageError(f"--questions {file}: cannot be read ({type(error).__name__})") from error
    except ValueError as error:
        raise UsageError(f"--questions {file}: {error}") from None


def _ask(model: str, questions: tuple[Question, ...]) -> tuple[str, list[Labelled]]:
    import asyncio

    from ..edge.progress import Progress
    from ..policy.model import TargetBlock
    from ..questioning import ask_all
    from ..targets.base import TargetContext, TargetFailed
    from ..targets.onnx import OnnxTarget

    target = OnnxTarget(
        TargetBlock(kind="onnx", model=model, options={"queue": len(questions) + 1}), TargetContext(name="asked")
    )

    async def run() -> list[Labelled]:
        try:
            with bar(target.info.model) as report:
                total = len(questions)
                told = lambda done: report(Progress(stage="verify", done=done, total=total))  # noqa: E731
                return [label for label, _ in await ask_all(target, questions, told=told)]
        finally:
            await target.aclose()

    try:
        return target.info.model, asyncio.run(run())
    except TargetFailed as error:
        raise ModelError(f"{target.info.model} did not answer: {error.because or error.code}") from error


def _row(model: str, file: Path | None, worth: Worth, bound: Risk | None) -> dict[str, Any]:
    chosen = bound.chosen if bound else None
    return {
        "model": model,
        "file": str(file) if file else None,
        "questions": worth.questions,
        "right": round(worth.right, 4),
        "auroc": round(worth.auroc, 4),
        "brier": round(worth.brier, 4),
        "ece": round(worth.ece, 4),
        "threshold": chosen.threshold if chosen else None,
        "at_most": round(chosen.at_most, 4) if chosen else None,
        "accepted": chosen.accepted if chosen else None,
        "enough": bound.enough if bound else None,
    }


def _say(model: str, file: Path | None, worth: Worth, risk: float | None, bound: Risk | None) -> None:
    print(f"{model}: {worth.right:.0%} of {worth.questions} answers were right")
    print("on questions that the map was not fitted on:")
    print(f"  AUROC {worth.auroc:.2f}   a right answer is given more confidence than a wrong one (0.5: by chance)")
    print(f"  Brier {worth.brier:.3f}  squared error; always saying {worth.right:.0%} has {_plain(worth):.3f}")
    print(f"  ECE   {worth.ece:.3f}  confidence and truth lie so far apart, on average")
    if bound is not None and bound.chosen is not None:
        best = bound.chosen
        print(
            f"accept: {{confidence: {best.threshold}}}  at most {risk:.0%} of accepted answers are wrong, surely (95%)"
        )
        print(f"  {best.accepted} of {worth.questions} would be accepted, {best.wrong} of them wrong")
    elif bound is not None:
        print(f"not enough data to promise at most {risk:.0%} wrong: no confidence has {bound.enough} right answers")
        print("  and few enough wrong ones above it; ask more questions, or take a larger --risk")
    talk(f"written to {file}" if file else "nothing was written")


def _plain(worth: Worth) -> float:
    return worth.right * (1 - worth.right)
