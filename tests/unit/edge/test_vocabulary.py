"""Packed vocabularies: the same as the GGUF file's, and never trusted unseen."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hybridinfer.edge import checksum
from hybridinfer.edge.catalogue import find
from hybridinfer.edge.convert import MANIFEST, VOCABULARY, Conversion
from hybridinfer.edge.gguf import GgufFile
from hybridinfer.edge.lexicon import Lexicon, unpack
from hybridinfer.edge.pool import load
from hybridinfer.edge.store import Store
from hybridinfer.edge.vocabulary import Vocabulary
from tests import tiny


@pytest.fixture
def conversion(tmp_path: Path, tiny_gguf: Path) -> Conversion:
    """A conversion of the tiny model that a test may damage."""
    conversion = Conversion.of(tmp_path, checksum.sha256(tiny_gguf))
    conversion.make(tiny_gguf)
    return conversion


texts = st.text(st.characters(), max_size=9)  # lone surrogates as well: GGUF files hold any bytes


@given(
    lists=st.lists(st.tuples(st.binary(max_size=9), st.binary(max_size=9), st.integers(-1, 1 << 30))),
    special=st.dictionaries(texts, st.integers(0, 1 << 30)),
    pre=texts,
    ends=st.lists(st.integers(0, 1 << 30)),
)
def test_unpacking_gives_what_was_packed(lists: list, special: dict, pre: str, ends: list) -> None:
    """Any spellings, ranks, numbers and texts, with the facts that lie beside them."""
    lexicon = Lexicon(
        pre=pre,
        spellings=[one for one, _, _ in lists],
        ranks=[other for _, other, _ in lists],
        numbers=[number for _, _, number in lists],
        special=special,
        end_ids=ends,
        bos=pre,
        eos="",
    )
    assert unpack(lexicon.pack(template=pre, window=5)) == (lexicon, {"template": pre, "window": 5})


def test_a_conversion_holds_the_files_vocabulary(conversion: Conversion, tiny_gguf: Path) -> None:
    """Tables, template and window are those that the GGUF header says."""
    data = conversion.vocabulary()
    assert data is not None
    lexicon, more = unpack(data)
    with GgufFile(tiny_gguf) as gguf:
        assert lexicon == Lexicon.of(gguf.metadata)
    assert more == {"template": tiny.TEMPLATE, "window": tiny.CONTEXT}


def test_a_packed_vocabulary_reads_and_writes_the_same(conversion: Conversion, tmp_path: Path, tiny_gguf: Path) -> None:
    """Ids, text, end tokens and window equal those of the GGUF header."""
    other = tmp_path / "other"
    other.touch()  # vocabularies are known by their file: this one has none but the packed one
    packed, read = Vocabulary.of(other, packed=conversion.vocabulary), Vocabulary.of(tiny_gguf)
    text = "<|im_start|>héllo world 00\n"
    assert packed.tokenizer.encode_prompt(text) == (ids := read.tokenizer.encode_prompt(text))
    assert packed.tokenizer.decode(ids) == read.tokenizer.decode(ids)
    assert packed.tokenizer.end_ids == read.tokenizer.end_ids
    assert packed.context_window == read.context_window


@pytest.mark.parametrize("name", [VOCABULARY, MANIFEST])
def test_a_damaged_packed_vocabulary_is_not_used(conversion: Conversion, name: str) -> None:
    """A flipped byte of it, or of its hash, and it counts as absent."""
    file = conversion.directory / name
    data = bytearray(file.read_bytes())
    data[data.index(VOCABULARY.encode()) + len(VOCABULARY) + 5 if name == MANIFEST else len(data) // 2] ^= 1
    file.write_bytes(data)
    assert conversion.vocabulary() is None


@pytest.mark.parametrize("pinned", [True, False])
@pytest.mark.parametrize("damage", ["absent", "other bytes"])
def test_loading_puts_a_missing_packed_vocabulary_there(
    conversion: Conversion, tmp_path: Path, tiny_gguf: Path, damage: str, *, pinned: bool
) -> None:
    """Conversions of older versions load, and load faster the next time; their weights stay as they were."""
    before = conversion.vocabulary()
    manifest = json.loads((conversion.directory / MANIFEST).read_text("utf-8"))
    if damage == "absent":
        (conversion.directory / VOCABULARY).unlink()
        (conversion.directory / MANIFEST).write_text(json.dumps({k: v for k, v in manifest.items() if k != VOCABULARY}))
    else:
        (conversion.directory / VOCABULARY).write_bytes(b"forged")
    assert conversion.vocabulary() is None
    model = find(str(tiny_gguf), sha256=checksum.sha256(tiny_gguf) if pinned else None)
    loaded = load(model, Store(tmp_path, {}), threads=1, pull=False)
    assert loaded.vocabulary.tokenizer.decode(loaded.vocabulary.tokenizer.encode("hello")) == "hello"
    assert conversion.vocabulary() == before
    assert json.loads((conversion.directory / MANIFEST).read_text("utf-8")) == manifest


def test_a_full_disk_only_costs_the_packed_vocabulary(conversion: Conversion, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where it cannot be written, nothing fails and nothing changes."""
    before = conversion.vocabulary()

    def full(*_: object) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    conversion.keep_vocabulary(b"new")
    assert conversion.vocabulary() == before


def test_reading_a_packed_vocabulary_imports_no_numpy(conversion: Conversion) -> None:
    """Another thread is importing it with onnxruntime just then, and numpy does not bear two imports at once."""
    code = (
        "import sys; from pathlib import Path; from hybridinfer.edge.vocabulary import Vocabulary\n"
        "file = Path(sys.argv[1]); Vocabulary.of(file, packed=file.read_bytes)\n"
        "sys.exit('numpy' in sys.modules)"
    )
    ran = subprocess.run([sys.executable, "-c", code, str(conversion.directory / VOCABULARY)], check=False)
    assert ran.returncode == 0
