"""Record traffic, choose the levels by it, say how good the answers were, and learn from that: on made-up traffic.

    python examples/learn_from_traffic.py

The small model of this story adds numbers well and writes badly; the shipped score expects the opposite. Everything
happens in a temporary folder; nobody is called.
"""

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
targets:
  small: {kind: onnx, model: any}
  cloud: {kind: openai, model: any, price: {input: 1, output: 4}}
signals:
  complexity: {levels: {low: 85%, high: 15%}, options: {weights: shipped}}
rules:
  - {name: easy, when: {complexity: low}, use: [small, cloud]}
  - {name: hard, use: [cloud, small]}
learning: {store: features}
"""
DICE = random.Random(1)  # noqa: S311 - no secret


def question() -> tuple[str, bool]:
    """A prompt, and whether the small model's answer to it will do."""
    if DICE.random() < 0.5:
        sums = " + ".join(str(DICE.randrange(1000)) for _ in range(DICE.randrange(2, 9)))
        return f"Add {sums}", DICE.random() < 0.95
    words = " ".join(DICE.choice(["rain", "song", "tired", "city", "about"]) for _ in range(DICE.randrange(3, 12)))
    return f"Write me some lines about {words}", DICE.random() < 0.3


async def serve(policy: Path, count: int, *, records: Path | None = None, feedback: bool = False) -> None:
    """Ask so many questions, and print how it went. The cloud's answers are good."""
    targets = {
        "small": FakeTarget("small", zone="device", script=["..."]),
        "cloud": FakeTarget("cloud", script=["..."]),
    }
    async with AsyncRouter(policy, targets=targets, hooks=[RecordFile(records)] if records else []) as router:

        async def ask() -> tuple[bool, bool]:
            prompt, will_do = question()
            receipt = (await router.complete(prompt)).receipt
            good = receipt.zone == "cloud" or will_do
            if feedback:
                await router.feedback(receipt.id, accepted=good)
            return receipt.zone == "cloud", good

        went, good = zip(*await asyncio.gather(*(ask() for _ in range(count))), strict=True)
    print(f"   {sum(went) / count:.0%} went to the cloud, {sum(good) / count:.0%} of the answers were good")


with tempfile.TemporaryDirectory() as folder, redirect_stderr(sys.stdout):
    os.environ["HYBRIDINFER_STATE"] = folder
    policy, records = Path(folder) / "policy.yaml", Path(folder) / "decisions.jsonl"
    policy.write_text(POLICY)

    print("1. The policy as it is, with feedback")
    asyncio.run(serve(policy, 500, records=records, feedback=True))

    print("2. hybridinfer calibrate: a third of this traffic shall go to the cloud")
    main(["calibrate", "--policy", str(policy), "--traffic", str(records), "--cloud-share", "33%", "--write"])
    asyncio.run(serve(policy, 300))

    print("3. hybridinfer learn: what the feedback says of the score")
    main(["learn", "--cloud-share", "33%"])
    policy.write_text(policy.read_text().replace("weights: shipped", "weights: learned"))
    asyncio.run(serve(policy, 300))
