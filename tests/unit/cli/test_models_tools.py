"""`hybridinfer models bench | quantize | encrypt | new-key | verify --signature`."""

from __future__ import annotations

import base64
import json
from pathlib import Path

import pytest

from hybridinfer.cli import main, models_quantize
from hybridinfer.edge import bench, fidelity, sealed
from hybridinfer.edge.signature import Signature
from hybridinfer.errors import ModelCorrupt
from tests import tiny

KEY = base64.b64encode(bytes(range(32))).decode()


@pytest.fixture(autouse=True)
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A tiny model, an empty cache, a key, no keyring."""
    monkeypatch.setenv("HYBRIDINFER_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("HYBRIDINFER_MODEL_KEY", KEY)
    monkeypatch.setattr(sealed, "_from_keyring", lambda: None)
    monkeypatch.setattr(bench, "_COPY_BYTES", 1 << 20)
    monkeypatch.setattr(bench, "DECODE", 4)
    monkeypatch.setattr(fidelity, "ANSWER", 4)
    return tiny.write(tmp_path / "tiny.gguf")


def test_encrypt_verify_and_bench_a_sealed_model(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """One file that the other commands take like any model."""
    out = place.with_name("m.sealed")
    assert main(["models", "encrypt", str(place), "--out", str(out)]) == 0
    captured = capsys.readouterr()
    assert captured.out.strip() == str(out)
    assert "models remove" in captured.err
    assert main(["models", "encrypt", str(place), "--out", str(out), "--force", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["model"] == "tiny"
    assert main(["models", "verify", str(out)]) == 0
    assert main(["models", "bench", str(out), "--rounds", "1", "--json"]) == 0
    row = json.loads(capsys.readouterr().out.split("\n", 1)[1])
    assert (row["provider"], row["model"]) == ("cpu", str(out))
    assert all(row[name] > 0 for name in ("decode", "prefill", "ttft", "load_seconds", "bandwidth", "bandwidth_share"))


@pytest.mark.parametrize(
    ("out", "said"), [("m.gguf", "ends with .sealed"), ("there.sealed", "--force"), ("no/where.sealed", "written")]
)
def test_encrypt_refuses_what_cannot_be(place: Path, out: str, said: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Exit code 2 and what to change."""
    place.with_name("there.sealed").touch()
    with pytest.raises(SystemExit) as caught:
        main(["models", "encrypt", str(place), "--out", str(place.parent / out)])
    assert caught.value.code == 2
    assert said in capsys.readouterr().err


def test_verify_with_another_key_finds_fault(
    place: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Exit code 1, and without a key it says what to set."""
    out = place.with_name("m.sealed")
    main(["models", "encrypt", str(place), "--out", str(out)])
    for value, said in ((base64.b64encode(bytes(32)).decode(), "another key"), ("", "HYBRIDINFER_MODEL_KEY")):
        monkeypatch.setenv("HYBRIDINFER_MODEL_KEY", value)
        capsys.readouterr()
        assert main(["models", "verify", str(out)]) == 1
        assert said in capsys.readouterr().out


def test_new_key_prints_a_key_or_keeps_it(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """Never both."""
    assert main(["models", "new-key"]) == 0
    assert len(base64.b64decode(capsys.readouterr().out)) == 32
    kept: list[str] = []
    monkeypatch.setattr(sealed, "keep", kept.append)
    assert main(["models", "new-key", "--keyring"]) == 0
    captured = capsys.readouterr()
    assert len(kept) == 1
    assert kept[0] not in captured.out + captured.err


def test_verify_asks_the_signature(
    place: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of the very file; one that does not hold is exit code 1."""
    arguments = ["models", "verify", str(place), "--signature", "m.sig", "--public-key", "k.pem"]
    seen: list[Path] = []
    monkeypatch.setattr(Signature, "check", lambda _self, model: seen.append(model))
    assert main(arguments) == 0
    assert seen == [place]

    def refuse(_self: Signature, _model: Path) -> None:
        raise ModelCorrupt("it does not hold")

    monkeypatch.setattr(Signature, "check", refuse)
    assert main(arguments) == 1
    assert "does not hold" in capsys.readouterr().out


@pytest.mark.parametrize("arguments", [["a.gguf", "--signature", "m.sig"], ["--signature", "s", "--public-key", "k"]])
def test_half_a_signature_is_refused(arguments: list[str]) -> None:
    """Both options, one model."""
    with pytest.raises(SystemExit) as caught:
        main(["models", "verify", *arguments])
    assert caught.value.code == 2


def quantize(place: Path, *more: str) -> int:
    prompts = place.with_name("p.yaml")
    prompts.write_text("- hello\n- prompt: hello world\n")
    return main(["models", "quantize", str(place), "--check", str(prompts), *more])


def test_a_copy_that_is_the_same_model_is_kept(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Under its name in the cache, where verify, bench and remove find it."""
    assert quantize(place, "--bits", "8", "--block", "32", "--out", "mine") == 0
    assert "model: mine.bundle" in capsys.readouterr().err
    assert main(["models", "list"]) == 0
    assert "quantized here" in capsys.readouterr().out
    assert main(["models", "verify"]) == 0
    assert capsys.readouterr().out.split() == ["mine.bundle", "ok"]
    assert main(["models", "verify", "mine.bundle"]) == 0
    assert main(["models", "bench", "mine.bundle", "--rounds", "1", "--threads", "1"]) == 0
    assert "decode" in capsys.readouterr().out
    with pytest.raises(SystemExit):
        quantize(place, "--out", "mine")
    assert "it is there already" in capsys.readouterr().err
    assert main(["models", "remove", "mine.bundle"]) == 0
    assert "freed" in capsys.readouterr().err
    assert not list((place.parent / "cache" / "bundles").glob("*.bundle"))


def test_a_ruined_copy_is_refused_and_force_overrules(
    place: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Exit code 1 and nothing left; with --force it is kept, and both are said."""
    monkeypatch.setattr(fidelity, "MOST_PERPLEXITY_RATIO", 0.5)
    out = place.with_name("bad.bundle")
    assert quantize(place, "--out", str(out)) == 1
    assert "it was not kept" in capsys.readouterr().err
    assert not list(place.parent.glob("*.bundle*"))
    assert quantize(place, "--out", str(out), "--eight", "head,attention", "--force", "--json") == 0
    row = json.loads(capsys.readouterr().out)
    assert row["kept"]
    assert row["faults"]
    assert row["precision"] == "attention 8 bits, ffn 4 bits, head 8 bits"
    other = place.with_name("bad2.bundle")
    assert quantize(place, "--out", str(other), "--force") == 0
    assert "kept because of --force" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (("--block", "33"), "--block 33"),
        (("--eight", "legs"), "the parts are attention, ffn, head"),
        (("--check", "/none.yaml"), "cannot be read"),
    ],
)
def test_quantize_refuses_what_cannot_be(
    place: Path, more: tuple[str, ...], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Exit code 2 and what to change."""
    with pytest.raises(SystemExit) as caught:
        main(["models", "quantize", str(place), "--out", "x", *more])
    assert caught.value.code == 2
    assert said in capsys.readouterr().err


def test_quantize_wants_prompts_and_a_source(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Not a mapping, not an empty list, not what was made of a model already."""
    for text in ("{}", "[]", "- 1", "- prompt: ''"):
        place.with_name("p.yaml").write_text(text)
        with pytest.raises(SystemExit):
            main(["models", "quantize", str(place), "--out", "x", "--check", str(place.with_name("p.yaml"))])
        assert "a list of prompts" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        quantize(place.with_name("a.sealed"), "--out", "x")
    assert len(models_quantize._prompts(None)) > 10


def test_tune_remembers_the_fastest(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """And bench runs with it at once."""
    assert main(["models", "bench", str(place), "--rounds", "1", "--tune", "--json"]) == 0
    captured = capsys.readouterr()
    row = json.loads(captured.out)
    assert "1 threads, spinning: decode" in captured.err
    remembered = next(iter(json.loads((place.parent / "cache" / "tuning.json").read_text()).values()))[str(place)]
    assert (row["threads"], row["spinning"]) == (remembered["threads"], remembered["spinning"])
