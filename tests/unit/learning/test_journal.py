"""Features and labels: what is kept, what is not, and what comes back."""

from __future__ import annotations

import os
import sqlite3
import threading

import pytest

from hybridinfer.errors import ConfigurationError
from hybridinfer.learning.journal import Journal, read
from hybridinfer.signals.features import NAMES, features

VALUES = features("Solve x^2 = 4 for x.")


@pytest.fixture
def journal(tmp_path):
    book = Journal(tmp_path / "state" / "learning.sqlite3", keep=100.0, clock=lambda: 1000.0)
    yield book
    book.close()


def rows(journal):
    journal.close()
    return list(read(journal.path))


def test_a_verdict_is_kept_beside_the_features(journal):
    """What was remembered comes back with its label, whose answer it was, and who judged."""
    journal.remember("r1", VALUES, side="local")
    assert journal.label("r1", 0.5).result() is True
    (row,) = rows(journal)
    assert (row.id, row.at, row.local, row.cloud, row.sources) == ("r1", 1000.0, 0.5, None, {"feedback"})
    assert row.features == pytest.approx(VALUES)


def test_missing_features_stay_missing(journal):
    """None is not a number."""
    journal.remember("r1", [None] * len(NAMES), side="cloud")
    journal.label("r1", 1.0)
    (row,) = rows(journal)
    assert set(row.features) == {None}
    assert row.cloud == 1.0


def test_an_unknown_request_takes_no_verdict(journal):
    """Nothing is kept of it."""
    assert journal.label("r9", 1.0).result() is False
    assert rows(journal) == []


def test_a_second_verdict_replaces_the_first(journal):
    """People change their minds."""
    journal.remember("r1", VALUES, side="local")
    journal.label("r1", 1.0)
    journal.label("r1", 0.0)
    (row,) = rows(journal)
    assert row.local == 0.0


def test_feedback_counts_before_what_was_noticed(journal):
    """An escalated answer that the program finds good was good."""
    journal.remember("r1", VALUES, side="local", bad=[("local", "escalated"), ("local", "schema")])
    journal.label("r1", 1.0)
    journal.remember("r2", VALUES, side=None, bad=[("local", "escalated")])
    first, second = rows(journal)
    assert (first.local, second.local) == (1.0, 0.0)
    assert first.sources == {"feedback", "schema", "escalated"}


def test_requests_without_a_label_are_no_lesson(journal):
    """They do not come back."""
    journal.remember("r1", VALUES, side="local")
    assert rows(journal) == []


def test_the_file_is_its_users_alone(journal):
    """Mode 600, in a folder of mode 700."""
    journal.remember("r1", VALUES, side="local")
    journal.close()
    assert journal.path.stat().st_mode & 0o777 == 0o600
    assert journal.path.parent.stat().st_mode & 0o777 == 0o700


def test_no_text_is_in_the_file(journal):
    """The bytes of the file hold no word of the prompt."""
    journal.remember("r1", features("Zanzibar marmalade kangaroo"), side="local")
    journal.close()
    raw = journal.path.read_bytes().lower()
    assert not any(word in raw for word in (b"zanzibar", b"marmalade", b"kangaroo"))


def test_old_rows_are_forgotten(tmp_path):
    """After `keep` seconds, at the next writing of a later router."""
    old = Journal(tmp_path / "a.sqlite3", keep=100.0, clock=lambda: 1000.0)
    old.remember("r1", VALUES, side="local", bad=[("local", "schema")])
    old.close()
    new = Journal(tmp_path / "a.sqlite3", keep=100.0, clock=lambda: 1200.0)
    new.remember("r2", VALUES, side="local", bad=[("local", "schema")])
    assert [row.id for row in rows(new)] == ["r2"]


def test_it_goes_on_after_closing_and_after_a_fork(journal, monkeypatch):
    """The thread is made anew; a parent's thread is never waited for."""
    journal.remember("r1", VALUES, side="local", bad=[("local", "schema")])
    journal.label("r1", 1.0).result()
    parent, old = os.getpid(), journal._thread
    monkeypatch.setattr(os, "getpid", lambda: parent + 1)
    journal.label("r1", 0.5).result()
    assert [row.local for row in rows(journal)] == [0.5]
    old.shutdown()


def test_a_failed_writing_is_logged_and_costs_nothing(tmp_path, caplog):
    """The request was answered long ago."""
    (tmp_path / "state").write_text("a file where the folder should be")
    journal = Journal(tmp_path / "state" / "a.sqlite3", keep=1.0)
    journal.remember("r1", VALUES, side="local")
    journal.close()
    assert "features were not kept" in caplog.text


def test_no_file_is_no_lesson(tmp_path):
    """Nothing was learned from yet."""
    assert list(read(tmp_path / "none.sqlite3")) == []


def test_another_file_is_refused(tmp_path):
    """With a message that names it."""
    (tmp_path / "other.sqlite3").write_text("not a database, but long enough to be looked at as one" * 20)
    with pytest.raises(ConfigurationError, match=r"other\.sqlite3 cannot be read"):
        list(read(tmp_path / "other.sqlite3"))


def test_rows_with_other_features_are_left_out(journal):
    """After a release that sees other features, old rows are no use."""
    journal.remember("r1", VALUES, side="local", bad=[("local", "schema")])
    journal.close()
    with sqlite3.connect(journal.path) as db:
        db.execute("UPDATE requests SET kind = 1")
    db.close()
    assert list(read(journal.path)) == []


def test_what_is_queued_is_written_together(journal, monkeypatch):
    """A burst opens the file a few times, not once for each row; whoever gave up is left out."""
    opened, go = [], threading.Event()
    real = journal._written
    monkeypatch.setattr(journal, "_written", lambda works: (go.wait(5), opened.append(len(works)), real(works))[-1])
    for number in range(50):
        journal.remember(f"r{number}", VALUES, side="local")
    given_up, kept = journal.label("r1", 0.5), journal.label("r2", 0.5)
    assert given_up.cancel()
    go.set()
    assert kept.result(5)
    assert sum(opened) == 51
    assert len(opened) <= 2
    assert [(row.id, row.local) for row in rows(journal)] == [("r2", 0.5)]


def test_a_journal_that_cannot_be_written_says_so(tmp_path, caplog):
    """Once for each row that is lost, without content; a label raises."""
    (tmp_path / "file").write_text("in the way")
    journal = Journal(tmp_path / "file" / "learning.sqlite3", keep=100.0)
    journal.remember("r", VALUES, side="local")
    with pytest.raises(OSError, match="file"):
        journal.label("r", 1.0).result(5)
    journal.close()
    assert "features were not kept (" in caplog.text
