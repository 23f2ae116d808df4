"""`hybridinfer health` shows how targets do."""

from __future__ import annotations

import json
import time

import pytest

from hybridinfer.budget.requests import RequestLog
from hybridinfer.cli import main
from hybridinfer.drill import faults
from hybridinfer.receipt import Attempt, Code, Receipt

POLICY = """
version: 1
targets:
  cloud: {kind: openai, model: m, base_url: "BASE", zone: network, api_key: "${env:CLOUD_KEY}", price: {input: 1, output: 1}}
  away: {kind: openai, model: m, base_url: "BASE", api_key: "${env:CLOUD_KEY}", price: {input: 1, output: 1}}
  sorry: {kind: canned, text: "-"}
budgets: [{name: day, usd: 5, per: day}]
boundaries: [{name: here, zones: [device, network]}]
rules: [{name: all, use: [cloud, away, sorry]}]
"""


@pytest.fixture
def at(tmp_path, monkeypatch):
    """A place with a policy, a key, and a ledger."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("CLOUD_KEY", "k")
    monkeypatch.setenv("HYBRIDINFER_LEDGER", str(tmp_path / "ledger.sqlite3"))
    (tmp_path / "hybridinfer.yaml").write_text(POLICY.replace("BASE", "http://127.0.0.1:9/v1"))
    return tmp_path


def tell(at, *codes, seconds=1.0):
    log = RequestLog(at / "ledger.sqlite3", clock=time.time)
    for code in codes:
        attempt = Attempt(target="cloud", number=1, code=code, seconds=seconds)
        log.on_receipt(Receipt(id="r", policy="p", attempts=(attempt,)))
    log.close()


def test_healthy_targets(at, capsys):
    """Calls, shares, times; exit code 0."""
    tell(at, *[Code.OK] * 19, Code.TIMEOUT)
    assert main(["health"]) == 0
    out = capsys.readouterr().out
    line = next(line for line in out.splitlines() if line.startswith("cloud"))
    assert line.split()[:7] == ["cloud", "20", "95%", "1.00", "s", "1.00", "s"]
    assert "timeout ok ok ok ok" in line
    assert out.endswith("no findings\n")


def test_a_target_that_fails_is_a_finding(at, capsys):
    """Exit code 1, and the latest codes."""
    tell(at, *[Code.OK] * 4, *[Code.UNAVAILABLE] * 4)
    assert main(["health", "--json"]) == 1
    told = json.loads(capsys.readouterr().out)
    assert told["targets"][0]["share"] == 0.5
    assert told["targets"][0]["latest"] == ["unavailable"] * 4 + ["ok"]
    assert told["targets"][1] == {"target": "away"}
    assert len(told["findings"]) == 1
    assert told["findings"][0].startswith("cloud: 50% of its calls were answered")


def test_a_few_failures_say_nothing_yet(at, capsys):
    """Four calls are no share."""
    tell(at, *[Code.UNAVAILABLE] * 4)
    assert main(["health"]) == 0


def test_a_missing_key_is_a_finding(at, monkeypatch, capsys):
    """By its variable's name."""
    monkeypatch.delenv("CLOUD_KEY")
    assert main(["health"]) == 1
    assert "cloud: CLOUD_KEY is not set" in capsys.readouterr().out


def test_nothing_recorded_is_told(at, capsys):
    """And is no finding."""
    assert main(["health"]) == 0
    assert "no calls are recorded" in capsys.readouterr().err


def test_a_wrong_span_is_a_wrong_command_line(at):
    """Exit code 2."""
    with pytest.raises(SystemExit) as gone:
        main(["health", "--since", "yesterday"])
    assert gone.value.code == 2


@pytest.fixture
def emulated(at, tmp_path):
    """The policy's targets on a loopback emulator."""
    from hybridinfer.drill.emulator import Emulator

    with Emulator() as emulator:
        (at / "hybridinfer.yaml").write_text(POLICY.replace("BASE", emulator.base_url_openai))
        yield emulator


def test_a_probe_asks_each_permitted_target_once(emulated, capsys):
    """One request of a few tokens; a target behind a boundary is left alone, and that is no finding."""
    assert main(["health", "--probe", "--json"]) == 0
    cloud, away = json.loads(capsys.readouterr().out)["targets"]
    assert cloud["probe"]["code"] == "truncated"  # so few tokens are enough to know
    assert cloud["probe"]["seconds"] > 0
    assert away["probe"]["code"] == "not permitted"
    assert len(emulated.requests) == 1


def test_a_probe_that_fails_is_a_finding(emulated, capsys):
    """It is not tried again, and nobody stands in."""
    emulated.outage("*", faults.Status(status=503))
    assert main(["health", "--probe"]) == 1
    out = capsys.readouterr().out
    assert "cloud: the probe ended with unavailable (HTTP 503" in out
    assert len(emulated.requests) == 1


def test_a_probe_is_no_traffic_to_learn_from(emulated, tmp_path, monkeypatch, capsys):
    """No shares are counted and no features are kept, whatever the policy says of its own traffic."""
    monkeypatch.setenv("HYBRIDINFER_STATE", str(tmp_path / "learned"))
    place = tmp_path / "hybridinfer.yaml"
    learns = 'signals: {complexity: {levels: {low: "60%", high: "40%"}}}\nlearning: {store: features}\n'
    place.write_text(place.read_text() + learns)
    assert main(["health", "--probe", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["targets"][0]["probe"]["code"] == "truncated"
    assert not (tmp_path / "learned").exists()
