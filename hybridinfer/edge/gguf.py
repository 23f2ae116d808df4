"""A GGUF file: its metadata and its tensors, read through a memory map.

Format: https://github.com/ggml-org/ggml/blob/master/docs/gguf.md, versions 2 and 3, little-endian.
The `gguf` package needs seconds for a vocabulary; this reader needs a tenth of one. The package's own
dequantisation is used for the weights.
"""

from __future__ import annotations

import math
import mmap
import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

from ..errors import ModelError
from . import nibbles

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    import numpy as np
    from numpy.typing import NDArray

    Floats = NDArray[np.float32]

_SCALARS = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "?", 10: "Q", 11: "q", 12: "d"}
_STRING, _ARRAY = 8, 9
_LENGTH = struct.Struct("<Q")
_MAX_NESTING = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class TensorInfo:
    """Where one tensor lies. `shape` is row-major (GGUF stores it reversed); `offset` counts from the file's start."""

    name: str
    shape: tuple[int, ...]
    ggml_type: int
    offset: int


class GgufFile:
    """An open GGUF file. `metadata` maps keys to plain Python values; `tensors` maps names to their places.

    A context manager. Raises `ModelError` where the file is not a GGUF file or ends too early; a read
    never leaves the map.
    """

    def __init__(self, path: Path, data: bytes | None = None) -> None:
        """Open `path`; or read `data`, which came from there and may hold the header only."""
        self.path = path
        self._map = _mapped(path) if data is None else data
        header = _Header(self._map)
        try:
            self.metadata, self.tensors = header.read()
        except (struct.error, IndexError, KeyError, ValueError, MemoryError) as error:
            self.close()
            raise ModelError(f"{path.name} is not a readable GGUF file ({error}); fetch it again") from error
        self._end = header.end

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Unmap the file. Metadata stays readable."""
        if isinstance(self._map, mmap.mmap):
            self._map.close()

    @property
    def header(self) -> bytes:
        """The bytes before the weights: metadata, vocabulary and chat template."""
        return self._map[: self._end]

    @property
    def architecture(self) -> str:
        """`general.architecture`, such as llama or qwen2."""
        return str(self.metadata.get("general.architecture", ""))

    def hyper(self, key: str, default: Any = None) -> Any:
        """A hyper-parameter of the architecture: `hyper("block_count")` reads `llama.block_count`.

        Raises `ModelError` where the key is absent and no default is given.
        """
        value = self.metadata.get(f"{self.architecture}.{key}", default)
        if value is None:
            raise ModelError(f"{self.path.name} lacks {self.architecture}.{key}; use a complete GGUF file")
        return value

    def floats(self, name: str) -> Floats:
        """The tensor `name` dequantised to float32, in its row-major shape. Raises `ModelError` where it cannot be."""
        import numpy as np
        from gguf import GGML_QUANT_SIZES, GGMLQuantizationType, dequantize

        info = self._info(name)
        try:
            kind = GGMLQuantizationType(info.ggml_type)
            block, size = GGML_QUANT_SIZES[kind]
            rows = self._raw(info, info.shape[-1] // block * size)
            return np.ascontiguousarray(dequantize(rows, kind).reshape(info.shape), dtype=np.float32)
        except (ValueError, KeyError, RuntimeError) as error:  # the last: a kind that gguf cannot unpack
            raise ModelError(f"{self.path.name}: the tensor {name} cannot be read ({error})") from error

    def nibbles(self, name: str) -> nibbles.Nibbles | None:
        """The tensor `name` as its 4-bit blocks; None where it is stored in another way. Raises as `floats` does."""
        info = self._info(name)
        if info.ggml_type not in nibbles.KINDS:
            return None
        try:
            return nibbles.unpack(self._raw(info, nibbles.bytes_of(info.ggml_type, info.shape[-1])), info.ggml_type)
        except ValueError as error:
            raise ModelError(f"{self.path.name}: the tensor {name} cannot be read ({error})") from error

    def _info(self, name: str) -> TensorInfo:
        if name not in self.tensors:
            raise ModelError(f"{self.path.name} lacks the tensor {name}; use a complete GGUF file")
        return self.tensors[name]

    def _raw(self, info: TensorInfo, size: int) -> NDArray[np.uint8]:
        """A copy of the bytes of a tensor whose rows take `size` bytes. Raises `ValueError`."""
        import numpy as np

        raw = np.frombuffer(self._map, np.uint8, math.prod(info.shape[:-1]) * size, info.offset)
        return raw.reshape(*info.shape[:-1], size).copy()


def _mapped(path: Path) -> mmap.mmap:
    with path.open("rb") as file:
        try:
            return mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        except ValueError:
            raise ModelError(f"{path.name} is empty; fetch it again") from None


class _Header:
    """One pass over the part of the file before the weights."""

    def __init__(self, data: mmap.mmap | bytes) -> None:
        self._data = data
        self._at = 0

    @property
    def end(self) -> int:
        """How far it was read."""
        return self._at

    def read(self) -> tuple[Mapping[str, Any], Mapping[str, TensorInfo]]:
        if self._data[:4] != b"GGUF":
            raise ValueError("no GGUF signature")
        self._at = 4
        version, tensor_count, pair_count = self._take("<IQQ")
        if version not in (2, 3):
            raise ValueError(f"version {version}")
        metadata: dict[str, Any] = {}
        for _ in range(pair_count):
            key = self._string()
            metadata[key] = self._value(self._take("<I")[0])
        places = [self._tensor() for _ in range(tensor_count)]
        alignment = int(metadata.get("general.alignment", 32))
        start = -(-self._at // alignment) * alignment
        return metadata, {
            name: TensorInfo(name=name, shape=shape, ggml_type=kind, offset=start + offset)
            for name, shape, kind, offset in places
        }

    def _take(self, form: str) -> tuple[Any, ...]:
        values = struct.unpack_from(form, self._data, self._at)
        self._at += struct.calcsize(form)
        return values

    def _string(self) -> str:
        (length,) = self._take("<Q")
        end = self._at + length
        if end > len(self._data):
            raise ValueError("a text goes beyond the file's end")
        text = self._data[self._at : end].decode("utf-8", "surrogateescape")
        self._at = end
        return text

    def _value(self, kind: int, depth: int = 0) -> Any:
        if kind == _STRING:
            return self._string()
        if kind != _ARRAY:
            return self._take("<" + _SCALARS[kind])[0]
        if depth == _MAX_NESTING:
            raise ValueError("lists nested too deeply")
        item, count = self._take("<IQ")
        if count > len(self._data) - self._at:
            raise ValueError("a list goes beyond the file's end")
        if item in _SCALARS:
            return list(self._take(f"<{count}{_SCALARS[item]}"))
        if item == _STRING:
            return self._strings(count)
        return [self._value(item, depth + 1) for _ in range(count)]

    def _strings(self, count: int) -> list[str]:
        # A vocabulary has 300,000 texts: this loop is the whole cost of reading a header.
        data, at, end, length_at = self._data, self._at, len(self._data), _LENGTH.unpack_from
        texts: list[str] = []
        for _ in range(count):
            start = at + 8
            at = start + length_at(data, at)[0]
            if at > end:
                raise ValueError("a text goes beyond the file's end")
            texts.append(data[start:at].decode("utf-8", "surrogateescape"))
        self._at = at
        return texts

    def _tensor(self) -> tuple[str, tuple[int, ...], int, int]:
        name = self._string()
        (dimensions,) = self._take("<I")
        shape = self._take(f"<{dimensions}Q")
        kind, offset = self._take("<IQ")
        return name, tuple(reversed(shape)), kind, offset
