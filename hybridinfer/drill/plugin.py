"""The pytest plugin: an emulator in the place of the clouds, a router factory, outages by name.

```python
def test_the_other_cloud_answers(hybridinfer_router, outage):
    router = hybridinfer_router("policy.yaml")
    outage("strong", 503)
    assert router.complete("Why is the sky blue?", max_tokens=20).target == "fast"
```
It comes with the package (entry point `pytest11`) and imports nothing heavy before a fixture is used.

`pytest --hybridinfer-coverage` says which fallbacks of each policy no test walked; see `hybridinfer.drill.covering`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any, Protocol

import pytest

from .covering import Covering, add_options

if TYPE_CHECKING:
    from pathlib import Path

    from ..policy.model import Policy
    from ..router import Router
    from ..types import Request
    from .aim import Met
    from .cassette import Cassette
    from .emulator import Emulator, Outage
    from .faults import Fault


class Unreachable:
    """Calls end before any server is met: no address (`dns`), or no common TLS (`tls`)."""

    def __init__(self, word: str, times: int | None) -> None:
        self.word = word
        self._left = times

    def end(self) -> None:
        """The server can be reached again."""
        self._left = 0

    def hits(self) -> bool:
        """Whether the next call meets it, which counts as one of `times`."""
        if self._left is None:
            return True
        hit = self._left > 0
        self._left -= hit
        return hit


class Staging:
    """The emulators of one test, one for each cloud target, made when a router needs them."""

    def __init__(self) -> None:
        self.emulators: dict[str, Emulator] = {}
        """By target."""
        self._unreachable: dict[str, list[Unreachable]] = {}
        self._routers: list[Router] = []

    def router(
        self, policy: str | Path | Mapping[str, Any] | Policy, *, targets: Mapping[str, Any] | None = None, **more: Any
    ) -> Router:
        """A router for `policy` whose clouds are emulators; local models answer with a fixed text.

        `targets` are your own doubles, which come first; `more` are the router's other options. Prices, zones and
        boundaries stay those of the policy. Nothing needs a key, nothing leaves this machine.
        """
        from ..policy.load import load
        from ..router import Router

        loaded = load(policy)
        stand_ins = {name: self._stand_in(name, loaded) for name, one in loaded.targets.items() if one.kind != "canned"}
        own = {name: target for name, target in stand_ins.items() if target is not None} | dict(targets or {})
        router = Router(
            loaded, targets=own, **{"environ": {"HYBRIDINFER_LEDGER": "memory:", "HYBRIDINFER_STATE": "off"}, **more}
        )
        self._routers.append(router)
        return router

    def outage(self, target: str, code: int | str | Fault, *, times: int | None = None) -> Outage | Unreachable:
        """Let `target` fail: an HTTP status, a word of the drills (`cut`, `down`, `dns`, `unsure`), or a fault.

        Args:
            target: A cloud target of a router that this test has made; `*`: all of them, the last one's outage returned.
            code: How it fails.
            times: For so many requests; None: until the outage's `end()`, or the test's.

        Raises:
            LookupError: no router of this test has that cloud target, or a cloud cannot fail so.
        """
        from .emulator import EVERYTHING
        from .vocabulary import DOORS

        names = list(self.emulators) if target == EVERYTHING else [target]
        if not names or target not in (*self.emulators, EVERYTHING):
            known = ", ".join(self.emulators) or "none yet: make the router first"
            raise LookupError(f"no emulated target {target!r}; there are {known}")
        if isinstance(code, str) and code in DOORS - {"down"}:  # an emulator closes its port itself
            away = {name: Unreachable(code, times) for name in names}
            for name, one in away.items():
                self._unreachable.setdefault(name, []).append(one)
            return away[names[-1]]
        return [self.emulators[name].outage(EVERYTHING, _fault(code, times), times=times) for name in names][-1]

    def close(self) -> None:
        """Close every router, stop every emulator."""
        for router in self._routers:
            router.close()
        for emulator in self.emulators.values():
            emulator.stop()

    def _stand_in(self, name: str, policy: Policy) -> Any:
        from ..policy.model import REMOTE
        from .doors import Doored
        from .emulated import actor
        from .emulator import Emulator
        from .simulated import healthy

        block = policy.targets[name]
        if block.kind not in REMOTE:
            return actor(name, block, healthy, speed=1000.0)
        if name not in self.emulators:
            self.emulators[name] = Emulator().start_in_thread()
        return Doored(name, block, self.emulators[name], met=partial(self._met, name), speed=1.0)

    def _met(self, name: str, request: Request) -> Met | None:  # noqa: ARG002 - the same for every request
        from .aim import Met
        from .failing import FaultBlock

        away = next((one for one in self._unreachable.get(name, ()) if one.hits()), None)
        return None if away is None else Met(block=FaultBlock.model_validate(away.word), elapsed=0.0)


class MakeOutage(Protocol):
    """What the fixture `outage` gives."""

    def __call__(self, target: str, code: int | str | Fault, *, times: int | None = None) -> Outage | Unreachable:
        """See `Staging.outage`."""
        ...


def pytest_addoption(parser: pytest.Parser) -> None:
    """The options of the fallback coverage."""
    add_options(parser)


def pytest_configure(config: pytest.Config) -> None:
    """Measure where it is asked for."""
    config.addinivalue_line("markers", "hybridinfer_cassette(keep_content=False): how this test's cassette records")
    if config.getoption("hybridinfer_coverage") is not None:
        config.pluginmanager.register(Covering(config), "hybridinfer-coverage")


@pytest.fixture
def hybridinfer_emulator() -> Iterator[Emulator]:
    """A loopback emulator of OpenAI's and Anthropic's APIs, running until the test ends."""
    from .emulator import Emulator

    with Emulator() as emulator:
        yield emulator


@pytest.fixture
def hybridinfer_staging() -> Iterator[Staging]:
    """The emulators behind `hybridinfer_router`, by target: `.emulators["fast"].requests` is what arrived there."""
    staging = Staging()
    yield staging
    staging.close()


@pytest.fixture
def hybridinfer_router(hybridinfer_staging: Staging) -> Callable[..., Router]:
    """`hybridinfer_router(policy, targets=None, **options)`: a router whose clouds are emulators. See `Staging.router`."""
    return hybridinfer_staging.router


@pytest.fixture
def outage(hybridinfer_staging: Staging) -> MakeOutage:
    """`outage(target, code, times=None)`: let a cloud target of this test's router fail. See `Staging.outage`."""
    return hybridinfer_staging.outage


@pytest.fixture
def hybridinfer_cassette(request: pytest.FixtureRequest) -> Iterator[Cassette]:
    """Recorded traffic for this test, in `cassettes/<test's name>.yaml` beside it; HYBRIDINFER_RECORD=1 records.

    Routers that the test makes go through it. `@pytest.mark.hybridinfer_cassette(keep_content=True)` keeps prompts and
    answers, for prompts of your own.
    """
    from .cassette import Cassette

    mark = request.node.get_closest_marker("hybridinfer_cassette")
    name = re.sub(r"[^\w.-]+", "-", request.node.name).strip("-")
    with Cassette(
        request.path.parent / "cassettes" / f"{name}.yaml", **(mark.kwargs if mark else {})
    ).installed() as cassette:
        yield cassette


def _fault(code: int | str | Fault, times: int | None) -> Fault:
    from .failing import FaultBlock
    from .faults import Refuse, ResetConnection, Status
    from .vocabulary import on_the_wire

    if isinstance(code, int):
        return Status(status=code)
    if not isinstance(code, str):
        return code
    fault = on_the_wire(FaultBlock.model_validate(code))
    # A closed socket refuses everybody; one request alone can only be cut off.
    return ResetConnection() if isinstance(fault, Refuse) and times is not None else fault
