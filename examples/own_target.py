"""A target of your own: anything that can answer, here a lookup table before the model.

    python examples/own_target.py

In a package of your own, register the factory under the entry-point group `hybridinfer.targets`; then the YAML
names its kind and `targets=` is not needed.
"""

from collections.abc import AsyncIterator

from hybridinfer import Code, Request, Router, TextDelta, Usage
from hybridinfer.targets.base import Finish, TargetEvent, TargetFailed, TargetInfo

POLICY = {
    "version": 1,
    "targets": {
        "facts": {"kind": "own", "zone": "device"},
        "sorry": {"kind": "canned", "text": "I do not know that one."},
    },
    "rules": [{"name": "all", "use": ["facts", "sorry"]}],
}
FACTS = {"what is the capital of australia?": "Canberra."}


class Lookup:
    """Answers what is in the table, and fails with a code for everything else: the next rung takes over."""

    info = TargetInfo(name="facts", kind="own", zone="device")

    async def stream(self, request: Request, *, stream: bool) -> AsyncIterator[TargetEvent]:
        """Text, then one `Finish`; or `TargetFailed`, and nothing else."""
        fact = FACTS.get(request.messages[-1].text.strip().lower())
        if fact is None:
            raise TargetFailed(Code.EMPTY, "not in the table", retry=False)
        yield TextDelta(text=fact)
        yield Finish(finish_reason="stop", usage=Usage())

    def count_tokens(self, request: Request) -> int:
        """Nothing is billed by the token."""
        return 0

    async def warmup(self) -> None:
        """Nothing to load."""

    async def aclose(self) -> None:
        """Nothing to free."""


with Router.from_policy(POLICY, targets={"facts": Lookup()}) as router:
    for question in ("What is the capital of Australia?", "What is the meaning of life?"):
        answer = router.complete(question)
        print(f"{question} {answer.text} ({answer.target}, rung {answer.rung})")
