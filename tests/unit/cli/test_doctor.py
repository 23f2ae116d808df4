"""`hybridinfer doctor`: what it finds, what it never shows."""

from __future__ import annotations

import base64
import json
import subprocess
import sys
from importlib import metadata
from pathlib import Path

import pytest

from hybridinfer.cli import doctor as module
from hybridinfer.cli import main
from hybridinfer.edge.catalogue import catalogue
from hybridinfer.policy.load import load

SECRET = "sk-test-very-secret"


@pytest.fixture(autouse=True)
def _own_cache(monkeypatch, tmp_path):
    monkeypatch.setenv("HYBRIDINFER_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def findings(capsys):
    """Run the doctor and return what it found, by subject."""

    def findings(policy, code=0):
        assert main(["doctor", "--policy", str(policy), "--json"]) == code
        told = json.loads(capsys.readouterr().out)
        assert told["ok"] is (code == 0)
        return [(f["about"], f["status"], f["what"]) for f in told["findings"]]

    return findings


def test_a_good_set_up_is_exit_code_0(policy, capsys):
    """Notes alone are no fault."""
    assert main(["doctor", "--policy", str(policy)]) == 0
    out = capsys.readouterr().out
    assert "ok     python" in out
    assert "fault" not in out


def test_keys_are_named_and_never_shown(policy, findings, monkeypatch):
    """A key is there or not; its value is on no line."""
    assert ("key", "note", "cloud: OPENAI_API_KEY is not set, so this target is skipped") in findings(policy)
    monkeypatch.setenv("OPENAI_API_KEY", SECRET)
    found = findings(policy)
    assert ("key", "ok", "cloud: OPENAI_API_KEY is set") in found
    assert SECRET not in str(found)


def test_the_foreign_distribution_is_a_fault(policy, findings, monkeypatch):
    """The PyPI project `hybridinfer` installs the same import name."""
    real = metadata.version
    monkeypatch.setattr(metadata, "version", lambda name: "0.0.3" if name == "hybridinfer" else real(name))
    (fault,) = [what for _, status, what in findings(policy, 1) if status == "fault"]
    assert "another project with the same import name" in fault


def test_a_missing_package_is_a_fault(policy, findings, monkeypatch):
    """What pip left out is named."""
    real = metadata.version

    def version(name):
        if name == "genai-prices":
            raise metadata.PackageNotFoundError
        return real(name)

    monkeypatch.setattr(metadata, "version", version)
    assert ("packages", "fault", "missing: genai-prices") in findings(policy, 1)


def test_an_uninstalled_checkout_is_a_fault(policy, findings, monkeypatch):
    """Without its own metadata the distribution is not installed."""

    def requires(_):
        raise metadata.PackageNotFoundError

    monkeypatch.setattr(metadata, "requires", requires)
    assert ("packages", "fault", "hybridinfer-sdk is not installed") in findings(policy, 1)


def test_a_broken_policy_is_a_fault(write, findings):
    """Every problem of the policy is a line, with its place."""
    (fault,) = [f for f in findings(write("version: 1\ntargets: {}\nrules: []\nnonsense: 1\n"), 1) if f[1] == "fault"][
        :1
    ]
    assert fault[0] == "policy"
    assert "policy.yaml:" in fault[2]


def test_a_policy_with_an_error_is_a_fault(write, findings):
    """What `policy check` calls an error, the doctor calls a fault."""
    text = """
version: 1
targets: {cloud: {kind: openai, model: gpt-6-luna}}
boundaries: [{name: all, zones: [device]}]
rules: [{name: all, use: [cloud]}]
"""
    assert [f for f in findings(write(text), 1) if f[:2] == ("policy", "fault")]


def test_an_absent_model_is_a_note_with_the_command_that_fetches_it(write, capsys):
    """The hint can be copied."""
    file = write("version: 1\ntargets: {m: {kind: onnx, model: smollm2-135m}}\nrules: [{name: a, use: [m]}]\n")
    assert main(["doctor", "--policy", str(file)]) == 0
    assert "smollm2-135m is not on this machine; hybridinfer models pull smollm2-135m" in capsys.readouterr().out


def test_a_model_file_that_is_there(write, findings, tmp_path):
    """A file by its path is here; whether it is sound is for `models verify`."""
    (tmp_path / "mine.gguf").write_bytes(b"GGUF")
    text = f"version: 1\ntargets: {{m: {{kind: onnx, model: {tmp_path}/mine.gguf}}}}\nrules: [{{name: a, use: [m]}}]\n"
    (model,) = [f for f in findings(write(text)) if f[0] == "model"]
    assert model[1] == "ok"
    assert "converted at its first use" in model[2]


def test_a_sealed_model_needs_its_key(write, findings, tmp_path, monkeypatch):
    """A missing key is a fault, as that target can never answer; a key that is there is never shown."""
    monkeypatch.setattr("hybridinfer.edge.sealed._from_keyring", lambda: None)
    (tmp_path / "m.sealed").write_bytes(b"x" * 1_000_000)
    policy = write(
        f"version: 1\ntargets: {{m: {{kind: onnx, model: {tmp_path}/m.sealed}}}}\nrules: [{{name: a, use: [m]}}]\n"
    )
    monkeypatch.delenv("HYBRIDINFER_MODEL_KEY", raising=False)
    assert any("HYBRIDINFER_MODEL_KEY" in what for about, status, what in findings(policy, 1) if status == "fault")
    key = base64.b64encode(bytes(range(32))).decode()
    monkeypatch.setenv("HYBRIDINFER_MODEL_KEY", key)
    found = findings(policy)
    assert ("key", "ok", "m.sealed: the model key is set") in found
    assert key not in str(found)


def test_auto_says_which_model_it_would_take(write, findings, tmp_path):
    """And what can compute it."""
    (tmp_path / "cache" / "models").mkdir(parents=True)
    small = catalogue()["smollm2-135m"]
    (tmp_path / "cache" / "models" / f"{small.sha256}.gguf").touch()
    found = findings(write("version: 1\ntargets: {m: {kind: onnx, model: auto}}\nrules: [{name: a, use: [m]}]\n"))
    assert any(what.startswith("auto: smollm2-135m is here") for about, _, what in found if about == "model")
    assert any("cpu" in what for about, _, what in found if about == "provider")


@pytest.mark.parametrize(
    "text",
    [
        "signals: {complexity: {model: embedding}}\nrules: [{name: a, use: [m]}]\n",
        "rules: [{name: a, use: [{target: m, accept: {agree_with: n, judge: embedding}}]}]\n",
    ],
)
def test_a_missing_embedder_is_a_fault_where_the_policy_needs_it(write, findings, text):
    """No router takes such a policy without it; the finding says what to run."""
    targets = "version: 1\ntargets: {m: {kind: openai, model: m}, n: {kind: openai, model: n}}\n"
    found = findings(write(targets + text), code=1)
    assert ("model", "fault", "minilm-l6-v2 is not on this machine") in found
    assert not any("minilm" in what for _, _, what in findings(write(targets + "rules: [{name: a, use: [m]}]\n")))


def test_an_unknown_model_is_a_fault(write, findings):
    """A name that the catalogue does not have cannot work."""
    text = "version: 1\ntargets: {m: {kind: onnx, model: nonsense}}\nrules: [{name: a, use: [m]}]\n"
    assert [f for f in findings(write(text), 1) if f[:2] == ("model", "fault")]


def test_offline_is_said(policy, findings, monkeypatch):
    """Who wonders why nothing is fetched reads it here."""
    monkeypatch.setenv("HYBRIDINFER_OFFLINE", "1")
    assert ("model", "note", "HYBRIDINFER_OFFLINE is set: nothing will be fetched") in findings(policy)


@pytest.mark.parametrize(("free", "status"), [(50e9, "ok"), (1e9, "note")])
def test_room_on_the_disk(free, status, tmp_path):
    """Too little room for a conversion is a note."""
    finding = module.disk(tmp_path / "not" / "yet", lambda _: (0, 0, int(free)))
    assert finding.status == status


WITH_BUDGET = """
version: 1
targets: {sorry: {kind: canned, text: x}}
budgets: [{name: day, usd: 5, per: day}]
rules: [{name: a, use: [sorry]}]
"""


def test_the_ledger_is_read(write, findings, tmp_path, monkeypatch):
    """A ledger that works is named."""
    monkeypatch.setenv("HYBRIDINFER_LEDGER", str(tmp_path / "ledger.sqlite3"))
    (ledger,) = [f for f in findings(write(WITH_BUDGET)) if f[0] == "ledger"]
    assert ledger[1:] == ("ok", f"{tmp_path}/ledger.sqlite3 can be read")


def test_a_ledger_that_cannot_be_opened_is_a_fault(write, findings, tmp_path, monkeypatch):
    """Money would be unknown, and therefore denied: that must be seen."""
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("HYBRIDINFER_LEDGER", str(tmp_path / "file" / "ledger.sqlite3"))
    (ledger,) = [f for f in findings(write(WITH_BUDGET), 1) if f[0] == "ledger"]
    assert ledger[1] == "fault"


def test_an_unknown_ledger_address_is_a_fault_without_its_password(write, findings, monkeypatch):
    """An address with a password is not repeated."""
    monkeypatch.setenv("HYBRIDINFER_LEDGER", "nonsense://user:hunter2@host")
    (ledger,) = [f for f in findings(write(WITH_BUDGET), 1) if f[0] == "ledger"]
    assert ledger[1] == "fault"
    assert "hunter2" not in str(ledger)


def test_telemetry_is_off(policy):
    """In a fresh process, onnxruntime is imported with its telemetry off."""
    done = subprocess.run(
        [sys.executable, "-m", "hybridinfer", "doctor", "--policy", str(policy)],
        capture_output=True,
        text=True,
        check=True,
    )
    assert "runs with its telemetry off" in done.stdout


def test_telemetry_that_was_on_is_a_fault(monkeypatch):
    """Somebody imported onnxruntime first, without the variable."""
    monkeypatch.setitem(sys.modules, "onnxruntime", __import__("onnxruntime"))
    monkeypatch.delenv("ORT_DISABLE_TELEMETRY", raising=False)
    assert module.telemetry().status == "fault"


def test_without_a_policy_the_shipped_one_is_taken(tmp_path, monkeypatch, capsys):
    """The doctor looks where a router would look."""
    monkeypatch.chdir(tmp_path)
    main(["doctor"])
    assert "'default' in" in capsys.readouterr().out


def test_the_shipped_default_has_no_fault():
    """What a newcomer meets first is sound."""
    from hybridinfer.policy.load import shipped

    loaded, found = module.find_policy(shipped("default"), {})
    assert loaded == load(shipped("default"))
    assert [finding.status for finding in found] != ["fault"]
    assert isinstance(shipped("default"), Path)
