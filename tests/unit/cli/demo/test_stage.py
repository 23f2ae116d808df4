"""What the demo changes in a policy, and what it leaves alone."""

from __future__ import annotations

from decimal import Decimal

import pytest

from hybridinfer.budget.prices import PriceBook
from hybridinfer.cli.demo.stage import SMALLER, Stage, list_price
from hybridinfer.edge.store import Store
from hybridinfer.errors import ModelNotFound
from hybridinfer.policy.load import loads

POLICY = loads("""
version: 1
targets:
  local:  {kind: onnx, model: qwen2.5-coder-0.5b, options: {threads: 1}}
  ours:   {kind: openai, model: mine, base_url: "http://10.0.0.1/v1", zone: network}
  fast:   {kind: anthropic, model: claude-haiku-5-5}
  strong: {kind: openai, model: gpt-6-luna, api_key: "${env:OTHER_KEY}"}
  odd:    {kind: openai, model: nobody-knows-this-model}
rules: [{name: all, use: [local, ours, fast, strong, odd]}]
""")
URLS = {"openai": "http://127.0.0.1:1/v1", "anthropic": "http://127.0.0.1:1"}


def test_clouds_are_told_by_their_zone():
    """A server of one's own is no cloud."""
    stage = Stage(policy=POLICY, environ={})
    assert stage.clouds == ("fast", "strong", "odd")
    assert stage.locals == ("local",)


def test_a_key_may_have_a_name_of_its_own():
    """The policy says where a target's key is; the vendor's variable counts otherwise."""
    assert Stage(policy=POLICY, environ={"OPENAI_API_KEY": "k", "OTHER_KEY": "k"}).without_key() == ("fast",)
    assert Stage(policy=POLICY, environ={"ANTHROPIC_API_KEY": "k"}).without_key() == ("strong", "odd")


def test_the_emulator_takes_the_place_of_a_cloud_and_keeps_its_price():
    """Address and key change, the price stays that of the model it stands for, others are not touched."""
    stage = Stage(policy=POLICY, environ={}).emulate(("fast", "strong"), URLS)
    fast = stage.policy.targets["fast"]
    assert fast.base_url == URLS["anthropic"]
    assert fast.price == list_price(POLICY, "fast")
    assert stage.environ.keys() == {"ANTHROPIC_API_KEY", "OTHER_KEY"}
    assert stage.policy.targets["odd"] == POLICY.targets["odd"]
    assert PriceBook(stage.policy).worst_case("fast", input_tokens=1000, max_tokens=1000) > Decimal(0)


def test_a_model_that_nobody_prices_stays_unpriced():
    """No price is invented."""
    assert list_price(POLICY, "odd") is None
    assert Stage(policy=POLICY, environ={}).emulate(("odd",), URLS).policy.targets["odd"].price is None


def test_clouds_down_is_a_closed_port():
    """Every cloud, and only clouds, leads to an address where nobody listens."""
    stage = Stage(policy=POLICY, environ={}).clouds_down()
    assert all(stage.policy.targets[name].base_url.startswith("http://127.0.0.1:") for name in stage.clouds)
    assert stage.policy.targets["ours"] == POLICY.targets["ours"]


def test_a_damaged_model_keeps_its_pin(tmp_path):
    """The file is another, the hash that it must have is the model's own, other options stay."""
    block = Stage(policy=POLICY, environ={}).models_damaged(tmp_path).policy.targets["local"]
    assert block.model == str(tmp_path / "local.gguf")
    assert len(block.options["sha256"]) == 64
    assert block.options["threads"] == 1


def test_a_model_that_is_there_changes_nothing(tmp_path):
    """Pulled is pulled."""
    stage = Stage(policy=POLICY, environ={})
    assert stage.with_models(Store(tmp_path, {}), lambda *_: None) == stage


@pytest.mark.parametrize(("smaller_works", "notes"), [(True, "takes its place"), (False, "without a model")])
def test_a_smaller_model_takes_its_place(tmp_path, smaller_works, notes):
    """When the policy's model cannot be had the smaller one is tried, and either way the reader is told."""

    def pull(_, model):
        if model.id != SMALLER or not smaller_works:
            raise ModelNotFound(f"{model.id} cannot be fetched")

    stage = Stage(policy=POLICY, environ={}).with_models(Store(tmp_path, {}), pull)
    assert notes in stage.notes[-1]
    assert stage.policy.targets["local"].model == (SMALLER if smaller_works else "qwen2.5-coder-0.5b")
    assert bool(stage.problems) is not smaller_works
