"""`hybridinfer learn`: refit the complexity weights to the labels of one's own traffic."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from .arguments import part
from .terminal import print_json, talk

if TYPE_CHECKING:
    from ..learning.forecast import Estimate, Forecast
    from ..learning.study import Study

Flag = Annotated[bool, Parameter(negative="")]


def learn(
    *,
    cloud_share: str = "30%",
    journal: Path | None = None,
    dry_run: Flag = False,
    json: Flag = False,
) -> int:
    """Refit the complexity weights to the feedback on your own traffic.

    Reads features and labels (no text is ever kept), draws the weights from the shipped ones as far as labels prove,
    and says what to expect of them. A policy uses them with `complexity: {options: {weights: learned}}`. Exit code 0:
    new weights are written. 1: too few labels, or they prove nothing.

    Args:
        cloud_share: The share of requests that goes to the cloud, such as 30%: there savings and losses are estimated.
        journal: The file of features and labels; otherwise the one in the user's state folder.
        dry_run: Write no weights.
        json: Print {labels, learned, forecast, file} as JSON.
    """
    from dataclasses import asdict

    from ..learning.journal import read
    from ..learning.memory import JOURNAL
    from ..learning.study import study
    from ..signals.complexity import load
    from ..signals.weights import state_folder

    place = journal or state_folder() / JOURNAL
    result = study(load(), tuple(read(place)), part(cloud_share))
    file: Path | None = None
    if result.text is not None and not dry_run:
        file = _write(state_folder() / "weights", result.text)
    if json:
        forecast = asdict(result.forecast) if result.forecast else None
        print_json(
            {
                "labels": asdict(result.counts),
                "why": result.why,
                "forecast": forecast,
                "file": str(file) if file else None,
            }
        )
    else:
        print("\n".join(_lines(result)))
        if file is not None:
            talk(f"written: {file}; 'complexity: {{options: {{weights: learned}}}}' in a policy uses it")
    return int(result.text is None)


def _write(folder: Path, text: str) -> Path:
    """The weights under the next number, or where they are already."""
    from ..learning.levels import write_whole
    from ..signals.weights import versions

    known = versions(folder)
    if known:
        newest = list(known.values())[-1]
        if newest.read_text("utf-8") == text:
            return newest
    path = folder / f"complexity-{max(known, default=0) + 1:04}.json"
    write_whole(path, text)
    return path


def _lines(result: Study) -> list[str]:
    counts = result.counts
    rows = [f"{counts.local:,} local and {counts.cloud:,} cloud answers are labelled ({_sources(counts.sources)})"]
    if counts.last is not None and counts.first is not None:
        rows[0] += f", from {_day(counts.first)} to {_day(counts.last)}"
    if result.why:
        return [*rows, result.why]
    assert result.forecast is not None
    return [*rows, *_forecast(result.forecast, result.against)]


def _forecast(forecast: Forecast, against: str) -> list[str]:
    cloud = (
        "the judged answers of the cloud"
        if against == "cloud"
        else "a cloud that always succeeds: too few of its answers were judged"
    )
    return [
        f"on requests that the weights had not seen, against {cloud}:",
        f"  with {forecast.cloud_share:.0%} to the cloud, quality {forecast.quality:.3f} changes by {_points(forecast.better)}",
        f"  for that same quality, the cloud is asked for {_share(forecast.saved)} of all requests less",
    ]


def _points(one: Estimate) -> str:
    text = f"{one.value:+.3f} (95%: {one.low:+.3f} to {one.high:+.3f})"
    return text if one.certain else f"{text}: not certain"


def _share(one: Estimate) -> str:
    text = f"{one.value:.1%} (95%: {one.low:.1%} to {one.high:.1%})"
    return text if one.certain else f"{text}: not certain,"


def _sources(sources: dict[str, int]) -> str:
    return ", ".join(f"{count:,} by {name}" for name, count in sources.items()) or "no feedback yet"


def _day(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).date().isoformat()
