"""A model of 100,000 random weights in a GGUF file: everything about a model but sense."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from hybridinfer.edge.lexicon import byte_alphabet

TEMPLATE = (
    "{% if tools %}<|im_start|>system\n{% for tool in tools %}{{ tool | tojson }}\n{% endfor %}<|im_end|>\n{% endif %}"
    "{% for message in messages %}<|im_start|>{{ message.role }}\n{{ message.content }}"
    "{% for call in message.tool_calls or [] %}<tool_call>{{ call.function | tojson }}</tool_call>{% endfor %}"
    "<|im_end|>\n{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
SPECIAL = {"<|endoftext|>": 3, "<|im_start|>": 3, "<|im_end|>": 3, "<tool_call>": 4, "</tool_call>": 4}
"""Control tokens (3) and user-defined ones (4)."""
MERGES = ("h e", "l l", "he ll", "hell o", "Ġ w", "o r", "Ġw or", "Ġwor l", "Ġworl d", "Ã ©", "0 0")
WIDTH, INNER, HEADS, KV_HEADS, LAYERS, CONTEXT = 64, 128, 4, 2, 2, 512


def write(
    path: Path,
    architecture: str = "llama",
    *,
    pre: str = "qwen2",
    template: str | None = TEMPLATE,
    seed: int = 1,
    tied: bool = True,
    without: str = "",
    extra: dict[str, np.ndarray] | None = None,
    stored: dict[str, str] | None = None,
    **changes: object,
) -> Path:
    """Write a model to `path`. `changes` replace hyper-parameters; None leaves one out.

    `without` names a tensor to leave out, `extra` holds tensors to add. `stored` maps parts of tensors' names to the
    types they are stored in, such as Q4_1; the others are float32.
    """
    from gguf import GGMLQuantizationType, GGUFWriter, quantize

    tokens = [*SPECIAL, *byte_alphabet(), *(merge.replace(" ", "") for merge in MERGES)]
    writer = GGUFWriter(path, architecture)
    numbers = {
        "block_count": LAYERS,
        "context_length": CONTEXT,
        "embedding_length": WIDTH,
        "feed_forward_length": INNER,
        "attention.head_count": HEADS,
        "attention.head_count_kv": KV_HEADS,
        "attention.layer_norm_rms_epsilon": 1e-5,
        "rope.freq_base": 10000.0,
    } | {key.replace("__", "."): value for key, value in changes.items()}
    for key, value in numbers.items():
        name = f"{architecture}.{key}"
        if isinstance(value, str):
            writer.add_string(name, value)
        elif isinstance(value, list):
            writer.add_array(name, value)
        elif isinstance(value, float):
            writer.add_float32(name, value)
        elif value is not None:
            writer.add_uint32(name, value)
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre(pre)
    writer.add_token_list(tokens)
    writer.add_token_types([SPECIAL.get(token, 1) for token in tokens])
    writer.add_token_merges(list(MERGES))
    writer.add_bos_token_id(0)
    writer.add_eos_token_id(2)
    if template is not None:
        writer.add_chat_template(template)
    for name, shape in _shapes(architecture, len(tokens), tied=tied).items():
        kind = next((kind for part, kind in (stored or {}).items() if part in name and len(shape) == 2), "F32")
        packed = quantize(_values(name, shape, seed), GGMLQuantizationType[kind])
        if name != without:
            writer.add_tensor(name, packed, raw_dtype=None if kind == "F32" else GGMLQuantizationType[kind])
    for name, values in (extra or {}).items():
        writer.add_tensor(name, values)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def _shapes(architecture: str, vocabulary: int, *, tied: bool) -> dict[str, tuple[int, ...]]:
    kv = KV_HEADS * WIDTH // HEADS
    shapes: dict[str, tuple[int, ...]] = {"token_embd.weight": (vocabulary, WIDTH), "output_norm.weight": (WIDTH,)}
    if not tied:
        shapes["output.weight"] = (vocabulary, WIDTH)
    for layer in range(LAYERS):
        block = f"blk.{layer}."
        shapes |= {
            f"{block}attn_norm.weight": (WIDTH,),
            f"{block}ffn_norm.weight": (WIDTH,),
            f"{block}attn_q.weight": (WIDTH, WIDTH),
            f"{block}attn_k.weight": (kv, WIDTH),
            f"{block}attn_v.weight": (kv, WIDTH),
            f"{block}attn_output.weight": (WIDTH, WIDTH),
            f"{block}ffn_gate.weight": (INNER, WIDTH),
            f"{block}ffn_up.weight": (INNER, WIDTH),
            f"{block}ffn_down.weight": (WIDTH, INNER),
        }
        if architecture == "qwen2":
            shapes |= {f"{block}attn_q.bias": (WIDTH,), f"{block}attn_k.bias": (kv,), f"{block}attn_v.bias": (kv,)}
    return shapes


def _values(name: str, shape: tuple[int, ...], seed: int) -> np.ndarray:
    random = np.random.default_rng([seed, *name.encode()])
    values = random.standard_normal(shape).astype(np.float32)
    return 1 + values / 10 if "norm" in name else values * (0.5 if name.endswith("bias") else shape[-1] ** -0.5)
