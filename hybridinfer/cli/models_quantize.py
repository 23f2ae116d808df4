"""`hybridinfer models quantize`: a smaller copy of a model, with proof of what that costs."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, cast

from cyclopts import Parameter

from .progress import bar
from .terminal import UsageError, print_json, talk

if TYPE_CHECKING:
    from ..edge.bench import Speed
    from ..edge.catalogue import Model
    from ..edge.convert import Conversion
    from ..edge.fidelity import Fidelity
    from ..edge.precision import PartName, Precision
    from ..edge.store import Store

Flag = Annotated[bool, Parameter(negative="")]
BLOCKS = (16, 32, 64, 128, 256)
_ROUNDS = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class _Verdict:
    """The candidate against its source's int8 conversion. Ratios above 1 are gains."""

    fidelity: Fidelity
    decode_ratio: float
    prefill_ratio: float
    bytes_ratio: float


def quantize(
    source: str,
    *,
    out: str,
    bits: Literal[8, 4] = 4,
    block: int | None = None,
    eight: str = "",
    check: Path | None = None,
    force: Flag = False,
    json: Flag = False,
) -> int:
    """Make a copy of a model with fewer bits, and compare it with the source: perplexity, first choices and speed.

    The reference is the source's own int8 conversion, the texts are the prompts and its answers to them. A copy that
    is no longer the same model is refused and deleted: exit code 1. What is kept runs by `model: NAME.bundle`.

    Args:
        source: A name from `models list`, or a path to a GGUF file.
        out: The bundle to make: a path, or a bare name, which then lies in the cache.
        bits: Bits of each weight.
        block: Weights that share a scale: 16, 32, 64, 128 or 256.
        eight: Parts that keep 8 bits, with commas: attention, ffn, head.
        check: A YAML list of prompts, or of mappings with a `prompt`; otherwise the demo's.
        force: Keep the copy whatever the comparison says.
        json: Print {bundle, kept, faults, precision, tokens, reference_perplexity, perplexity, perplexity_ratio, top1,
            decode_ratio, prefill_ratio, bytes_ratio}.
    """
    from ..edge.catalogue import find
    from ..edge.convert import Conversion
    from ..edge.precision import Precision
    from ..edge.store import Store

    if block is not None and block not in BLOCKS:
        raise UsageError(f"--block {block}: it is one of {', '.join(map(str, BLOCKS))}")
    name = out if out.endswith(".bundle") else f"{out}.bundle"
    store, model, precision = Store.default(), find(source), Precision.of(bits, block, _parts(eight))
    place = store.place(find(name))
    if model.form != "gguf":
        raise UsageError(f"{source}: only a GGUF file can be quantized, not what was made of one")
    if place.exists():
        raise UsageError(f"--out {out}: it is there already; hybridinfer models remove {name}")
    prompts = _prompts(check)
    candidate = Conversion(place.with_name(f".{place.name}.candidate"))
    candidate.remove()  # of a run that was interrupted
    try:
        verdict = _compared(store, model, candidate, precision, prompts)
        kept = force or not verdict.fidelity.faults
        if kept:
            candidate.directory.rename(place)
    finally:
        candidate.remove()
        place.with_name(f".{candidate.name}.lock").unlink(missing_ok=True)
    row = _row(place, verdict, precision, kept=kept)
    if json:
        print_json(row)
    else:
        _say(row, name, forced=force)
    return 0 if kept else 1


def _compared(store: Store, model: Model, candidate: Conversion, precision: Precision, prompts: list[str]) -> _Verdict:
    from ..edge import bench
    from ..edge.fidelity import compare, transcripts
    from ..edge.session import Session
    from ..edge.threads import default_threads

    with bar(model.id) as report:
        _, reference = store.runnable(model, report)
        candidate.make(store.file(model), report, precision=precision)
    first, second = (Session(one, threads=default_threads()) for one in (reference, candidate))
    fidelity = compare(first, second, transcripts(first, store.vocabulary(model), prompts))
    pairs = [(bench.measure(first), bench.measure(second)) for _ in range(_ROUNDS)]
    sizes = [bench.read_per_token(one.graph.read_bytes()) for one in (reference, candidate)]
    return _Verdict(
        fidelity=fidelity,
        decode_ratio=_ratio(pairs, "decode"),
        prefill_ratio=_ratio(pairs, "prefill"),
        bytes_ratio=sizes[0] / sizes[1],
    )


def _ratio(pairs: list[tuple[Speed, Speed]], figure: str) -> float:
    import statistics

    return float(statistics.median(getattr(new, figure) / getattr(old, figure) for old, new in pairs))


def _parts(eight: str) -> frozenset[PartName]:
    from ..edge.precision import PARTS

    names = frozenset(name.strip() for name in eight.split(",") if name.strip())
    if unknown := names - set(PARTS):
        raise UsageError(f"--eight {', '.join(sorted(unknown))}: the parts are {', '.join(PARTS)}")
    return cast("frozenset[PartName]", names)


def _prompts(file: Path | None) -> list[str]:
    import yaml

    from .demo.prompt import shipped_prompts

    try:
        tree = yaml.safe_load((file or shipped_prompts()).read_text("utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise UsageError(f"--check {file}: cannot be read ({type(error).__name__})") from error
    listed = tree if isinstance(tree, list) else []
    found = [one.get("prompt") if isinstance(one, dict) else one for one in listed]
    if not found or not all(isinstance(one, str) and one.strip() for one in found):
        raise UsageError(f"--check {file}: write a list of prompts, or of mappings with a `prompt`")
    return cast("list[str]", found)


def _row(place: Path, verdict: _Verdict, precision: Precision, *, kept: bool) -> dict[str, Any]:
    fidelity = verdict.fidelity
    return {
        "bundle": str(place),
        "kept": kept,
        "faults": list(fidelity.faults),
        "precision": str(precision),
        **asdict(fidelity),
        "perplexity_ratio": fidelity.ratio,
        "decode_ratio": verdict.decode_ratio,
        "prefill_ratio": verdict.prefill_ratio,
        "bytes_ratio": verdict.bytes_ratio,
    }


def _say(row: dict[str, Any], name: str, *, forced: bool) -> None:
    print(row["precision"])
    print(f"perplexity    {row['perplexity']:.3f}, the source {row['reference_perplexity']:.3f}")
    print(f"first choice  {row['top1']:.1%} agree over {row['tokens']} tokens")
    print(f"speed         decode {row['decode_ratio']:.2f} times the source, prefill {row['prefill_ratio']:.2f} times")
    print(f"read a token  1/{row['bytes_ratio']:.2f} of the source's bytes")
    for fault in row["faults"]:
        talk(f"not the same model any more: {fault}")
    if not row["kept"]:
        talk("it was not kept; --force keeps it, --eight attention,head gives the delicate parts 8 bits")
        return
    if row["faults"] and forced:
        talk("kept because of --force")
    talk(f"use it in a policy: {{kind: onnx, model: {name}}}")
