"""The scanner: all readings, all families, and closed whenever something goes wrong."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from hybridinfer.privacy.detectors import Own, Scanner, scan
from hybridinfer.privacy.detectors.view import View
from hybridinfer.privacy.finding import Finding

CARD = "4111 1111 1111 1111"


def broken(view: View) -> list[Finding]:
    raise RuntimeError("a detector's bug")


class Ticking:
    """A clock that moves on with every look."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        self.now += 1.0
        return self.now


def test_a_detector_that_raises_is_a_finding_over_everything() -> None:
    """Silence of a broken detector must not read as clean."""
    (finding,) = Scanner(families=[("broken", broken)]).scan("hello")
    assert (finding.type, finding.start, finding.end, finding.detector) == ("unscanned", 0, 5, "broken")


def test_time_that_runs_out_is_a_finding_over_everything() -> None:
    """What was not looked at counts as a hit."""
    (finding,) = Scanner(seconds=0.5, now=Ticking()).scan("hello")
    assert (finding.type, finding.validator) == ("unscanned", "out of time")


def test_one_clock_is_shared_by_the_texts_of_a_request() -> None:
    """Many small texts cannot take more time than one."""
    scanner = Scanner(seconds=3.5, now=Ticking(), families=[("none", lambda view: ())])
    clock = scanner.clock()
    assert [scanner.scan("a", clock=clock) != () for _ in range(4)] == [False, False, False, True]


def test_own_lists_are_one_more_family() -> None:
    """Terms of the policy are found like everything else."""
    (finding,) = Scanner(own=Own(terms=["Project Falcon"])).scan("about project falcon.")
    assert (finding.type, finding.start, finding.end) == ("own_term", 6, 20)


def test_as_json_reads_escapes_as_the_model_will() -> None:
    """An address written with escapes is found, at the place of its escapes."""
    text = r'{"to": "jo\u0040corp.io\n"}'
    (finding,) = scan(text, as_json=True)
    assert text[finding.start : finding.end] == r"jo\u0040corp.io"


def test_placeholders_of_masking_are_never_findings() -> None:
    """A masked text is clean, whatever word stands before the placeholder."""
    assert scan("password: [PASSWORD_1_abcd], passport [PASSPORT_12b_abcd], 12 [ADDRESS_1_abcd] Street") == ()


@given(st.text(max_size=300))
def test_findings_are_ordered_disjoint_and_inside_the_text(text: str) -> None:
    """Any text: spans rise, never overlap, and lie within it."""
    findings = scan(text)
    edges = [edge for finding in findings for edge in (finding.start, finding.end)]
    assert edges == sorted(edges)
    assert all(0 <= f.start < f.end <= len(text) for f in findings)
    assert "unscanned" not in {f.type for f in findings}
