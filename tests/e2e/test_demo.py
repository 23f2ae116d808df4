"""`hybridinfer demo`, whole: real signals, real HTTP to the emulator, a real (tiny) model in this process."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from hybridinfer.cli import main
from hybridinfer.cli.demo.prompt import load_prompts, shipped_prompts
from tests import tiny

POLICY = """
version: 1
name: small stage
targets:
  local:  {{kind: onnx, model: {model}}}
  fast:   {{kind: anthropic, model: claude-haiku-5-5}}
  strong: {{kind: openai, model: gpt-6-luna}}
  sorry:  {{kind: canned, text: "Please try again."}}
boundaries: [{boundaries}]
rules:
  - {{name: private, when: {{privacy: [personal, secret]}}, use: [local, strong, sorry]}}
  - {{name: cloud, use: [strong, fast, local, sorry]}}
resilience: {{retry: {{attempts: 2, backoff: 1ms}}}}
"""
STAYS = "{name: stays, when: {privacy: [personal, secret]}, cloud: never}"
PROMPTS = """
- {name: greeting, prompt: hello}
- {name: proof, prompt: Prove it.}
- {name: card number, prompt: my card is 4111 1111 1111 1111, private: ["4111 1111 1111 1111"]}
"""


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    """A tiny model's file."""
    return tiny.write(tmp_path_factory.mktemp("model") / "tiny.gguf")


@pytest.fixture(autouse=True)
def _own_cache(monkeypatch, tmp_path):
    monkeypatch.setenv("HYBRIDINFER_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("HYBRIDINFER_OFFLINE", "1")
    monkeypatch.delenv("COLUMNS", raising=False)


@pytest.fixture
def demo(tmp_path, capsys):
    """Run the demo; return its exit code, what `--json` printed, and what it told people."""

    def demo(policy, *options, prompts=PROMPTS):
        (tmp_path / "policy.yaml").write_text(policy)
        (tmp_path / "prompts.yaml").write_text(prompts)
        files = ["--policy", str(tmp_path / "policy.yaml"), "--prompts", str(tmp_path / "prompts.yaml")]
        code = main(["demo", "--json", "--max-tokens", "4", *files, *options])
        out, err = capsys.readouterr()
        return code, json.loads(out), " ".join(err.split())

    return demo


def test_the_whole_show(demo, model):
    """Clouds by the emulator, the private prompt by the model here; every rung of the ladder in the outages."""
    code, told, talk = demo(POLICY.format(model=model, boundaries=STAYS))
    assert code == 0
    assert [item["target"] for item in told["prompts"]] == ["strong", "strong", "local"]
    assert [item["target"] for item in told["outage"]] == ["local", "local", "local", "sorry", "sorry", "sorry"]
    assert [item["degraded"] for item in told["outage"]] == [True, True, False, True, True, True]
    assert {attempt["code"] for item in told["outage"][3:] for attempt in item["attempts"][:-1]} == {"unavailable"}
    assert told["totals"]["private"] == 1
    assert told["totals"]["private_that_left"] == []
    assert told["totals"]["requests_received"] == 2
    assert told["totals"]["cost_usd"] > 0
    assert "NOT the real cloud" in talk
    assert "strong (emulator)" in talk
    assert "left this machine: 0" in talk


def test_what_leaves_is_counted(demo, model):
    """Without a boundary the private prompt leaves when the local model is gone, and the demo says so and fails."""
    policy = POLICY.format(model=model, boundaries="").replace("use: [local, strong, sorry]", "use: [strong, sorry]")
    code, told, talk = demo(policy)
    assert code == 1
    assert told["totals"]["private_that_left"] == ["card number"]
    assert "left this machine: 1: card number" in talk


def test_without_a_model_the_other_rungs_answer(demo):
    """Offline and with an empty cache, the demo says what is missing and goes on."""
    code, told, talk = demo(POLICY.format(model="smollm2-135m", boundaries=STAYS))
    assert code == 0
    assert "HYBRIDINFER_OFFLINE" in talk
    assert "without a model" in talk
    assert [item["target"] for item in told["prompts"]] == ["strong", "strong", "sorry"]


def test_the_emulator_may_play_clouds_that_have_a_key(demo, model, monkeypatch):
    """--emulate never calls a real cloud, whatever keys are set."""
    monkeypatch.setenv("OPENAI_API_KEY", "sk-real")
    monkeypatch.setenv("ANTHROPIC_API_KEY", "sk-real")
    code, told, talk = demo(POLICY.format(model=model, boundaries=STAYS), "--emulate")
    assert code == 0
    assert told["totals"]["requests_received"] == 2
    assert "as --emulate says" in talk


def test_in_a_pipe_there_are_plain_lines(model, tmp_path, capsys):
    """No colours, no spinners, no cursor movements where nobody looks at a terminal."""
    (tmp_path / "policy.yaml").write_text(POLICY.format(model=model, boundaries=STAYS))
    (tmp_path / "prompts.yaml").write_text(PROMPTS)
    files = ["--policy", str(tmp_path / "policy.yaml"), "--prompts", str(tmp_path / "prompts.yaml")]
    assert main(["demo", "--max-tokens", "4", *files]) == 0
    out, err = capsys.readouterr()
    assert "\x1b" not in out
    assert err == ""
    assert all(len(line) <= 80 for line in out.splitlines())
    assert "Act 1: 3 prompts" in out.splitlines()


def test_the_shipped_prompts_are_about_twenty_and_varied():
    """What the demo promises in its help."""
    prompts = load_prompts(shipped_prompts())
    assert 18 <= len(prompts) <= 24
    assert sum(bool(prompt.private) for prompt in prompts) >= 4
    assert all(text in prompt.prompt for prompt in prompts for text in prompt.private[:1])
    assert any("长城" in prompt.prompt for prompt in prompts)
    assert max(len(prompt.prompt) for prompt in prompts) > 2000


def test_the_shipped_default_lets_nothing_private_leave(capsys):
    """The shipped policy and the shipped prompts, without a local model: nothing private leaves, masked or not."""
    assert main(["demo", "--json", "--emulate"]) == 0
    totals = json.loads(capsys.readouterr().out)["totals"]
    assert totals["answered"] == totals["prompts"]
    assert totals["private_that_left"] == []
    assert totals["requests_received"] > 0


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("just text", "is not a list"),
        ("- {prompt: no name}", "is not a list"),
        ("- {name: a, prompt: [", "is not a list"),
    ],
)
def test_prompts_of_the_wrong_shape(text, message, tmp_path, capsys):
    """A file of one's own that is wrong is told in one line."""
    file = tmp_path / "prompts.yaml"
    file.write_text(text)
    assert main(["demo", "--prompts", str(file)]) == 1
    assert message in capsys.readouterr().err


def test_prompts_that_are_not_there(capsys):
    """A missing file is told by its name."""
    assert main(["demo", "--prompts", str(Path("/nonexistent.yaml"))]) == 1
    assert capsys.readouterr().err.startswith("hybridinfer: cannot read /nonexistent.yaml")
