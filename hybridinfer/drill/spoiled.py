"""A real local model of a drill (`--real-local`), broken for real: another file, a load that fails, a runtime that does.

Each call that meets a fault gets an engine of its own, so that calls which meet none go on; all of them share the one
model in memory. What a model never does by itself (a broken connection, a guess on command) has to be played.
"""

from __future__ import annotations

import math
import threading
import time
from collections.abc import AsyncIterator, Callable
from contextlib import aclosing
from functools import partial
from typing import TYPE_CHECKING, Any, cast

from ..edge.engine import Loaded
from ..edge.pool import Pool, load
from ..edge.session import Session, Stop, Stopped
from ..edge.store import Store
from ..errors import ModelError
from ..targets.base import TargetContext, TargetEvent, TargetInfo
from ..targets.onnx import OnnxTarget

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    import numpy as np
    from numpy.typing import NDArray

    from ..edge.catalogue import Model
    from ..policy.model import TargetBlock
    from ..types import Request
    from .aim import Met

FOR_REAL = frozenset(
    {
        "ok",
        "down",
        "hang",
        "stall",
        "slow",
        "slow_first_token",
        "slow_tokens",
        "empty",
        "context_too_long",
        "model_missing",
        "checksum_wrong",
        "out_of_memory",
        "slow_load",
        "nan_logits",
    }
)
"""What can be done to a real model; the other words need the played one."""
_GLANCE = 0.01
"""Seconds between two looks whether a stuck run shall stop."""


class Spoiled:
    """`Target` for one local model of a drill; `met` says what a call meets, and times are divided by `speed`."""

    def __init__(self, name: str, block: TargetBlock, *, met: Callable[[Request], Met | None], speed: float) -> None:
        self._block = block
        self._context = TargetContext(name=name, environ={})
        self._met = met
        self._speed = speed
        self._stock = _Stock()
        self._usual = OnnxTarget(block, self._context, pool=Pool(self._stock))
        self.info: TargetInfo = self._usual.info
        self.received: list[Request] = []

    async def stream(self, request: Request, *, stream: bool) -> AsyncIterator[TargetEvent]:
        """The real model's answer, or what the fault makes of it."""
        self.received.append(request)
        met = self._met(request)
        gone = threading.Event()
        called = self._usual if met is None else self._broken(met, gone)
        try:
            events = cast("AsyncGenerator[TargetEvent, None]", called.stream(request, stream=stream))
            async with aclosing(events):
                async for event in events:
                    yield event
        finally:
            gone.set()
            if called is not self._usual:
                await called.aclose()

    def count_tokens(self, request: Request) -> int:
        """The real model's."""
        return self._usual.count_tokens(request)

    async def warmup(self) -> None:
        """Load the real model. Raises `TargetFailed` where it is not here, or damaged."""
        await self._usual.warmup()

    async def aclose(self) -> None:
        """Free it."""
        await self._usual.aclose()

    def _broken(self, met: Met, gone: threading.Event) -> OnnxTarget:
        """The adapter for one call, with a block or a loader that breaks it. `gone`: nobody waits any more."""
        block, loader = self._block, self._stock
        delay = met.block.delay / self._speed
        match met.block.fault:
            case "model_missing":
                return self._with(block.model_copy(update={"model": "/removed-by-the-drill/model.gguf"}), None)
            case "checksum_wrong":  # the same file, pinned to another hash than its own
                path = str(self._stock.place)
                pinned = {"model": path, "options": block.options | {"sha256": "0" * 64}}
                return self._with(block.model_copy(update=pinned), None)
            case "context_too_long":
                return self._with(block.model_copy(update={"context_window": 1}), loader)
            case "out_of_memory":
                return self._with(block, _refuse)
            case "slow_load":
                left = max(delay - met.elapsed / self._speed, 0.0)
                return self._with(block, partial(_late, loader, gone, left))
            case word:
                after = met.block.after if word == "stall" else 0
                return self._with(block, lambda *args, **how: _spoil(loader(*args, **how), word, delay, after))

    def _with(self, block: TargetBlock, loader: Callable[..., Loaded] | None) -> OnnxTarget:
        return OnnxTarget(block, self._context, pool=Pool(loader))


class _Stock:
    """Loads a model once, for every engine that asks."""

    def __init__(self) -> None:
        self.place: Any = ""
        """The model's file, once it was asked for."""
        self._lock = threading.Lock()
        self._loaded: Loaded | None = None

    def __call__(self, model: Model, store: Store, **how: Any) -> Loaded:
        """As `pool.load`."""
        with self._lock:
            self.place = store.file(model).absolute()
            self._loaded = self._loaded or load(model, store, **how)
            return self._loaded


def _late(loader: Callable[..., Loaded], gone: threading.Event, seconds: float, /, *args: Any, **how: Any) -> Loaded:
    if gone.wait(seconds):
        raise ModelError("nobody waits for the model any more")
    return loader(*args, **how)


def _refuse(*_: object, **__: object) -> Loaded:
    """What the system says where there is no memory left."""
    raise MemoryError("the drill demands it")


def _spoil(loaded: Loaded, word: str, delay: float, after: int) -> Loaded:
    ends = sorted(loaded.vocabulary.tokenizer.end_ids)
    return Loaded(session=_Spoiled(loaded.session, word, delay, after, ends), vocabulary=loaded.vocabulary)


class _Spoiled(Session):
    """A session in memory whose runs fail, hang, take their time or compute nonsense."""

    def __init__(self, real: Session, word: str, delay: float, after: int, ends: list[int]) -> None:
        self.__dict__.update(real.__dict__)
        self._word, self._delay, self._after, self._ends = word, delay, after, ends
        self._given = 0
        """Runs that gave a token."""

    def run(self, binding: Any, stop: Stop) -> None:
        """One run, spoiled."""
        match self._word:
            case "down":
                raise ModelError("onnxruntime failed: the drill demands it")
            case "hang" | "stall" if self._given >= self._after:
                _idle(stop, math.inf)
            case "slow" | "slow_first_token" if not self._given:
                _idle(stop, self._delay)
            case "slow_tokens" if self._given:
                _idle(stop, self._delay)
            case _:
                pass
        super().run(binding, stop)
        logits = next(one for one in binding.get_outputs() if one.shape()[-1] == self.vocabulary)
        self._given += bool(logits.shape()[1])
        if self._word in {"nan_logits", "empty"} and logits.shape()[1]:
            logits.update_inplace(self._nonsense(logits.shape()))

    def _nonsense(self, shape: list[int]) -> NDArray[np.float32]:
        import numpy as np

        if self._word == "nan_logits":
            return np.full(shape, np.nan, np.float32)
        ended = np.full(shape, -np.inf, np.float32)
        ended[..., self._ends] = 0.0
        return ended


def _idle(stop: Stop, seconds: float) -> None:
    """Be stuck for so long. Raises `Stopped` once it shall stop."""
    until = time.monotonic() + seconds
    while (left := until - time.monotonic()) > 0:
        if stop.requested:
            raise Stopped
        time.sleep(min(left, _GLANCE))
