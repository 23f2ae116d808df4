"""Read a policy: YAML in, `Policy` out, or a `PolicyError` whose every line is `file:line:col: what; what to do`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from pydantic import ValidationError

from ..errors import PolicyError, Problem
from .block import Block
from .model import Policy
from .names import faults_in
from .scalars import FROM_FILE
from .source import MAX_BYTES, Source, read
from .words import say

if TYPE_CHECKING:
    from .source import Path as Way

B = TypeVar("B", bound=Block)


def load(source: str | Path | Mapping[str, Any] | Policy) -> Policy:
    """The policy in a file, a mapping or already at hand. Raises `PolicyError` with every problem found."""
    return load_with_source(source)[0]


def load_with_source(source: str | Path | Mapping[str, Any] | Policy) -> tuple[Policy, Source]:
    """The policy, and where its parts stand: for tools that point at lines of a file."""
    if isinstance(source, Policy):
        text = Source(file="<policy>", tree=source)
    elif isinstance(source, Mapping):
        text = Source(file="<dict>", tree=source)
    else:
        text = read(read_text(Path(source)), str(source))
    return _build(text), text


def loads(text: str, file: str = "<text>") -> Policy:
    """The policy in a piece of YAML text; `file` is what its errors call it."""
    return _build(read(text, file))


def digest(policy: Policy) -> str:
    """12 hexadecimal digits that name this very policy: sha256 of its canonical JSON, defaults included.

    Neither comments nor the order of keys change it; the order of lists does.
    """
    import hashlib
    import json

    tree = policy.model_dump(mode="json")
    return hashlib.sha256(json.dumps(tree, sort_keys=True, separators=(",", ":")).encode()).hexdigest()[:12]


def shipped_names() -> tuple[str, ...]:
    """The example policies that come with this package, such as `default` and `privacy-first`."""
    return tuple(sorted(file.stem for file in shipped_folder().glob("*.yaml")))


def shipped(name: str) -> Path:
    """The file of a shipped policy, as package data in a wheel and from `policies/` in a checkout."""
    file = shipped_folder() / f"{name}.yaml"
    if name not in shipped_names():
        where = Problem(
            file=f"{name}.yaml",
            line=1,
            column=1,
            what="no such shipped policy",
            hint=f"there are {', '.join(shipped_names())}",
        )
        raise PolicyError([where])
    return file


def shipped_folder(name: str = "policies") -> Path:
    """Where this package keeps its example files: within a wheel, or at the top of a checkout."""
    package = Path(__file__).resolve().parent.parent
    inside = package / name
    return inside if inside.is_dir() else package.parent / name


def read_text(path: Path) -> str:
    """The text of a policy file; `PolicyError` when it cannot be read, is not UTF-8, or is huge."""
    problem: tuple[str, str]
    try:
        with path.open("rb") as file:
            raw = file.read(MAX_BYTES + 1)
    except OSError as error:
        problem = f"cannot be read: {(error.strerror or type(error).__name__).lower()}", "check the path"
    else:
        if len(raw) <= MAX_BYTES:
            try:
                return raw.decode("utf-8-sig")
            except UnicodeDecodeError as error:
                line = raw.count(b"\n", 0, error.start) + 1
                column = error.start - (raw.rfind(b"\n", 0, error.start) + 1) + 1
                where = Problem(
                    file=str(path), line=line, column=column, what="not UTF-8", hint="save the file as UTF-8"
                )
                raise PolicyError([where]) from None
        problem = f"larger than {MAX_BYTES // 1_000_000} MB", "a policy is short; is this the right file?"
    raise PolicyError([Problem(file=str(path), line=1, column=1, what=problem[0], hint=problem[1])])


def validated(model: type[B], source: Source, problems: list[Problem], *, noun: str, begin: str) -> B | None:
    """The tree of `source` as `model`; None where it is not, and `problems` then says why, line by line.

    Args:
        model: Of the whole file.
        source: What was read.
        problems: Where the faults are added.
        noun: What such a file is called.
        begin: What to write where there is nothing yet.
    """
    if not isinstance(source.tree, Mapping):
        what = "empty" if source.tree is None else "not a block of 'key: value' lines"
        problems.append(source.problem((), f"the {noun} is {what}", begin))
        return None
    try:
        return model.model_validate(source.tree, context=FROM_FILE)
    except ValidationError as error:
        faults = error.errors(include_url=False)
        places = [fault["loc"] for fault in faults]
        for fault in faults:
            way: Way = fault["loc"]
            inner = any(len(place) > len(way) and place[: len(way)] == way for place in places)
            if not (inner and fault["type"] == "too_short"):  # too short only because its items are wrong
                problems.append(say(source, fault, model))
        return None


def in_order(problems: Sequence[Problem]) -> PolicyError:
    """All of them as one error, from the top of the file to its end."""
    return PolicyError(sorted(problems, key=lambda problem: (problem.line, problem.column)))


def _build(source: Source) -> Policy:
    problems = list(source.problems)
    policy = source.tree if isinstance(source.tree, Policy) else _policy(source, problems)
    if policy is not None:
        problems += (source.problem(*fault[:3], key=fault.key) for fault in faults_in(policy))
    if problems or policy is None:
        raise in_order(problems)
    return policy


def _policy(source: Source, problems: list[Problem]) -> Policy | None:
    begin = "begin with 'version: 1', 'targets:' and 'rules:'"
    return validated(Policy, source, problems, noun="policy", begin=begin)
