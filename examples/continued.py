"""A stream that dies is continued: another target goes on where the first one stopped, and the reader sees one text.

    python examples/continued.py

Runs without network and keys: the cloud is an emulator on this machine whose connection breaks after four pieces.
"""

from hybridinfer import Router
from hybridinfer.drill.emulator import Emulator
from hybridinfer.drill.faults import Cut
from hybridinfer.testing import FakeTarget

QUESTION = "Tell me about the sea."

with Emulator() as emulator:
    policy = {
        "version": 1,
        "targets": {
            "cloud": {"kind": "openai", "model": "gpt-6-luna", "base_url": emulator.base_url_openai, "zone": "network"},
            "local": {"kind": "own", "zone": "device", "continues": True},
        },
        "rules": [{"name": "all", "use": ["cloud", "local"]}],
        "resilience": {"on_interrupt": "continue"},  # or error, restart, buffer: docs/reliability.md
    }
    local = FakeTarget("local", zone="device", continues=True, script=[" ... and from here on this machine goes on."])
    with Router.from_policy(policy, targets={"local": local}, environ={"OPENAI_API_KEY": "any"}) as router:
        emulator.outage("*", Cut(after=4))
        with router.stream(QUESTION) as stream:
            for text in stream.text_stream:
                print(text, end="", flush=True)
        print()

answer = stream.response
print([f"{attempt.target} {attempt.code}" for attempt in answer.receipt.attempts])
print("The draft was handed on:", local.requests[0].messages[-1].text == answer.text.split(" ... ")[0])
