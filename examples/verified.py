"""Answer, then verify: a cheap target answers, a check decides whether that counts, the next rung waits behind it.

    python examples/verified.py

Runs without network and keys: both targets are doubles. With real ones the policy is the same (docs/verify.md).
"""

from hybridinfer import Router
from hybridinfer.testing import FakeTarget

POLICY = {
    "version": 1,
    "targets": {
        "cheap": {"kind": "own", "zone": "device"},
        "dear": {"kind": "own", "zone": "device"},
        "sorry": {"kind": "canned", "text": "I do not know."},
    },
    "rules": [{"name": "all", "use": [{"target": "cheap", "accept": {"samples": 3}}, "dear", "sorry"]}],
}
SAYS = {
    "What is 6 times 7?": ["42", "42"],  # the same twice: a third sample could change nothing
    "How many bones has a cat?": ["206", "244", "about 230"],
}

for question, samples in SAYS.items():
    cheap = FakeTarget("cheap", zone="device", script=samples)
    dear = FakeTarget("dear", zone="device", script=["About 250, depending on its tail."])
    with Router.from_policy(POLICY, targets={"cheap": cheap, "dear": dear}) as router:
        answer = router.complete(question)
    print(f"{question} {answer.text} ({answer.target}, rung {answer.rung})")
    for attempt in answer.receipt.attempts:
        print(f"   {attempt.target} {attempt.code} {attempt.because}")
