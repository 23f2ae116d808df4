"""One onnxruntime session of a converted model, and one sequence's key/value cache in it.

Tensors are bound once and updated in place. `Sequence` runs one row, for measuring and as the reference of
`slots.Slots`, which runs many.
"""

from __future__ import annotations

import importlib
import logging
import os
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

from ..errors import ModelError
from .convert import WEIGHTS
from .providers import KNOWN, choose
from .setting import Setting
from .unsealed import Unsealed

if TYPE_CHECKING:
    from collections.abc import Iterator
    from collections.abc import Sequence as Items
    from types import ModuleType

    import numpy as np
    import onnxruntime
    from numpy.typing import NDArray

    from .convert import Conversion

    Logits = NDArray[np.float32]

PREFILL_CHUNK = 128
"""Prompt tokens per run: large enough to cost nothing, small enough to bound memory and cancellation."""
_CAPACITY_STEP = 256
_logger = logging.getLogger("hybridinfer.edge")


class Stopped(Exception):
    """The run was stopped from outside."""


class Stop:
    """Stops a run from another thread, even in the middle of a prefill (within about 20 ms)."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._options: Any = None
        self.requested = False

    def __call__(self) -> None:
        """Stop the run, or let it not begin."""
        with self._lock:
            self.requested = True
            if self._options is not None:
                self._options.terminate = True

    @property
    def options(self) -> Any:
        """The onnxruntime.RunOptions that carries the wish; made by the thread that runs."""
        with self._lock:
            if self._options is None:
                self._options = runtime().RunOptions()
                self._options.terminate = self.requested
            return self._options


class Session:
    """A loaded model: weights, threads and shapes. One run at a time."""

    def __init__(self, conversion: Conversion | Unsealed, *, threads: int, setting: Setting | None = None) -> None:
        """Load and verify at once: weights are hashed while the session is made, and not used before they passed.

        The graph, which the runtime parses, is verified first. Raises `ModelCorrupt` or `ModelError`.
        """
        setting = setting or Setting()
        self.provider = choose(setting.providers, runtime().get_available_providers())
        """What computes, by our name."""
        conversion.check_graph()
        with ThreadPoolExecutor(max_workers=1, thread_name_prefix="verify") as pool:
            verdict = pool.submit(conversion.check_weights)
            try:
                self.onnx, self.provider = _open(conversion, threads, self.provider, spinning=setting.spinning)
            finally:
                verdict.result()  # speaks before any error that a damaged file may have caused above
        shapes = {value.name: value.shape for value in self.onnx.get_inputs()}
        self.past = [name for name in shapes if name.startswith("past_key_values.")]
        self.heads, self.head_size = int(shapes[self.past[0]][1]), int(shapes[self.past[0]][3])
        self.position_bytes = len(self.past) * self.heads * self.head_size * 4
        """What the keys and values of one token take."""
        self.vocabulary = int(self.onnx.get_outputs()[0].shape[-1])
        self.threads = threads

    def run(self, binding: Any, stop: Stop) -> None:
        """Run the model once. Raises `Stopped` once `stop` was called, and `ModelError` where the runtime fails."""
        if stop.requested:
            raise Stopped
        try:
            self.onnx.run_with_iobinding(binding, stop.options)
        except Exception as error:  # the runtime's errors share no base class but this
            if stop.requested:
                raise Stopped from error
            raise ModelError(f"onnxruntime failed: {type(error).__name__}") from error


def chunks(count: int, size: int = PREFILL_CHUNK) -> Iterator[tuple[int, int]]:
    """(start, end) of the runs that a prompt of `count` tokens takes, none of one token unless it is all there is.

    A single token goes through the kernels of decoding, whose last bits differ from those of a longer run; among
    longer runs the length changes no bit. So results depend on no chunk size.
    """
    start = 0
    while start < count:
        end = count if count - start <= size + 1 else start + size
        yield start, end
        start = end


class Sequence:
    """One conversation's keys and values. Not thread-safe.

    `length` is how many positions it holds; set it lower to forget the rest. Memory is taken by the operating
    system only as positions are filled.
    """

    def __init__(self, session: Session) -> None:
        import numpy as np

        self._session = session
        self._binding = session.onnx.io_binding()
        self._capacity = 0
        self._cache: list[NDArray[np.float32]] = []
        self._stepping = False
        self._step: dict[str, NDArray[Any]] = {
            "input_ids": np.zeros((1, 1), np.int64),
            "seqlens_k": np.zeros(1, np.int32),
            "total_seq": np.zeros((), np.int32),
            "logits_idx": np.zeros(1, np.int64),
        }
        self._logits = np.zeros((1, 1, session.vocabulary), np.float32)
        self.length = 0

    def feed(self, tokens: Items[int], stop: Stop) -> Logits:
        """Append `tokens`; returns the logits [vocabulary] after the last one, valid until the next call.

        Raises `Stopped` once `stop` was called.
        """
        import numpy as np

        self.reserve(self.length + len(tokens))
        for start, end in chunks(len(tokens)):
            chunk = tokens[start:end]
            if len(chunk) == 1:
                self._run_step(chunk[0], stop)
            else:
                self._run_chunk(chunk, np.array([len(chunk) - 1], np.int64), self._logits, stop)
        logits: Logits = self._logits[0, 0]
        return logits

    def feed_all(self, tokens: Items[int], stop: Stop) -> Logits:
        """Append `tokens`; returns the logits after each of them, [len(tokens), vocabulary]."""
        import numpy as np

        self.reserve(self.length + len(tokens))
        rows: list[Logits] = []
        for start, end in chunks(len(tokens)):
            chunk = tokens[start:end]
            logits = np.zeros((1, len(chunk), self._session.vocabulary), np.float32)
            self._run_chunk(chunk, np.arange(len(chunk)), logits, stop)
            rows.append(logits[0])
        return np.concatenate(rows)

    def reserve(self, positions: int) -> None:
        """Make room for `positions`, keeping what is there."""
        if positions <= self._capacity:
            return
        import numpy as np

        session, ort = self._session, runtime()
        self._capacity = -(-positions // _CAPACITY_STEP) * _CAPACITY_STEP
        shape = (1, session.heads, self._capacity, session.head_size)
        old, self._cache = self._cache, [np.zeros(shape, np.float32) for _ in session.past]
        for before, after in zip(old, self._cache, strict=False):
            after[:, :, : self.length] = before[:, :, : self.length]
        for name, array in zip(session.past, self._cache, strict=True):
            value = ort.OrtValue.ortvalue_from_numpy(array)  # shares the array's memory
            self._binding.bind_ortvalue_input(name, value)
            self._binding.bind_ortvalue_output(name.replace("past_key_values", "present"), value)

    def _run_step(self, token: int, stop: Stop) -> None:
        if not self._stepping:
            self._bind(self._step, self._logits)
            self._stepping = True
        self._step["input_ids"][0, 0] = token
        self._step["seqlens_k"][0] = self.length
        self._step["total_seq"][...] = self.length + 1
        self._run(1, stop)

    def _run_chunk(self, tokens: Items[int], wanted: NDArray[np.int64], logits: Logits, stop: Stop) -> None:
        import numpy as np

        last = self.length + len(tokens) - 1
        inputs: dict[str, NDArray[Any]] = {
            "input_ids": np.asarray(tokens, np.int64)[None],
            "seqlens_k": np.array([last], np.int32),
            "total_seq": np.array(last + 1, np.int32),
            "logits_idx": wanted,
        }
        self._bind(inputs, logits)
        self._stepping = False
        self._run(len(tokens), stop)

    def _bind(self, inputs: dict[str, NDArray[Any]], logits: Logits) -> None:
        value = runtime().OrtValue.ortvalue_from_numpy
        for name, array in inputs.items():
            self._binding.bind_ortvalue_input(name, value(array))
        self._binding.bind_ortvalue_output("logits", value(logits))

    def _run(self, count: int, stop: Stop) -> None:
        self._session.run(self._binding, stop)
        self.length += count


def runtime() -> ModuleType:
    """The onnxruntime module, imported with its telemetry off.

    Its wheels send telemetry by default, and decide on it at import: afterwards is too late.
    """
    if "onnxruntime" not in sys.modules:
        os.environ["ORT_DISABLE_TELEMETRY"] = "1"
    elif os.environ.get("ORT_DISABLE_TELEMETRY") != "1":
        os.environ["ORT_DISABLE_TELEMETRY"] = "1"
        _logger.warning(
            "onnxruntime was imported with its telemetry on; import it after hybridinfer, or set ORT_DISABLE_TELEMETRY=1"
        )
    return importlib.import_module("onnxruntime")


def _open(
    conversion: Conversion | Unsealed, threads: int, provider: str, *, spinning: bool
) -> tuple[onnxruntime.InferenceSession, str]:
    """The session, and what computes in it: the CPU where `provider` fails to start."""
    ort = runtime()
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 4  # its errors reach us as exceptions
    options.add_session_config_entry("session.prepack.enable_parallel", "1")  # packing weights is most of a load
    if not spinning:
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    graph: str | bytes
    if isinstance(conversion, Unsealed):
        graph, weights = conversion.graph, conversion.weights
        options.add_external_initializers_from_files_in_memory([WEIGHTS], [weights], [len(weights)])
    else:
        graph = os.fspath(conversion.graph)
    for name in dict.fromkeys((provider, "cpu")):
        try:
            session = ort.InferenceSession(graph, options, providers=[KNOWN[name]])
        except Exception as error:  # the runtime's errors share no base class but this
            if name == "cpu":
                raise ModelError(f"onnxruntime cannot open {conversion.name} ({type(error).__name__})") from error
            _logger.warning("%s does not start (%s); the model runs on cpu", name, type(error).__name__)
        else:
            return session, name if KNOWN[name] in session.get_providers() else "cpu"
    raise AssertionError("the cpu answers above")  # pragma: no cover
