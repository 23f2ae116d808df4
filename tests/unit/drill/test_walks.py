"""Fallback coverage on disk, and merged over runs."""

from __future__ import annotations

import json

import pytest

from hybridinfer.drill.coverage import Coverage, Edge, possible, walked
from hybridinfer.drill.walks import Walk, lines, merge, read, tree, write
from hybridinfer.errors import ConfigurationError
from hybridinfer.policy.load import loads
from hybridinfer.receipt import Attempt, Code, Decision, Receipt

A, B, C = (Edge("strong", code, "fast") for code in (Code.EMPTY, Code.TIMEOUT, Code.UNAVAILABLE))


def walk(*walked, digest="0123", possible=(A, B, C)):
    """A run of the policy `default`."""
    return Walk(
        policy="default",
        digest=digest,
        coverage=Coverage(possible=frozenset(possible), walked=frozenset(walked)),
    )


def test_runs_of_one_policy_add_up():
    """What one of them walked is walked."""
    (both,) = merge([walk(A), walk(B)])
    assert both.coverage.missed == [C]


def test_another_policy_stands_for_itself():
    """Edges of a policy that changed are other edges."""
    assert [one.digest for one in merge([walk(A), walk(B, digest="4567"), walk(C)])] == ["0123", "4567"]


def test_a_file_gives_back_what_was_written(tmp_path):
    """Written, read, equal; and the same run gives the same file."""
    file = tmp_path / "a.json"
    write(file, [walk(A, B), walk(digest="4567")])
    assert read(file) == [walk(A, B), walk(digest="4567")]
    assert json.loads(file.read_text()) == tree([walk(B, A), walk(digest="4567")])


@pytest.mark.parametrize("text", ["", "{}", "[]", '{"version": 2, "policies": []}', '{"version": 1, "policies": [{}]}'])
def test_other_files_are_refused(tmp_path, text):
    """The message says where such a file comes from."""
    file = tmp_path / "a.json"
    file.write_text(text)
    with pytest.raises(ConfigurationError, match="is no coverage file; make one with"):
        read(file)


def test_a_missing_file_is_told(tmp_path):
    """With the reason."""
    with pytest.raises(ConfigurationError, match="cannot read"):
        read(tmp_path / "none.json")


def test_the_table_names_what_was_missed():
    """One line for each pair of targets."""
    head, table = lines(walk(A))
    assert head == "fallback coverage of policy 'default' (0123): 33%, 1 of 3 edges walked"
    assert table.splitlines()[-1].split(maxsplit=2) == ["strong", "fast", "timeout, unavailable"]


def test_nothing_missed_needs_no_table():
    """All walked: the share says it."""
    assert list(lines(walk(A, B, C))) == [
        "fallback coverage of policy 'default' (0123): 100%, 3 of 3 edges walked",
    ]


CHECKED = """
version: 1
targets:
  small: {kind: onnx, model: m}
  second: {kind: onnx, model: n}
  large: {kind: onnx, model: o}
rules: [{name: all, use: [{target: small, accept: {agree_with: second}}, large]}]
"""


def test_an_answer_that_fails_its_check_is_an_edge():
    """`unsure` is among the codes of a target whose answers are checked, and of no other."""
    edges = possible(loads(CHECKED))
    assert Edge("small", Code.UNSURE, "large") in edges
    assert Edge("small", Code.UNSURE, "large") not in possible(
        loads(CHECKED.replace("{target: small, accept: {agree_with: second}}", "small"))
    )


def test_who_only_checks_is_not_on_the_way():
    """small was unsure, second was asked to confirm, large answered: the edge leads from small to large."""
    ends = [("small", Code.UNSURE), ("second", Code.OK), ("large", Code.OK)]
    receipt = Receipt(
        id="r",
        policy="p",
        decision=Decision(rule="all", levels={}, ladder=("small", "large"), plan=("small", "large")),
        attempts=tuple(Attempt(target=target, number=1, code=code) for target, code in ends),
    )
    assert list(walked(receipt)) == [Edge("small", Code.UNSURE, "large")]
