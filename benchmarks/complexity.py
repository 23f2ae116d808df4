"""How well does the complexity score route, next to dumb baselines, on families it was not trained on?

    uv run --group bench python -m benchmarks.complexity --data ../shared/data/routing [--litellm-python VENV/bin/python]

Leave one family out: the weights are trained on all families but one and judged on that one, in turn. Two
views: against the recorded strong models, and against an ideal one that always succeeds. They differ where
the strong models fail too (olympiad mathematics, large logic grids): a prompt may be hard and still not
worth the money. Random routing has APGR 0.5 and skill 0. litellm's heuristic runs in a process of its own
with the interpreter given (its virtual environment needs `pip install litellm`). `--embedding` adds the score with
`model: embedding`, on every third prompt (`hybridinfer models pull minilm-l6-v2` first).
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path

import numpy as np

from hybridinfer.signals.complexity import load as load_scorer

from . import routing_data, train_complexity
from .routing_metrics import interval, quality, skill

CHUNK = 500
"""Prompts that one scorer sees before the other's turn, in the interleaved timing."""
Scores = dict[str, np.ndarray]
Scorer = Callable[[list[str]], tuple[list[float], float]]
"""Prompts to scores, and the seconds of CPU that it took."""

LITELLM = """
import json, sys, time
from litellm.router_strategy.complexity_router.complexity_router import ComplexityRouter
router = ComplexityRouter(model_name="m", litellm_router_instance=None, complexity_router_config={})
for line in sys.stdin:
    prompts, start = json.loads(line), time.process_time()
    scores = [router.classify(prompt)[1] for prompt in prompts]
    print("scores", json.dumps([scores, time.process_time() - start]), flush=True)
"""


def main(arguments: list[str]) -> None:
    parser = argparse.ArgumentParser(description="Routing quality and speed of the complexity score.")
    parser.add_argument("--data", type=Path, default=routing_data.DEFAULT, help="folder with dev_prompts.parquet")
    parser.add_argument("--litellm-python", type=Path, help="an interpreter that can import litellm")
    parser.add_argument("--draws", type=int, default=200, help="bootstrap samples")
    parser.add_argument("--embedding", action="store_true", help="also the score with an embedding")
    options = parser.parse_args(arguments)
    data = routing_data.load(options.data)
    if options.embedding:
        data = data.every(train_complexity.EVERY)
    with ExitStack() as stack:
        scorers: dict[str, Scorer] = {"hybridinfer": partial(_shipped, None)}
        if options.embedding:
            scorers["embedding"] = partial(_shipped, "embedding")
        if options.litellm_python is None:
            print("litellm: skipped; give --litellm-python")
        else:
            scorers["litellm"] = stack.enter_context(_litellm(options.litellm_python))
        measured, times = _interleaved(data.prompts, scorers)
    x = train_complexity.matrix(data.prompts)
    scores = {
        "hybridinfer": _leave_one_out(x, data),
        "length": np.array([float(len(prompt)) for prompt in data.prompts]),
    }
    if options.embedding:
        scores["embedding"] = _leave_one_out(np.hstack([x, train_complexity.meanings(data.prompts)]), data)
    if "litellm" in measured:
        scores["litellm"] = measured["litellm"]
    for title, strong in (
        ("Against the recorded strong models", data.strong),
        ("Against a strong model that always succeeds", np.ones_like(data.strong)),
    ):
        _report(title, data, strong, scores, options.draws)
    print("\nCPU per prompt, one interleaved run over all prompts")
    for name, seconds in times.items():
        print(f"  {name:12} {1000 * seconds / len(data.prompts):.3f} ms")


def _leave_one_out(x: np.ndarray, data: routing_data.Outcomes) -> np.ndarray:
    failed = 1.0 - data.weak
    scores = np.zeros(len(failed))
    for family in sorted(set(data.family.tolist())):
        held = data.family == family
        scores[held] = train_complexity.fit(x[~held], failed[~held]).predict(x[held])
    return scores


def _report(title: str, data: routing_data.Outcomes, strong: np.ndarray, scores: Scores, draws: int) -> None:
    print(f"\n{title} (random: APGR .500, skill .000)")
    print(
        f"  {'family':13} {'n':>5} {'weak':>5} {'strong':>6}   {'scorer':12} {'APGR':>5} {'CPT50':>6} {'CPT80':>6}  skill [95%]"
    )
    families = sorted(set(data.family.tolist()))
    for family in families:
        rows = data.family == family
        head = f"{family:13} {rows.sum():5} {data.weak[rows].mean():5.2f} {strong[rows].mean():6.2f}"
        for name, score in scores.items():
            sample = score[rows], data.weak[rows], strong[rows]
            figures, (low, high) = quality(*sample), interval(skill, *sample, draws=draws)
            print(
                f"  {head:32}   {name:12} {figures.apgr:5.3f} {figures.cpt50:5.1f}% {figures.cpt80:5.1f}%  "
                f"{figures.skill:+.3f} [{low:+.3f}, {high:+.3f}]"
            )
            head = ""
    for name, score in scores.items():
        skills = [skill(score[rows], data.weak[rows], strong[rows]) for rows in (data.family == f for f in families)]
        above = sum(value > 0 for value in skills)
        print(f"  macro skill of {name:12} {np.mean(skills):+.3f}, above random on {above} of {len(skills)} families")


def _interleaved(prompts: list[str], scorers: Mapping[str, Scorer]) -> tuple[Scores, dict[str, float]]:
    """Each one's scores, and its seconds of CPU; they take turns chunk by chunk."""
    found = {name: list[float]() for name in scorers}
    times = dict.fromkeys(scorers, 0.0)
    for scorer in scorers.values():
        scorer(["warm up"])
    for start in range(0, len(prompts), CHUNK):
        for name, scorer in scorers.items():
            scores, seconds = scorer(prompts[start : start + CHUNK])
            found[name] += scores
            times[name] += seconds
    return {name: np.array(scores) for name, scores in found.items()}, times


def _shipped(model: str | None, prompts: list[str]) -> tuple[list[float], float]:
    scorer, start = load_scorer(model), time.process_time()
    scores = [scorer.scale(scorer.judge(prompt)[0]) for prompt in prompts]
    return scores, time.process_time() - start


@contextmanager
def _litellm(python: Path) -> Iterator[Scorer]:
    environment = {"LITELLM_LOCAL_MODEL_COST_MAP": "True", "PATH": "/usr/bin:/bin"}
    with subprocess.Popen(
        [str(python), "-c", LITELLM], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment
    ) as process:
        if process.stdin is None or process.stdout is None:
            raise RuntimeError("no pipes")

        def score(prompts: list[str]) -> tuple[list[float], float]:
            assert process.stdin is not None
            assert process.stdout is not None
            process.stdin.write(json.dumps(prompts) + "\n")
            process.stdin.flush()
            for line in process.stdout:
                if line.startswith("scores "):
                    scores, seconds = json.loads(line.removeprefix("scores "))
                    return scores, seconds
            raise SystemExit("litellm ended; can this interpreter import it?")

        yield score
        process.stdin.close()


if __name__ == "__main__":
    main(sys.argv[1:])
