"""Promise 1 over whole routers: canaries in every field, every fault, every path."""

from __future__ import annotations

import pytest

from benchmarks.leak_paths import ROUTERS, controls, run


def check_clean(every: int) -> None:
    found = run(every)
    assert found.leaks == []
    assert found.requests >= len(ROUTERS)
    # Canaries are seen where they may be, masked requests do leave, and their answers come back restored.
    assert list(controls(found)) == []


def test_no_canary_reaches_a_forbidden_place() -> None:
    """A sample of every router: 0 canary bytes at clouds, in logs, receipts, errors and the ledger's files."""
    check_clean(every=499)


@pytest.mark.slow
def test_no_canary_reaches_a_forbidden_place_in_any_combination() -> None:
    """As above, with one in fifty of all 500,000 combinations."""
    check_clean(every=50)
