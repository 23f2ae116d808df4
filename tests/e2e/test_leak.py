"""Promise 1 over whole routers: canaries in every field, every fault, every path."""

from __future__ import annotations

import pytest

from benchmarks.leak_paths import PATHS, run


def check_clean(every: int) -> None:
    found = run(every)
    assert found.leaks == []
    assert found.requests >= len(PATHS)
    # The controls: canaries are seen where they may go, and masked requests do leave.
    assert found.seen_here > found.requests / 4
    assert found.sent > 0


def test_no_canary_reaches_a_forbidden_place() -> None:
    """A sample of every path: 0 canary bytes at clouds, in logs, receipts, errors and the ledger's files."""
    check_clean(every=211)


@pytest.mark.slow
def test_no_canary_reaches_a_forbidden_place_in_any_combination() -> None:
    """As above, with one in ten of all 80,000 combinations."""
    check_clean(every=10)
