"""Each boundary of each shipped policy is held by a test of that policy: without it, one of them fails."""

from __future__ import annotations

import pytest

from hybridinfer.cli.policy import scorer
from hybridinfer.drill.rehearsal import rehearsal
from hybridinfer.policy.cases import run_cases
from hybridinfer.policy.load import load, shipped, shipped_names

BOUNDARIES = [(name, boundary.name) for name in shipped_names() for boundary in load(shipped(name)).boundaries]


@pytest.mark.parametrize(("name", "boundary"), BOUNDARIES)
def test_without_the_boundary_a_test_fails(name, boundary):
    """The policy's own tests see that the boundary is gone."""
    policy = load(shipped(name))
    weaker = policy.model_copy(
        update={"boundaries": tuple(each for each in policy.boundaries if each.name != boundary)}
    )
    assert any(not case.passed for case in run_cases(weaker, run=rehearsal(weaker), score=scorer(policy)))
