"""Decision records: what stands in a line, who may read it, how the file turns over."""

from __future__ import annotations

import json
import stat
from decimal import Decimal

import pytest

from hybridinfer.observe.records import RecordFile, read
from hybridinfer.receipt import Attempt, Code, Decision, Receipt

RECEIPT = Receipt(
    id="req_1",
    policy="p",
    policy_digest="abc",
    decision=Decision(
        rule="all",
        levels={"privacy": "public"},
        scores={"privacy": 0.1},
        because={"privacy": ("a word",)},
        ladder=("cloud",),
        plan=("cloud",),
    ),
    attempts=(
        Attempt(target="cloud", number=1, code=Code.UNAVAILABLE, because="said the vendor", seconds=0.5),
        Attempt(
            target="cloud",
            number=2,
            code=Code.OK,
            seconds=1.5,
            first_token_seconds=0.4,
            input_tokens=7,
            output_tokens=3,
            cost_usd=Decimal("0.01"),
        ),
    ),
    target="cloud",
    zone="cloud",
    rung=1,
    seconds=2.0,
    tags={"team": "a", "user": "jane@example.com"},
)


def test_a_record_comes_back_as_it_was(tmp_path):
    """Levels, scores, outcomes, times, tokens and money."""
    RecordFile(tmp_path / "d", clock=lambda: 100.0).on_receipt(RECEIPT)
    (record,) = read(tmp_path / "d")
    assert record is not None
    assert (record.at, record.seconds, record.levels, record.scores) == (
        100,
        2,
        {"privacy": "public"},
        {"privacy": 0.1},
    )
    assert (record.target, record.zone, record.degraded, record.cost_usd) == ("cloud", "cloud", False, Decimal("0.01"))
    assert [(one.code, one.seconds, one.first, one.input_tokens, one.output_tokens) for one in record.attempts] == [
        (Code.UNAVAILABLE, 0.5, None, 0, 0),
        (Code.OK, 1.5, 0.4, 7, 3),
    ]


def test_no_free_text_is_recorded_and_tags_can_be_chosen(tmp_path):
    """Not even the reasons, which vendors write; and a tag that names a person stays out."""
    RecordFile(tmp_path / "d", tags=["team"]).on_receipt(RECEIPT)
    line = (tmp_path / "d").read_text()
    assert "said the vendor" not in line
    assert "a word" not in line
    assert json.loads(line)["tags"] == {"team": "a"}


def test_only_the_owner_may_read_it(tmp_path):
    """Whatever the process's umask is."""
    RecordFile(tmp_path / "d").on_receipt(RECEIPT)
    assert stat.S_IMODE((tmp_path / "d").stat().st_mode) == 0o600


@pytest.mark.parametrize(("keep", "files"), [(0, {"d"}), (2, {"d", "d.1", "d.2"})])
def test_a_full_file_turns_over(tmp_path, keep, files):
    """The oldest generation goes; the newest record is in the file itself."""
    clock = iter(range(5))
    hook = RecordFile(tmp_path / "d", max_bytes=10, keep=keep, clock=lambda: next(clock))
    for _ in range(5):
        hook.on_receipt(RECEIPT)
    assert {file.name for file in tmp_path.iterdir()} == files
    newest = {file.name: [record.at for record in read(file)] for file in tmp_path.iterdir()}
    assert newest == dict(zip(sorted(files), ([4], [3], [2]), strict=False))


def test_a_file_that_another_process_turned_over_is_left_alone(tmp_path, monkeypatch):
    """The line goes to the new file."""
    hook = RecordFile(tmp_path / "d")
    hook.on_receipt(RECEIPT)
    answers = iter([False, True])
    monkeypatch.setattr(hook, "_is_current", lambda _file: next(answers))
    hook.on_receipt(RECEIPT)
    assert len(list(read(tmp_path / "d"))) == 2


def test_lines_that_are_no_records_are_told_apart(tmp_path):
    """A crash may cut the last line."""
    RecordFile(tmp_path / "d").on_receipt(RECEIPT)
    whole = (tmp_path / "d").read_text()
    (tmp_path / "d").write_text(whole + "{}\n[]\n" + whole[:40])
    assert [record is None for record in read(tmp_path / "d")] == [False, True, True, True]
