"""`hybridinfer models bench`: how fast a local model is on this machine."""

from __future__ import annotations

import time
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter

from .terminal import print_json, talk

if TYPE_CHECKING:
    from ..edge.catalogue import Model
    from ..edge.store import Store

Flag = Annotated[bool, Parameter(negative="")]


def bench(
    model: str = "qwen2.5-coder-0.5b",
    *,
    rounds: Annotated[int, Parameter(name="--rounds")] = 5,
    threads: int | None = None,
    tune: Flag = False,
    json: Flag = False,
) -> int:
    """Measure decode and prefill, the time to the first token, loading, memory and the share of memory bandwidth.

    Decoding one answer reads every weight once a token, so the machine's bandwidth bounds it. Medians of the rounds,
    each figure by itself; other work on the machine counts.

    Args:
        model: A name from `models list`, or a path to a GGUF file, a bundle or a sealed model.
        rounds: How often; each runs a prompt of 128 tokens and 48 steps.
        threads: How many threads compute; otherwise what --tune found, else the physical cores, at most 4.
        tune: Try every number of threads, with and without spinning, and remember the fastest for this machine.
        json: Print {model, provider, threads, spinning, load_seconds, prefill, decode, ttft, resident_bytes,
            read_bytes_per_token, bandwidth, bandwidth_share, head_share}.
    """
    from ..edge.catalogue import find
    from ..edge.store import Store

    store, wanted = Store.default(), find(model)
    if tune:
        _tune(store, wanted)
    row = _measured(store, wanted, max(1, rounds), threads)
    if json:
        print_json(row)
    else:
        for line in _lines(row):
            print(line)
    return 0


def _measured(store: Store, model: Model, rounds: int, threads: int | None) -> dict[str, Any]:
    from ..edge import bench as measuring
    from ..edge.pool import load
    from ..edge.session import runtime
    from ..edge.setting import Setting
    from ..edge.threads import default_threads
    from ..edge.tuning import Tuning, known

    tuning = known(store.root, model) if threads is None else None
    tuning = tuning or Tuning(threads=threads or default_threads(), spinning=True)
    runtime()  # its import is the process's cost, not the model's
    begun = time.perf_counter()
    loaded = load(model, store, threads=tuning.threads, pull=False, setting=Setting(spinning=tuning.spinning))
    seconds = time.perf_counter() - begun
    measuring.measure(loaded.session)  # warm
    resident, speeds, bandwidths = measuring.resident(), list[measuring.Speed](), list[float]()
    for _ in range(rounds):  # in turn, so that both meet the same noise
        speeds.append(measuring.measure(loaded.session))
        bandwidths.append(measuring.bandwidth(tuning.threads))
    speed, graph = measuring.median(speeds), store.graph(model)
    read = measuring.read_per_token(graph)
    return {
        "model": model.id,
        "provider": loaded.session.provider,
        **asdict(tuning),
        "load_seconds": seconds,
        **asdict(speed),
        "resident_bytes": resident,
        "read_bytes_per_token": read,
        "bandwidth": max(bandwidths),
        "bandwidth_share": read * speed.decode / max(bandwidths),
        "head_share": measuring.head_share(graph),
    }


def _tune(store: Store, model: Model) -> None:
    from ..edge.pool import load
    from ..edge.setting import Setting
    from ..edge.tuning import Tuning, probe, remember

    def opened(choice: Tuning) -> Any:
        setting = Setting(spinning=choice.spinning)
        return load(model, store, threads=choice.threads, pull=False, setting=setting).session

    found = probe(opened)
    for choice, (decode, prefill) in found.items():
        spins = "spinning" if choice.spinning else "sleeping"
        talk(f"{choice.threads} threads, {spins}: decode {decode:.1f}, prefill {prefill:.0f} tokens/s")
    remember(store.root, model, next(iter(found)))


def _lines(row: dict[str, Any]) -> list[str]:
    return [
        f"{row['model']} on {row['provider']}, {row['threads']} threads{'' if row['spinning'] else ' that sleep'}",
        f"decode            {row['decode']:,.1f} tokens/s",
        f"prefill           {row['prefill']:,.0f} tokens/s (a prompt of 128)",
        f"first token       {row['ttft'] * 1000:,.0f} ms",
        f"load              {row['load_seconds']:.2f} s",
        f"memory            {row['resident_bytes'] / 1e6:,.0f} MB, all of this process",
        f"weights per token {row['read_bytes_per_token'] / 1e6:,.0f} MB, {row['head_share']:.0%} of it the output's matrix",
        f"bandwidth         {row['bandwidth'] / 1e9:.1f} GB/s; decoding takes {row['bandwidth_share']:.0%} of it",
    ]
