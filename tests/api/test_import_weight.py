"""`from hybridinfer import Router` stays light: what it may not load, open or read."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

import hybridinfer

PACKAGE = Path(hybridinfer.__file__).parent

FORBIDDEN = """
    anthropic asyncio cyclopts genai_prices gguf httpx httpx2 jinja2 numpy onnx onnxruntime openai opentelemetry pydantic
    rich sqlite3 ssl tenacity tiktoken tokenizers urllib.request yaml
""".split()  # noqa: SIM905 - a list that is read, not a column of quotes

WATCHED = """
import os, sys
seen = []

def watch(event, arguments):
    if event.startswith("socket.") or event in ("subprocess.Popen", "os.system"):
        seen.append(f"{event} {arguments}")
    elif event == "open" and isinstance(arguments[0], str) and isinstance(arguments[2], int):
        writes = arguments[2] & (os.O_WRONLY | os.O_RDWR | os.O_CREAT)
        path = os.path.realpath(arguments[0])
        if (writes and not path.endswith(".pyc") and ".pyc." not in path) or not path.startswith(ALLOWED):
            seen.append(f"open {path}")

ALLOWED = tuple(os.path.realpath(p) for p in (sys.prefix, sys.base_prefix, sys.argv[1]))
sys.addaudithook(watch)
from hybridinfer import Router
print("\\n".join(seen))
"""


def _run(program: str, *arguments: str) -> list[str]:
    done = subprocess.run([sys.executable, "-c", program, *arguments], capture_output=True, text=True, check=True)
    return done.stdout.split("\n")[:-1]


@pytest.mark.parametrize("line", ["import hybridinfer", "from hybridinfer import Router"])
def test_nothing_heavy_is_loaded(line):
    """The import loads no vendor SDK, no engine and nothing else that takes long."""
    loaded = set(_run(f"import sys\n{line}\nprint('\\n'.join(sys.modules))"))
    assert loaded.isdisjoint(FORBIDDEN), sorted(loaded.intersection(FORBIDDEN))


def test_the_import_opens_no_socket_and_no_file_elsewhere():
    """The import touches no network, starts no program, writes nothing, and reads only Python's own files and ours."""
    assert [line for line in _run(WATCHED, str(PACKAGE)) if line] == []


def test_the_watcher_sees_what_it_is_for():
    """A hook that saw nothing would prove nothing: a file outside and a socket are both reported."""
    program = WATCHED.replace("from hybridinfer import Router", "open('/dev/null'); import socket; socket.socket()")
    seen = _run(program, str(PACKAGE))
    assert any(line.startswith("open /dev/null") for line in seen)
    assert any(line.startswith("socket.__new__") for line in seen)
