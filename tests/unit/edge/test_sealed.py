"""Sealed files: what goes in comes out, and nothing that was touched opens."""

from __future__ import annotations

import sys

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hybridinfer.edge import sealed
from hybridinfer.edge.sealed import SealedFile, master_key, new_key, seal
from hybridinfer.errors import ConfigurationError, ModelCorrupt, ModelError

KEY = bytes(range(32))


@pytest.fixture(autouse=True)
def small_chunks(monkeypatch):
    """Many chunks without many bytes."""
    monkeypatch.setattr(sealed, "_CHUNK", 16)


def test_parts_come_back(tmp_path):
    """From files and from memory, over chunk borders, empty ones too."""
    (tmp_path / "weights").write_bytes(bytes(100))
    parts = {"graph": b"x" * 33, "weights": tmp_path / "weights", "nothing": b""}
    file = seal(parts, tmp_path / "m.sealed", KEY, model="mine")
    assert file.open(KEY) == {"graph": b"x" * 33, "weights": bytes(100), "nothing": b""}
    assert file.header().model == "mine"
    assert [(part.name, part.bytes) for part in file.header().parts] == [
        ("graph", 33),
        ("weights", 100),
        ("nothing", 0),
    ]
    assert sorted(each.name for each in tmp_path.iterdir()) == ["m.sealed", "weights"]


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=50)
@given(size=st.integers(0, 70))
def test_every_length_comes_back(tmp_path, size):
    """The last chunk may be full, short or the only one."""
    data = bytes(range(size))
    assert seal({"a": data}, tmp_path / "m", KEY, model="m").open(KEY) == {"a": data}


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=200)
@given(data=st.data())
def test_no_altered_byte_opens(tmp_path, data):
    """Wherever it stands: signature, header, chunk or tag."""
    path = tmp_path / "m"
    seal({"a": b"secret weights " * 4}, path, KEY, model="m")
    raw = bytearray(path.read_bytes())
    at = data.draw(st.integers(0, len(raw) - 1))
    raw[at] ^= data.draw(st.integers(1, 255))
    path.write_bytes(raw)
    with pytest.raises(ModelError):
        SealedFile(path).open(KEY)


def test_cut_swapped_and_foreign_chunks_do_not_open(tmp_path):
    """Each chunk is bound to its place, its file and its end."""
    path = tmp_path / "m"
    seal({"a": bytes(range(64))}, path, KEY, model="m")
    raw = path.read_bytes()
    body = len(raw) - 4 * 32
    chunks = [raw[body + i * 32 : body + (i + 1) * 32] for i in range(4)]
    for wrong in ([1, 0, 2, 3], [0, 0, 2, 3], [0, 1, 2], [0, 1, 2, 3, 3]):
        path.write_bytes(raw[:body] + b"".join(chunks[i] for i in wrong))
        with pytest.raises(ModelCorrupt, match="does not open"):
            SealedFile(path).open(KEY)


def test_another_key_does_not_open(tmp_path):
    """And says so, without a word on the key."""
    file = seal({"a": b"weights"}, tmp_path / "m", KEY, model="m")
    with pytest.raises(ModelCorrupt, match="another key"):
        file.open(bytes(32))


def test_the_content_does_not_stand_in_the_file(tmp_path):
    """Only the id and the parts' names and sizes are in the open."""
    file = seal({"a": b"very secret weights"}, tmp_path / "m", KEY, model="m")
    assert b"secret" not in file.path.read_bytes()


def test_a_failed_write_leaves_nothing(tmp_path):
    """Neither a half file nor a damaged old one."""
    seal({"a": b"old"}, tmp_path / "m", KEY, model="m")
    with pytest.raises(FileNotFoundError):
        seal({"a": tmp_path / "absent"}, tmp_path / "m", KEY, model="m")
    (tmp_path / "dir").mkdir()
    with pytest.raises(IsADirectoryError):
        seal({"a": tmp_path / "dir"}, tmp_path / "m", KEY, model="m")
    assert SealedFile(tmp_path / "m").open(KEY) == {"a": b"old"}
    assert sorted(each.name for each in tmp_path.iterdir()) == ["dir", "m"]


def test_other_files_are_no_sealed_models(tmp_path):
    """A clear error instead of a crash."""
    for content in (b"", b"GGUF", b"HIMODEL1\x02\x00\x00\x00[]", b"HIMODEL1\x02\x00\x00\x00{}"):
        (tmp_path / "m").write_bytes(content)
        with pytest.raises(ModelCorrupt, match="no sealed model"):
            SealedFile(tmp_path / "m").open(KEY)
    with pytest.raises(ModelError, match="cannot be read"):
        SealedFile(tmp_path / "absent").header()


def test_the_key_comes_from_the_environment():
    """As base64; anything else says what to do and never shows it."""
    key = new_key()
    assert len(master_key({"HYBRIDINFER_MODEL_KEY": f" {key}\n"})) == 32
    for wrong in ("c2hvcnQ=", "not base64!", "\N{LATIN SMALL LETTER E WITH ACUTE}"):
        with pytest.raises(ConfigurationError, match="new-key") as caught:
            master_key({"HYBRIDINFER_MODEL_KEY": wrong})
        assert wrong not in str(caught.value)


def test_the_keyring_is_asked_next(monkeypatch):
    """Where it is installed and answers."""
    import keyring
    from keyring.errors import NoKeyringError

    key = new_key()
    monkeypatch.setattr(keyring, "get_password", lambda service, user: key if (service, user) == sealed.KEYRING else "")
    assert len(master_key({})) == 32

    def locked(*_):
        raise NoKeyringError

    monkeypatch.setattr(keyring, "get_password", locked)
    with pytest.raises(ConfigurationError, match="HYBRIDINFER_MODEL_KEY"):
        master_key({})
    monkeypatch.setitem(sys.modules, "keyring", None)
    with pytest.raises(ConfigurationError, match="HYBRIDINFER_MODEL_KEY"):
        master_key({})


def test_without_the_library_the_extra_is_named(monkeypatch, tmp_path):
    """Sealing is an extra."""
    monkeypatch.setitem(sys.modules, "cryptography.hazmat.primitives.ciphers.aead", None)
    with pytest.raises(ConfigurationError, match=r"hybridinfer-sdk\[protect\]"):
        seal({"a": b""}, tmp_path / "m", KEY, model="m")
