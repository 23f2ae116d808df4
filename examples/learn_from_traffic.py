"""Record made-up traffic, choose the levels by it, and learn: here the small model adds well and writes badly."""

import asyncio
import os
import random
import sys
import tempfile
from contextlib import redirect_stderr
from pathlib import Path

from hybridinfer import AsyncRouter
from hybridinfer.cli import main
from hybridinfer.observe.records import RecordFile
from hybridinfer.testing import FakeTarget

POLICY = """
version: 1
targets: {small: {kind: onnx, model: any}, cloud: {kind: openai, model: any, price: {input: 1, output: 4}}}
signals: {complexity: {levels: {low: 85%, high: 15%}, options: {weights: shipped}}}
rules: [{name: easy, when: {complexity: low}, use: [small, cloud]}, {name: hard, use: [cloud, small]}]
learning: {store: features}
"""
DICE = random.Random(1)  # noqa: S311 - no secret


def question() -> tuple[str, bool]:
    """A prompt, and whether the small model's answer to it will do."""
    if DICE.random() < 0.5:
        return "Add " + " + ".join(str(DICE.randrange(1000)) for _ in range(DICE.randrange(2, 9))), DICE.random() < 0.95
    return f"Write lines about {' '.join(['rain', 'love'] * DICE.randrange(1, 6))}", DICE.random() < 0.3


async def serve(policy: Path, count: int, *, records: Path | None = None) -> None:
    """Ask so many questions, say how good the answers were, and print how it went. The cloud's answers are good."""
    targets = {"small": FakeTarget("small", zone="device"), "cloud": FakeTarget("cloud")}
    clouds = goods = 0
    async with AsyncRouter(policy, targets=targets, hooks=[RecordFile(records)] if records else []) as router:
        for prompt, will_do in (question() for _ in range(count)):
            receipt = (await router.complete(prompt)).receipt
            clouds += receipt.zone == "cloud"
            goods += (good := receipt.zone == "cloud" or will_do)
            if records:
                await router.feedback(receipt.id, accepted=good)
    print(f"   {clouds / count:.0%} went to the cloud, {goods / count:.0%} of the answers were good")


with tempfile.TemporaryDirectory() as folder, redirect_stderr(sys.stdout):
    os.environ["HYBRIDINFER_STATE"] = folder
    policy, records = Path(folder) / "policy.yaml", Path(folder) / "decisions.jsonl"
    policy.write_text(POLICY)
    print("1. The policy as it is, with feedback")
    asyncio.run(serve(policy, 500, records=records))
    print("2. hybridinfer calibrate: a third of this traffic shall go to the cloud")
    main(["calibrate", "--policy", str(policy), "--traffic", str(records), "--cloud-share", "33%", "--write"])
    asyncio.run(serve(policy, 300))
    print("3. hybridinfer learn: what the feedback says of the score")
    main(["learn", "--cloud-share", "33%"])
    policy.write_text(policy.read_text().replace("weights: shipped", "weights: learned"))
    asyncio.run(serve(policy, 300))
