"""`pytest --hybridinfer-coverage`: the fallbacks that tests walked, over every router and drill of the run.

    pytest --hybridinfer-coverage                       the share of each policy, and what no test walked
    pytest --hybridinfer-coverage=unit.json             the same into a file, for `hybridinfer drill coverage`
    pytest --hybridinfer-coverage --hybridinfer-coverage-fail-under=60

Routers that are made before pytest is configured (in a conftest's own lines) are not seen. With pytest-xdist each worker
measures, and the controller merges. Imports nothing heavy before a router is made.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from ..observe.hooks import watching

if TYPE_CHECKING:
    from ..policy.model import Policy
    from .walks import Collector, Walk

_OUTPUT = "hybridinfer_coverage"
_NO_FILE = ""


def add_options(parser: pytest.Parser) -> None:
    """Both options, in a group of their own."""
    group = parser.getgroup("hybridinfer")
    group.addoption(
        "--hybridinfer-coverage",
        nargs="?",
        const=_NO_FILE,
        metavar="FILE",
        help="say which fallbacks of each policy were walked, and write them to FILE if it is named",
    )
    group.addoption(
        "--hybridinfer-coverage-fail-under",
        type=float,
        metavar="PERCENT",
        help="fail the run where less of a policy's fallbacks was walked",
    )


class Covering:
    """Collects over a whole run, reports at its end."""

    def __init__(self, config: pytest.Config) -> None:
        self._file = str(config.getoption("hybridinfer_coverage"))
        self._least: float | None = config.getoption("hybridinfer_coverage_fail_under")
        self._is_worker = hasattr(config, "workerinput")
        self._collectors: dict[str, Collector] = {}
        self._from_workers: list[Walk] = []

        watch = ExitStack()
        watch.enter_context(watching(self.of))
        config.add_cleanup(watch.close)

    def of(self, policy: Policy) -> Collector:
        """The hook for a router of this policy."""
        from ..policy.load import digest
        from .walks import Collector

        return self._collectors.setdefault(digest(policy), Collector(policy))

    @pytest.hookimpl(optionalhook=True)
    def pytest_testnodedown(self, node: Any, error: object) -> None:
        """Take over what a worker of pytest-xdist has measured."""
        del error  # a crashed worker reports nothing
        content = getattr(node, "workeroutput", {}).get(_OUTPUT)
        if content is not None:
            from .walks import walks_in

            self._from_workers += walks_in(content)

    @pytest.hookimpl(trylast=True)
    def pytest_sessionfinish(self, session: pytest.Session, exitstatus: int) -> None:
        """Hand over to the controller, or write the file and judge."""
        if not self._collectors and not self._from_workers:
            return
        from .walks import tree, write

        if self._is_worker:
            session.config.workeroutput[_OUTPUT] = tree(self._walks())  # type: ignore[attr-defined] # xdist's own
            return
        if self._file != _NO_FILE:
            write(Path(self._file), self._walks())
        if exitstatus == pytest.ExitCode.OK and any(self._short()):
            session.exitstatus = pytest.ExitCode.TESTS_FAILED

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        """The shares, and what nobody walked."""
        terminalreporter.section("fallback coverage")
        walks = self._walks()
        if not walks:
            terminalreporter.write_line("no test made a router")
            return
        from .walks import lines

        for walk in walks:
            for line in lines(walk):
                terminalreporter.write_line(line)
        if self._file != _NO_FILE:
            terminalreporter.write_line(f"written: {self._file}")
        for walk in self._short():
            share = f"{walk.coverage.share:.0%}, less than {self._least:g}%"
            terminalreporter.write_line(f"FAILED: the fallback coverage of policy {walk.policy!r} is {share}", red=True)

    def _walks(self) -> list[Walk]:
        if not self._collectors and not self._from_workers:
            return []
        from ..policy.space import TooManyCombinations
        from .walks import merge

        own = []
        for collector in self._collectors.values():
            with suppress(TooManyCombinations):  # `policy check` reports such a policy as an error
                own.append(collector.walk())
        return merge([*own, *self._from_workers])

    def _short(self) -> Iterator[Walk]:
        if self._least is not None:
            yield from (walk for walk in self._walks() if walk.coverage.share * 100 < self._least)
