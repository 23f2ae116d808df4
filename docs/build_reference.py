"""Write docs/reference.md and docs/cli.md from the docstrings, and the list of decisions from their titles.

The reference holds public Python names, policy blocks and codes.

    python docs/build_reference.py [folder]

A test compares the committed files with a fresh run: `make docs` brings them up to date.
"""

from __future__ import annotations

import ast
import dataclasses
import inspect
import re
import sys
import textwrap
from enum import StrEnum
from functools import cached_property
from pathlib import Path
from types import FunctionType, ModuleType, NoneType
from typing import Any

_MEMBERS = (FunctionType, classmethod, staticmethod, property, cached_property)
_LITERAL = (str, int, float, tuple, NoneType)
DECISIONS = """# Decisions

Each file records one choice that a newcomer would question: what was chosen, why, what it costs, and what
would change our mind. A decision that is overturned stays, with a line that names its successor.
Next number: one above the highest here. Keep it under a page. The first line is `# 0001: the title`.

"""
MARK = "<!-- Made by `make docs` from the docstrings; do not edit. -->\n\n"


def main() -> None:
    """Write the files into the folder given, or beside this script."""
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parent
    for name, text in {
        "reference.md": reference(),
        "cli.md": command_line(),
        "decisions/README.md": decisions(),
    }.items():
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text(MARK + text.strip() + "\n", encoding="utf-8")


def decisions() -> str:
    """How decisions are written down, and each one by its title."""
    pages = sorted((Path(__file__).parent / "decisions").glob("[0-9]*.md"))
    lines = [f"- [{page.name[:4]}]({page.name}): {_title(page)}" for page in pages]
    return DECISIONS + "\n".join(lines)


def _title(page: Path) -> str:
    first = page.read_text(encoding="utf-8").partition("\n")[0]
    return re.sub(r"^#\s*\d*\s*[:.]?\s*", "", first)


def reference() -> str:
    """Every public name of the package and of `hybridinfer.testing`, then the blocks of a policy."""
    import hybridinfer
    from hybridinfer import testing
    from hybridinfer.policy import model

    names = [name for name in hybridinfer.__all__ if not name.startswith("_")]
    errors = [
        n for n in names if isinstance(getattr(hybridinfer, n), type) and issubclass(getattr(hybridinfer, n), Exception)
    ]
    faces = ["Router", "AsyncRouter", "Stream", "AsyncStream"]
    rest = [name for name in names if name not in (*errors, *faces)]
    blocks = [n for n, value in vars(model).items() if _is_own_class(value, model) and n != "Block"]
    blocks.sort(key=lambda name: name != "Policy")  # the whole file first, then its parts in their order
    doubles = [
        name
        for name, value in vars(testing).items()
        if name[0] != "_" and getattr(value, "__module__", "") == testing.__name__
    ]
    chapters = {
        "Faces": [entry(name, getattr(hybridinfer, name)) for name in faces],
        "Records": [entry(name, getattr(hybridinfer, name)) for name in rest],
        "Errors": [f"```text\n{inspect.getdoc(inspect.getmodule(hybridinfer.HybridinferError))}\n```"],
        "hybridinfer.testing": [entry(name, getattr(testing, name)) for name in doubles],
        "The policy, block by block": [entry(name, getattr(model, name)) for name in blocks],
    }
    body = "\n\n".join(f"## {title}\n\n" + "\n\n".join(entries) for title, entries in chapters.items())
    return f"# Reference\n\nEverything here is imported from `hybridinfer`, unless its chapter names another module.\n\n{body}"


def command_line() -> str:
    """The commands and their options, as the program's own `--help` has them."""
    from hybridinfer.cli import build

    text: str = build().generate_docs(output_format="markdown", usage_name="hybridinfer")
    return text


def entry(name: str, value: object) -> str:
    """One public name: its signature or fields, its docstring, its public methods."""
    if not isinstance(value, type):
        doc = inspect.getdoc(value) if isinstance(value, FunctionType) else _alias(name, value)
        return f"### `{name}{_signature(value)}`\n\n{_markdown(doc)}"
    parts = [f"### `{name}`\n\n{_markdown(inspect.getdoc(value))}"]
    if rows := _fields(value):
        parts.append("\n".join(["| name | type | |", "|---|---|---|", *rows]))
    elif "__init__" in vars(value) and not name.endswith("Stream"):  # streams are made by routers
        parts.append(f"`{name}{_signature(value)}`")
    for key, member in vars(value).items():
        if key.startswith("_") or not isinstance(member, _MEMBERS):
            continue
        plain = isinstance(member, property | cached_property)
        function = getattr(member, "fget", None) or getattr(member, "func", None) or getattr(member, "__func__", member)
        call = "" if plain else _signature(function)
        if not _inherited_validator(value, key) and (doc := inspect.getdoc(function)):
            parts.append(f"**`.{key}{call}`**\n\n{_markdown(doc)}")
    return "\n\n".join(parts)


def _fields(kind: type) -> list[str]:
    """Table rows for the fields of a dataclass, a pydantic model or an enum, with the comment or string beside each."""
    notes = _notes(kind)
    if issubclass(kind, StrEnum):
        return [f"| `{member.value}` | | {notes.get(member.name, '')} |" for member in kind]
    if dataclasses.is_dataclass(kind):
        names = [field.name for field in dataclasses.fields(kind)]
    else:
        names = list(getattr(kind, "model_fields", {}))
    annotations = {
        name: text for base in reversed(kind.__mro__) for name, text in inspect.get_annotations(base).items()
    }
    return [f"| `{name}` | `{_escape(str(annotations.get(name, '')))}` | {notes.get(name, '')} |" for name in names]


def _notes(kind: type) -> dict[str, str]:
    """Field -> the string literal under it, or the comment after it."""
    lines, _ = inspect.getsourcelines(kind)
    source = textwrap.dedent("".join(lines))
    tree = ast.parse(source).body[0]
    assert isinstance(tree, ast.ClassDef)
    notes: dict[str, str] = {}
    for node, following in zip(tree.body, [*tree.body[1:], None], strict=True):
        target = (
            node.target
            if isinstance(node, ast.AnnAssign)
            else node.targets[0]
            if isinstance(node, ast.Assign)
            else None
        )
        if not isinstance(target, ast.Name) or node.end_lineno is None:
            continue
        comment = re.search(r"  # (?!noqa|type:)(.+)$", source.splitlines()[node.end_lineno - 1])
        note = comment[1] if comment else ""
        if (
            isinstance(following, ast.Expr)
            and isinstance(following.value, ast.Constant)
            and isinstance(following.value.value, str)
        ):
            note = following.value.value
        notes[target.id] = _escape(" ".join(note.split()))
    return notes


def _signature(value: Any) -> str:
    try:
        signature = inspect.signature(value)
    except (TypeError, ValueError):
        return ""
    kept = [parameter for name, parameter in signature.parameters.items() if name not in ("self", "cls")]
    # Objects have no stable form: a set's order, a function's address.
    kept = [p if isinstance(p.default, _LITERAL) else p.replace(default=p.empty) for p in kept]
    return str(signature.replace(parameters=kept)).replace("'", "")


def _markdown(doc: str | None) -> str:
    """A docstring as Markdown: indented examples become code blocks, sections of Google style become bold lines."""
    if "```" in (doc or ""):
        return doc or ""
    text = re.sub(r"^(Args|Returns|Raises|Yields):$", r"**\1:**\n", doc or "", flags=re.MULTILINE)
    return re.sub(r"((?:^    .+\n?(?:\n(?=    ))?)+)", _block, text, flags=re.MULTILINE)


def _block(match: re.Match[str]) -> str:
    code = textwrap.dedent(match[1]).strip()
    if re.match(r"[\w.* ]+: ", code):  # "name: what it is", from a Google-style section
        return (
            "\n".join(f"- {line}" if re.match(r"\w[\w.* ]*: ", line) else f"  {line}" for line in code.splitlines())
            + "\n"
        )
    return f"```python\n{code}\n```\n"


def _alias(name: str, value: object) -> str:
    return f"`{name} = {str(value).replace('hybridinfer.types.', '')}`"


def _is_own_class(value: object, module: ModuleType) -> bool:
    return isinstance(value, type) and value.__module__ == module.__name__


def _inherited_validator(kind: type, key: str) -> bool:
    return hasattr(kind, "model_fields") and key.startswith("model_")


def _escape(text: str) -> str:
    return text.replace("|", "\\|")


if __name__ == "__main__":
    main()
