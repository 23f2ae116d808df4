"""The decoder as an ONNX graph of onnxruntime's fused operators, built from a GGUF file's weights.

Inputs: `input_ids` int64 [B, S]; `seqlens_k` int32 [B] (keys of each row after this step, less one);
`total_seq` int32 []; `logits_idx` int64 [R] (positions of S whose logits are wanted); and for each layer
`past_key_values.N.key|value` float32 [B, kv_heads, capacity, head_size]. Outputs: `logits` float32
[B, R, vocabulary] and `present.N.key|value`, which share the buffers of the past ones.

Operators: https://github.com/microsoft/onnxruntime/blob/main/docs/ContribOperators.md
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, BinaryIO

from .hyper import Hyper
from .nibbles import BLOCK
from .precision import Precision
from .quantize import block_size, quantize, stored

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import numpy as np
    import onnx
    from numpy.typing import NDArray

    from .gguf import GgufFile
    from .precision import Grain
    from .quantize import Quantized

    Tick = Callable[[int, int], None]
    """Told (done, total) in weights converted."""

_MS = "com.microsoft"
_EMBEDDING_BLOCK = 32
_ALIGN = 4096  # a page: the runtime maps each tensor straight from the file
_INLINE_BYTES = 1024
_SCALE_BLOCKS = {"accuracy_level": 4}  # int8 dot products; any other level is 20 times slower


def build(
    gguf: GgufFile, weights: BinaryIO, location: str, tick: Tick, precision: Precision | None = None
) -> onnx.ModelProto:
    """The graph of `gguf`; its large tensors are written to `weights`, which the graph knows as `location`.

    One tensor is held in memory at a time. Raises `ModelError` for models this engine would run wrongly.
    """
    return _Decoder(gguf, _Tensors(weights, location), tick, precision or Precision()).build()


class _Tensors:
    """The graph's constants: small ones inside the graph, large ones in the data file."""

    def __init__(self, file: BinaryIO, location: str) -> None:
        self._file = file
        self._location = location
        self.protos: list[onnx.TensorProto] = []

    def add(self, name: str, array: NDArray[Any]) -> str:
        import numpy as np
        from onnx import TensorProto, helper, numpy_helper

        if array.nbytes < _INLINE_BYTES:
            self.protos.append(numpy_helper.from_array(array, name))
            return name
        offset = self._file.tell()
        offset += self._file.write(bytes(-offset % _ALIGN))
        self._file.write(np.ascontiguousarray(array).data.cast("B"))
        proto = TensorProto(
            name=name,
            dims=array.shape,
            data_type=helper.np_dtype_to_tensor_dtype(array.dtype),
            data_location=TensorProto.EXTERNAL,
        )
        for key, value in (("location", self._location), ("offset", offset), ("length", array.nbytes)):
            proto.external_data.add(key=key, value=str(value))
        self.protos.append(proto)
        return name


class _Decoder:
    """Builds node by node, in the order of the computation."""

    def __init__(self, gguf: GgufFile, tensors: _Tensors, tick: Tick, precision: Precision) -> None:
        self._gguf = gguf
        self._hyper = Hyper.of(gguf)
        self._tensors = tensors
        self._tick = tick
        self._nodes: list[onnx.NodeProto] = []
        self._total = sum(_size(info.shape) for info in gguf.tensors.values())
        self._done = 0
        hyper = self._hyper
        self._precision = precision
        self._summed: dict[str, str] = {}
        self._columns = [hyper.width, hyper.inner, hyper.heads * hyper.head_size]

    def build(self) -> onnx.ModelProto:
        from onnx import helper

        hyper = self._hyper
        rotary = [
            self._tensors.add(f"{name}_cache", half)
            for name, half in zip(("cos", "sin"), hyper.rotary(self._gguf), strict=True)
        ]
        stream = self._embedding()
        normed = self._op(
            "SimplifiedLayerNormalization",
            [stream, self._norm("blk.0.attn_norm.weight")],
            ["normed.0"],
            axis=-1,
            epsilon=hyper.epsilon,
            stash_type=1,
        )
        for layer in range(hyper.layers):
            stream, normed = self._layer(layer, stream, normed, rotary)
        rows = self._op("Gather", [normed, "logits_idx"], ["rows"], axis=1)
        head = "output.weight" if "output.weight" in self._gguf.tensors else "token_embd.weight"
        self._project(rows, [head], "logits", self._precision.head)
        inputs, outputs = self._signature()
        graph = helper.make_graph(self._nodes, "decoder", inputs, outputs, self._tensors.protos)
        opsets = [helper.make_opsetid("", 21), helper.make_opsetid(_MS, 1)]
        return helper.make_model(graph, opset_imports=opsets, ir_version=10, producer_name="hybridinfer")

    def _layer(self, layer: int, stream: str, normed: str, rotary: list[str]) -> tuple[str, str]:
        hyper, block, precision = self._hyper, f"blk.{layer}.", self._precision
        queries = hyper.unpermute(hyper.heads) if hyper.permuted else None
        keys = hyper.unpermute(hyper.kv_heads) if hyper.permuted else None
        names = [f"{block}attn_{letter}" for letter in "qkv"]
        qkv = self._project(
            normed,
            [f"{name}.weight" for name in names],
            f"qkv.{layer}",
            precision.attention,
            orders=(queries, keys, None),
            biases=[f"{name}.bias" for name in names] if f"{names[0]}.bias" in self._gguf.tensors else (),
        )
        past = [f"past_key_values.{layer}.{part}" for part in ("key", "value")]
        present = [f"present.{layer}.{part}" for part in ("key", "value")]
        attended = self._op(
            "GroupQueryAttention",
            [qkv, "", "", *past, "seqlens_k", "total_seq", *rotary],
            [f"attended.{layer}", *present],
            domain=_MS,
            num_heads=hyper.heads,
            kv_num_heads=hyper.kv_heads,
            do_rotary=1,
            rotary_interleaved=0,
            scale=hyper.head_size**-0.5,
        )
        mixed = self._project(attended, [f"{block}attn_output.weight"], f"mixed.{layer}", precision.attention)
        middle, stream = self._add_and_norm(stream, mixed, f"{block}ffn_norm.weight", f"middle.{layer}")
        gate = self._project(middle, [f"{block}ffn_gate.weight"], f"gate.{layer}", precision.ffn)
        up = self._project(middle, [f"{block}ffn_up.weight"], f"up.{layer}", precision.ffn)
        sigmoid = self._op("Sigmoid", [gate], [f"sigmoid.{layer}"])
        silu = self._op("Mul", [gate, sigmoid], [f"silu.{layer}"])
        inner = self._op("Mul", [silu, up], [f"inner.{layer}"])
        down = self._project(inner, [f"{block}ffn_down.weight"], f"down.{layer}", precision.ffn)
        last = layer + 1 == hyper.layers
        norm = "output_norm.weight" if last else f"blk.{layer + 1}.attn_norm.weight"
        normed, stream = self._add_and_norm(stream, down, norm, f"normed.{layer + 1}", keep_sum=not last)
        return stream, normed

    def _embedding(self) -> str:
        hyper = self._hyper
        rows = quantize(self._gguf.floats("token_embd.weight"), _EMBEDDING_BLOCK)
        table = self._tensors.add("embedding.codes", rows.codes.reshape(hyper.vocabulary, -1))
        self._count("token_embd.weight")
        return self._op(
            "GatherBlockQuantized",
            [table, "input_ids", self._tensors.add("embedding.scales", rows.scales)],
            ["embedded"],
            domain=_MS,
            gather_axis=0,
            quantize_axis=1,
            block_size=_EMBEDDING_BLOCK,
            bits=8,
        )

    def _project(
        self,
        source: str,
        names: Sequence[str],
        out: str,
        grain: Grain,
        *,
        orders: Sequence[NDArray[np.int64] | None] | None = None,
        biases: Sequence[str] = (),
    ) -> str:
        """`source` times the transposed matrices `names`, one below the other, their rows in the given orders."""
        import numpy as np

        orders = orders or [None] * len(names)
        columns = self._gguf.tensors[names[0]].shape[-1] if names[0] in self._gguf.tensors else 0
        block = grain.block or block_size(self._columns, grain.bits)
        parts = [part.ordered(order) for part, order in zip(self._quantized(names, grain), orders, strict=True)]
        shifts = [np.zeros_like(part.scales) if part.offsets is None else part.offsets for part in parts]
        shifted = any(part.offsets is not None for part in parts)
        codes = self._tensors.add(f"{out}.codes", np.concatenate([part.codes for part in parts]))
        scales = self._tensors.add(f"{out}.scales", np.concatenate([part.scales for part in parts]))
        inputs = [source, codes, scales]
        if zeros := [part.zeros for part in parts if part.zeros is not None]:
            inputs.append(self._tensors.add(f"{out}.zeros", np.concatenate(zeros).reshape(-1)))
        if biases:
            bias = np.concatenate(
                [_ordered(self._gguf.floats(name), order) for name, order in zip(biases, orders, strict=True)]
            )
            inputs += [""] * (5 - len(inputs))
            inputs.append(self._tensors.add(f"{out}.bias", bias))
        self._count(*names)
        rows = sum(part.codes.shape[0] for part in parts)
        measures = {"K": columns, "N": rows, "bits": grain.bits, "block_size": block}
        if not shifted:
            return self._op("MatMulNBits", inputs, [out], domain=_MS, **measures, **_SCALE_BLOCKS)
        steps = self._op("MatMulNBits", inputs, [f"{out}.steps"], domain=_MS, **measures, **_SCALE_BLOCKS)
        offsets = self._tensors.add(f"{out}.offsets", np.concatenate(shifts).T)
        shift = self._op("MatMul", [self._sums(source, block), offsets], [f"{out}.shift"])
        return self._op("Add", [steps, shift], [out])

    def _quantized(self, names: Sequence[str], grain: Grain) -> list[Quantized]:
        """The matrices by themselves; where 4 bits and no block are asked for, what the file has in 4 bits unrounded."""
        block = grain.block or block_size(self._columns, grain.bits)
        kept = [self._gguf.nibbles(name) for name in names] if grain.bits == 4 and grain.block is None else []
        if not any(kept):
            return [quantize(self._gguf.floats(name), block, grain.bits) for name in names]
        return [
            stored(one) if one else quantize(self._gguf.floats(name), BLOCK, 4).with_offsets()
            for name, one in zip(names, kept, strict=True)
        ]

    def _sums(self, source: str, block: int) -> str:
        """The sum of each block of `source`, by which the blocks' offsets count. Made once for each source."""
        import numpy as np

        if source not in self._summed:
            shape = self._tensors.add(f"{source}.blocks", np.array([0, 0, -1, block], np.int64))
            last = self._tensors.add(f"{source}.last", np.array([-1], np.int64))
            blocks = self._op("Reshape", [source, shape], [f"{source}.by_block"])
            self._summed[source] = self._op("ReduceSum", [blocks, last], [f"{source}.sums"], keepdims=0)
        return self._summed[source]

    def _add_and_norm(self, stream: str, change: str, norm: str, out: str, *, keep_sum: bool = True) -> tuple[str, str]:
        total = f"{out}.sum"
        self._op(
            "SkipSimplifiedLayerNormalization",
            [stream, change, self._norm(norm)],
            [out, "", "", total] if keep_sum else [out],
            domain=_MS,
            epsilon=self._hyper.epsilon,
        )
        return out, total

    def _norm(self, name: str) -> str:
        return self._tensors.add(name, self._gguf.floats(name))

    def _op(self, kind: str, inputs: list[str], outputs: list[str], *, domain: str = "", **attributes: Any) -> str:
        from onnx import helper

        self._nodes.append(
            helper.make_node(kind, inputs, outputs, name=f"{kind}_{outputs[0]}", domain=domain, **attributes)
        )
        return outputs[0]

    def _count(self, *names: str) -> None:
        self._done += sum(_size(self._gguf.tensors[name].shape) for name in names)
        self._tick(min(self._done, self._total), self._total)

    def _signature(self) -> tuple[list[onnx.ValueInfoProto], list[onnx.ValueInfoProto]]:
        from onnx import TensorProto, helper

        hyper, info = self._hyper, helper.make_tensor_value_info
        inputs = [
            info("input_ids", TensorProto.INT64, ["B", "S"]),
            info("seqlens_k", TensorProto.INT32, ["B"]),
            info("total_seq", TensorProto.INT32, []),
            info("logits_idx", TensorProto.INT64, ["R"]),
        ]
        outputs = [info("logits", TensorProto.FLOAT, ["B", "R", hyper.vocabulary])]
        for layer in range(hyper.layers):
            for part in ("key", "value"):
                shape: list[str | int | None] = ["B", hyper.kv_heads, "capacity", hyper.head_size]
                inputs.append(info(f"past_key_values.{layer}.{part}", TensorProto.FLOAT, shape))
                outputs.append(info(f"present.{layer}.{part}", TensorProto.FLOAT, shape))
        return inputs, outputs


def _ordered(array: NDArray[np.float32], order: NDArray[np.int64] | None) -> NDArray[np.float32]:
    return array if order is None else array[order]


def _size(shape: tuple[int, ...]) -> int:
    size = 1
    for length in shape:
        size *= length
    return size
