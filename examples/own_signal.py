"""A signal of your own: it scores, the policy names the levels, and rules test them like any other.

    python examples/own_signal.py

In a package of your own, register the factory under the entry-point group `hybridinfer.signals`; then the YAML
names its kind and `signals=` is not needed.
"""

import re

from hybridinfer import Request, Router
from hybridinfer.signals.base import SignalResult, Standing

POLICY = {
    "version": 1,
    "targets": {
        "team": {"kind": "canned", "text": "A colleague of the support team will write back today."},
        "faq": {"kind": "canned", "text": "Please see our list of frequent questions."},
    },
    "signals": {"anger": {"kind": "own", "levels": {"calm": 0.0, "angry": 0.5}}},
    "rules": [
        {"name": "angry people get people", "when": {"anger": "angry"}, "use": ["team"]},
        {"name": "everybody else", "use": ["faq"]},
    ],
}


class Anger:
    """Counts shouting: capital words and exclamation marks. Pure, fast, and never quotes the text."""

    name = "anger"

    def score(self, request: Request, standing: Standing) -> SignalResult:
        """0 for calm, towards 1 for angry."""
        text = request.messages[-1].text
        shouts = len(re.findall(r"\b[A-Z]{3,}\b|!", text))
        score = shouts / (shouts + 2)
        level = "angry" if score >= 0.5 else "calm"
        return SignalResult(score=score, level=level, because=(f"{shouts} signs of shouting",))


with Router.from_policy(POLICY, signals={"anger": Anger()}) as router:
    for text in ("Where is my parcel?", "WHERE IS MY PARCEL!!"):
        answer = router.complete(text)
        print(f"{text}  {dict(answer.receipt.decision.levels)['anger']} -> {answer.target}: {answer.text}")
