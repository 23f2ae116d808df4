"""What computes: the first that is there, else the CPU, and never in silence."""

from __future__ import annotations

import logging

import pytest

from hybridinfer.edge import session as sessions
from hybridinfer.edge.convert import Conversion
from hybridinfer.edge.providers import KNOWN, choose, here, known
from hybridinfer.edge.session import Session, runtime
from hybridinfer.edge.setting import Setting

CPU = ["AzureExecutionProvider", "CPUExecutionProvider"]


def test_the_first_that_is_here_is_taken(caplog: pytest.LogCaptureFixture) -> None:
    """In the order of the policy."""
    assert choose(("cuda", "coreml", "cpu"), ["CUDAExecutionProvider", *CPU]) == "cuda"
    assert choose(("cpu", "cuda"), ["CUDAExecutionProvider", *CPU]) == "cpu"
    assert not caplog.records


@pytest.mark.parametrize("wanted", [("cuda", "coreml", "cpu"), ("cuda",)])
def test_the_cpu_stands_in_with_one_line(wanted: tuple[str, ...], caplog: pytest.LogCaptureFixture) -> None:
    """Named or not."""
    assert choose(wanted, CPU) == "cpu"
    assert [record.getMessage() for record in caplog.records] == ["this onnxruntime has no cuda; the model runs on cpu"]


def test_an_unknown_name_is_refused_with_the_nearest() -> None:
    """A typo never means the CPU in silence."""
    assert known("cuda") == "cuda"
    with pytest.raises(ValueError, match="did you mean cuda"):
        known("cudo")
    with pytest.raises(ValueError, match="known are cpu"):
        known("xyzzy")


def test_what_is_here_is_told_by_our_names() -> None:
    """onnxruntime's own list, in our words."""
    assert here(CPU) == ["cpu"]
    assert "cpu" in here(runtime().get_available_providers())
    assert len(set(KNOWN.values())) == len(KNOWN)


def test_one_that_does_not_start_gives_way_to_the_cpu(
    tiny_conversion: Conversion, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """onnxruntime was built with it, but the driver is missing."""
    real = runtime().InferenceSession

    def opened(graph, options, *, providers):
        if providers != ["CPUExecutionProvider"]:
            raise RuntimeError("no driver")
        return real(graph, options, providers=providers)

    monkeypatch.setattr(runtime(), "InferenceSession", opened)
    monkeypatch.setattr(sessions, "choose", lambda *_: "cuda")
    with caplog.at_level(logging.WARNING):
        session = Session(tiny_conversion, threads=1, setting=Setting(providers=("cuda",)))
    assert session.provider == "cpu"
    assert "cuda does not start (RuntimeError)" in caplog.text


def test_one_that_onnxruntime_drops_is_not_named(tiny_conversion: Conversion, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its Python package falls back by itself; what is said is what runs."""
    real = runtime().InferenceSession
    monkeypatch.setattr(
        runtime(),
        "InferenceSession",
        lambda graph, options, **_: real(graph, options, providers=["CPUExecutionProvider"]),
    )
    monkeypatch.setattr(sessions, "choose", lambda *_: "cuda")
    assert Session(tiny_conversion, threads=1, setting=Setting(spinning=False)).provider == "cpu"
