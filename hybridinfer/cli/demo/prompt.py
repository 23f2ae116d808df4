"""The demo's prompts: `examples/prompts.yaml` in a checkout, package data in a wheel, or a file of your own."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ...errors import ConfigurationError


@dataclass(frozen=True, slots=True, kw_only=True)
class Prompt:
    """One line of the demo. `private` lists the strings that must not leave this machine."""

    name: str
    prompt: str
    private: tuple[str, ...] = ()


def shipped_prompts() -> Path:
    """Where the shipped file lies."""
    here = Path(__file__).resolve().parent
    inside = here / "prompts.yaml"
    return inside if inside.is_file() else here.parents[2] / "examples" / "prompts.yaml"


def load_prompts(file: Path) -> tuple[Prompt, ...]:
    """The prompts in `file`. Raises ConfigurationError where it is missing or has another shape."""
    import yaml

    try:
        rows = yaml.safe_load(file.read_text(encoding="utf-8"))
        return tuple(_prompt(row) for row in rows)
    except OSError as error:
        raise ConfigurationError(f"cannot read {file}: {error.strerror}") from error
    except (yaml.YAMLError, KeyError, TypeError, AttributeError) as error:
        raise ConfigurationError(f"{file} is not a list of {{name, prompt, private}}") from error


def _prompt(row: dict[str, Any]) -> Prompt:
    return Prompt(name=str(row["name"]), prompt=row["prompt"].strip(), private=tuple(map(str, row.get("private", ()))))
