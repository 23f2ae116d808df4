"""Which weights the complexity score uses: those that ship, or the newest that `hybridinfer learn` wrote here."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import ConfigurationError

if TYPE_CHECKING:
    from ..policy.model import SignalBlock
    from .complexity import Scorer

ENVIRONMENT = "HYBRIDINFER_STATE"
"""Overrides the folder of what is learned from one's own traffic; `off`: nothing is remembered."""
OFF = "off"

_VERSION = re.compile(r"complexity-(\d{4,})\.json")


def state_folder(environ: Mapping[str, str] | None = None) -> Path:
    """The folder of what is learned: the user's state folder (XDG_STATE_HOME on Linux). Makes nothing.

    Raises ConfigurationError where there is none.
    """
    if is_off(environ):
        raise ConfigurationError(f"{ENVIRONMENT} is {OFF}, so nothing is remembered; name a folder")
    named = (os.environ if environ is None else environ).get(ENVIRONMENT)
    if named:
        return Path(named).expanduser().absolute()
    import platformdirs

    return Path(platformdirs.user_state_dir("hybridinfer"))


def is_off(environ: Mapping[str, str] | None = None) -> bool:
    """Whether nothing shall be remembered: for drills, tests, and machines without a disk."""
    return (os.environ if environ is None else environ).get(ENVIRONMENT) == OFF


def versions(folder: Path) -> dict[int, Path]:
    """The learned weights in `folder`, by their number, oldest first. A file that is removed is taken back."""
    found = {int(match[1]): file for file in folder.glob("*.json") if (match := _VERSION.fullmatch(file.name))}
    return dict(sorted(found.items()))


def scorer_of(block: SignalBlock) -> tuple[Scorer, str]:
    """The scorer that `model` and `options: {weights: shipped | learned}` ask for, and what `because` shall say of it.

    Raises ConfigurationError for another word, or where the newest learned weights cannot be used.
    """
    from .complexity import load, parse

    asked = block.options.get("weights", "shipped")
    if asked == "shipped":
        return load(block.model), ""
    if asked == "learned" and block.model is not None:
        raise ConfigurationError(
            "complexity: weights are learned for the sixty features alone; leave out 'model', or options.weights"
        )
    if asked != "learned":
        raise ConfigurationError(f"complexity: options.weights is {asked!r}; write shipped or learned")
    known = {} if is_off() else versions(state_folder() / "weights")
    if not known:
        return load(), "shipped weights, as nothing is learned yet"
    number, file = list(known.items())[-1]
    try:
        return parse(file.read_text("utf-8")), f"learned weights {number}"
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ConfigurationError(
            f"the learned weights {file} cannot be used ({type(error).__name__}); learn again, or remove the file"
        ) from error
