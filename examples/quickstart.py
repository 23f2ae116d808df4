"""Ask two questions; see who answers each of them, and why.

    python examples/quickstart.py

Takes the policy from HYBRIDINFER_POLICY, ./hybridinfer.yaml or ./policies/default.yaml.
"""

from hybridinfer import Router

QUESTIONS = ("What is the capital of Australia?", "My card is 4111 1111 1111 1111. Is the number valid?")

with Router() as router:
    for question in QUESTIONS:
        answer = router.complete(question, max_tokens=80)
        decision = answer.receipt.decision
        print(f"Q: {question}")
        print(f"A: {answer.text.strip()}")
        print(f"   {answer.target} ({answer.zone}), rung {answer.rung}, ${answer.cost_usd}")
        print(f"   rule {decision.rule}, levels {dict(decision.levels)}")
        for removal in decision.removed:
            print(f"   not {removal.target}: {removal.because}")
