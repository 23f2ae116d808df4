from __future__ import annotations

import base64
import hashlib
import multiprocessing
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import tiktoken_ext.openai_public as tiktoken_public

from hybridinfer.tokens import encodings
from hybridinfer.tokens.encodings import encoding, encoding_name, ranks

NAMES = ("o200k_base", "cl100k_base")


@pytest.fixture
def tiktoken_constructor(monkeypatch: pytest.MonkeyPatch):
    """What tiktoken itself would build, on our ranks; remembers the sha256 that it pins. Never downloads."""
    pinned = {}

    def construct(name: str) -> dict:
        def no_download(_url: str, expected_hash: str) -> dict[bytes, int]:
            pinned[name] = expected_hash
            return ranks(name)

        monkeypatch.setattr(tiktoken_public, "load_tiktoken_bpe", no_download)
        return getattr(tiktoken_public, name)() | {"pinned": pinned[name]}

    return construct


@pytest.mark.parametrize("name", NAMES)
def test_ranks_are_byte_for_byte_those_that_tiktoken_pins(name, tiktoken_constructor) -> None:
    """Written in tiktoken's own format, the unpacked ranks have the sha256 that tiktoken demands."""
    lines = (base64.b64encode(token) + b" " + str(rank).encode() + b"\n" for token, rank in ranks(name).items())
    assert hashlib.sha256(b"".join(lines)).hexdigest() == tiktoken_constructor(name)["pinned"]


@pytest.mark.parametrize("name", NAMES)
def test_pattern_is_tiktokens(name, tiktoken_constructor) -> None:
    """A newer tiktoken that splits text in another way fails here."""
    assert encodings._PATTERN[name] == tiktoken_constructor(name)["pat_str"]


def test_packed_files_are_small() -> None:
    """Both encodings together stay below 2 MB, each below 1 MB."""
    sizes = [file.stat().st_size for file in Path(encodings.__file__).parent.joinpath("data").glob("*.xz")]
    assert len(sizes) == 2
    assert max(sizes) < 1_000_000


def test_many_threads_build_an_encoding_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Sixteen first counts at the same time share one build."""
    built = []
    monkeypatch.setattr(encodings, "_built", {})
    monkeypatch.setattr(encodings, "_build", lambda name: built.append(name) or object())
    with ThreadPoolExecutor(16) as pool:
        found = set(pool.map(lambda _: encoding("o200k_base"), range(64)))
    assert len(found) == len(built) == 1


@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_fork_while_another_thread_builds_does_not_deadlock(monkeypatch: pytest.MonkeyPatch) -> None:
    """The child gets a lock of its own; the parent's was held at the fork."""
    monkeypatch.setattr(encodings, "_built", {})
    monkeypatch.setattr(encodings, "_build", lambda _name: object())
    with encodings._building:
        child = multiprocessing.get_context("fork").Process(target=encoding, args=("o200k_base",))
        child.start()
    child.join(30)
    code = child.exitcode
    child.kill()
    assert code == 0


@pytest.mark.parametrize(
    ("model", "name", "known"),
    [
        ("", "o200k_base", True),
        ("gpt-4o-mini", "o200k_base", True),
        ("gpt-4.1", "o200k_base", True),
        ("gpt-6-luna", "o200k_base", True),
        ("openai/o3-mini", "o200k_base", True),
        ("ft:gpt-4o:acme", "o200k_base", True),
        ("chatgpt-4o-latest", "o200k_base", True),
        ("gpt-4", "cl100k_base", True),
        ("gpt-4-turbo", "cl100k_base", True),
        ("gpt-3.5-turbo-0125", "cl100k_base", True),
        ("gpt-35-turbo", "cl100k_base", True),
        ("text-embedding-3-small", "cl100k_base", True),
        ("claude-haiku-5-5", "o200k_base", False),
        ("mistral-large", "o200k_base", False),
    ],
)
def test_encoding_of_a_model(model: str, name: str, known: bool) -> None:
    """OpenAI's models have a known encoding; everybody else's is the nearest one."""
    assert encoding_name(model) == (name, known)
