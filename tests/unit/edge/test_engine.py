"""The engine's thread: bounded, and never silent. What happens in a batch: test_batch.py."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from hybridinfer.edge.engine import Engine, Item, Loaded, Task
from hybridinfer.edge.generate import Done, GenerationFailed, Piece, Prompt
from hybridinfer.edge.session import Session
from hybridinfer.edge.template import TemplateRefused
from hybridinfer.edge.vocabulary import Vocabulary
from hybridinfer.errors import ModelCorrupt, ModelError
from hybridinfer.receipt import Code

WAIT = 300.0


@pytest.fixture
def loaded(tiny_session: Session, tiny_gguf: Path) -> Loaded:
    return Loaded(session=tiny_session, vocabulary=Vocabulary.of(tiny_gguf))


@pytest.fixture
def engine(loaded: Loaded) -> Iterator[Engine]:
    engine = Engine(lambda: loaded, name="tiny", waiting=2, rows=1)
    yield engine
    engine.close(WAIT)


class Caller:
    """A task that collects what it is told; `gate` holds its preparation back."""

    def __init__(self, *, prepare: Callable[[Vocabulary], Prompt] | None = None, max_tokens: int = 3) -> None:
        self.items: queue.Queue[Item] = queue.Queue()
        self.begun, self.gate = threading.Event(), threading.Event()
        self.gate.set()

        def default(vocabulary: Vocabulary) -> Prompt:
            self.begun.set()
            assert self.gate.wait(WAIT)
            return Prompt(tokens=tuple(vocabulary.tokenizer.encode("hello")), max_tokens=max_tokens, context=400)

        self.task = Task(prepare=prepare or default, emit=self.items.put)

    def result(self) -> Item:
        """The last item: Done or an exception."""
        while isinstance(item := self.items.get(timeout=WAIT), Piece):
            pass
        return item


def held(engine: Engine) -> Caller:
    """A caller whose task is running and waits."""
    caller = Caller()
    caller.gate.clear()
    engine.submit(caller.task)
    assert caller.begun.wait(WAIT)
    return caller


def test_tasks_are_served_in_the_order_they_came(engine: Engine) -> None:
    """Where there is one slot: the second begins when the first has ended."""
    order: list[int] = []
    first = held(engine)
    others = [Caller(), Caller()]
    for number, caller in enumerate(others):
        caller.task = Task(
            prepare=caller.task.prepare, emit=lambda item, n=number, c=caller: (order.append(n), c.items.put(item))
        )
        engine.submit(caller.task)
    assert not others[0].begun.is_set()
    first.gate.set()
    assert all(isinstance(caller.result(), Done) for caller in (first, *others))
    assert order == sorted(order)


def test_a_full_queue_refuses(engine: Engine) -> None:
    """Two may wait here; the third is told at once. A cancelled one takes no place."""
    first, second, third = held(engine), Caller(), Caller()
    engine.submit(second.task)
    engine.submit(third.task)
    with pytest.raises(GenerationFailed) as caught:
        engine.submit(Caller().task)
    assert caught.value.code is Code.SATURATED
    second.task.cancel()
    fourth = Caller()
    engine.submit(fourth.task)
    first.gate.set()
    assert isinstance(fourth.result(), Done)
    assert second.items.empty()


def test_cancelling_what_runs_frees_the_engine(engine: Engine) -> None:
    """A long answer ends within a token, and the next one begins."""
    long, after = Caller(max_tokens=390), Caller()
    engine.submit(long.task)
    assert isinstance(long.items.get(timeout=WAIT), Piece)
    long.task.cancel()
    engine.submit(after.task)
    ended = long.result()
    assert isinstance(after.result(), Done)
    assert isinstance(ended, Done) or (isinstance(ended, GenerationFailed) and ended.code is Code.CANCELLED)


@pytest.mark.parametrize(
    ("fault", "told"),
    [
        (GenerationFailed(Code.CONTEXT_TOO_LONG, "x"), GenerationFailed),
        (TemplateRefused("x"), TemplateRefused),
        (ModelError("x"), ModelError),
        (ZeroDivisionError("private"), GenerationFailed),
    ],
)
def test_a_fault_ends_one_task_only(
    engine: Engine, caplog: pytest.LogCaptureFixture, fault: Exception, told: type[Exception]
) -> None:
    """The caller is told, and the next task is served. An unexpected fault tells no content."""

    def prepare(_: Vocabulary) -> Prompt:
        raise fault

    broken, after = Caller(prepare=prepare), Caller()
    engine.submit(broken.task)
    engine.submit(after.task)
    result = broken.result()
    assert isinstance(result, told)
    assert "private" not in str(result)
    assert isinstance(after.result(), Done)


@pytest.mark.parametrize("fault", [ModelCorrupt("damaged"), MemoryError("large")])
def test_a_model_that_cannot_be_loaded_tells_everybody(caplog: pytest.LogCaptureFixture, fault: Exception) -> None:
    """All who wait are told, and the engine is dead, so that another may try."""
    gate = threading.Event()

    def load() -> Loaded:
        assert gate.wait(WAIT)
        raise fault

    engine, callers = Engine(load, name="tiny"), [Caller(), Caller()]
    for caller in callers:
        engine.submit(caller.task)
    gate.set()
    assert all(isinstance(caller.result(), ModelError) for caller in callers)
    engine.close(WAIT)
    assert engine.dead


def test_closing_stops_what_runs_and_refuses_what_waits(loaded: Loaded) -> None:
    """Nobody is left waiting, and later tasks are refused."""
    engine = Engine(lambda: loaded, name="tiny")
    running, waiting = Caller(max_tokens=390), Caller()
    engine.submit(running.task)
    assert isinstance(running.items.get(timeout=WAIT), Piece)
    engine.submit(waiting.task)
    engine.close(WAIT)
    assert isinstance(waiting.result(), (Done, GenerationFailed))
    with pytest.raises(GenerationFailed, match="closed"):
        engine.submit(Caller().task)


def test_closing_an_idle_engine_is_quiet(loaded: Loaded) -> None:
    """An engine that never ran has no thread to wait for."""
    engine = Engine(lambda: loaded, name="tiny")
    engine.close()
    assert engine.dead
    with pytest.raises(GenerationFailed, match="closed"):
        engine.submit(Caller().task)


@pytest.mark.parametrize("fault", [ModelError("onnxruntime failed: X"), ZeroDivisionError("private")])
def test_a_runtime_that_fails_ends_everybody_and_the_engine(
    loaded: Loaded, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, fault: Exception
) -> None:
    """Nobody is left waiting; the next request gets a new engine."""
    engine = Engine(lambda: loaded, name="tiny", rows=2)
    monkeypatch.setattr("hybridinfer.edge.slots.Slots.step", lambda *_: (_ for _ in ()).throw(fault))
    callers = [Caller() for _ in range(4)]
    for caller in callers:
        engine.submit(caller.task)
    results = [caller.result() for caller in callers]
    engine.close(WAIT)
    assert all(isinstance(result, ModelError) for result in results)
    assert "private" not in str(results[0])
    assert engine.dead


def test_many_threads_are_answered_alike(loaded: Loaded) -> None:
    """Callers on threads of their own, some of whom go away: who stays gets the same answer."""
    engine = Engine(lambda: loaded, name="tiny", waiting=64)
    callers = [Caller(max_tokens=12) for _ in range(24)]

    def use(number: int) -> None:
        engine.submit(callers[number].task)
        if number % 3 == 0:
            callers[number].task.cancel()

    threads = [threading.Thread(target=use, args=(number,)) for number in range(24)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    results = [callers[number].result() for number in range(24) if number % 3]
    engine.close(WAIT)
    assert len(set(results)) == 1
    assert isinstance(results[0], Done)
    assert not engine._open
