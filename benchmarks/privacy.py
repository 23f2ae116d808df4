"""What the privacy detectors find, miss and cost, side by side with presidio-analyzer and detect-secrets.

    python benchmarks/privacy.py [--data DIR] [--peer-python PYTHON]

`--data`: a folder of `*.jsonl.gz` files (id, text, spans, source), `../shared/data/privacy` by default.
`--peer-python`: an interpreter that has presidio-analyzer and detect-secrets (`pip install presidio-analyzer
detect-secrets`); both run there, in their own process, on the same texts.

Recall is by document: does a text that holds something get any finding (micro, over documents)? False positives are
clean prompts (`neg_*`, without the rows that are marked `contains`) with any finding. Span F1 counts overlaps.
Times are CPU time; the ratio to a fixed piece of work of the same run makes them comparable between machines.
"""

from __future__ import annotations

import argparse
import base64
import gzip
import ipaddress
import json
import random
import re
import resource
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

STRUCT = {"EMAIL", "PHONE", "CREDIT_CARD", "IBAN", "NATIONAL_ID", "IP", "MAC", "CRYPTO", "SECRET"}
HARD = STRUCT | {"ADDRESS", "PASSPORT", "DRIVER_LICENSE", "BANK_ACCOUNT", "MEDICAL_ID"}
OURS = {
    "email": "EMAIL", "phone": "PHONE", "payment_card": "CREDIT_CARD", "iban": "IBAN", "national_id": "NATIONAL_ID",
    "tax_id": "NATIONAL_ID", "ip_address": "IP", "mac_address": "MAC", "crypto_wallet": "CRYPTO", "credential": "SECRET",
    "password": "SECRET", "private_key": "SECRET", "connection_string": "SECRET", "address": "ADDRESS",
    "passport": "PASSPORT", "driver_licence": "DRIVER_LICENSE", "bank_account": "BANK_ACCOUNT", "medical_id": "MEDICAL_ID",
}  # fmt: skip
PRESIDIO = {
    "EMAIL_ADDRESS": "EMAIL", "PHONE_NUMBER": "PHONE", "CREDIT_CARD": "CREDIT_CARD", "IBAN_CODE": "IBAN", "US_SSN": "NATIONAL_ID",
    "US_ITIN": "NATIONAL_ID", "UK_NHS": "MEDICAL_ID", "IP_ADDRESS": "IP", "MAC_ADDRESS": "MAC", "CRYPTO": "CRYPTO",
    "US_PASSPORT": "PASSPORT", "US_DRIVER_LICENSE": "DRIVER_LICENSE", "US_BANK_NUMBER": "BANK_ACCOUNT", "MEDICAL_LICENSE": "MEDICAL_ID",
}  # fmt: skip
REPEATS = 15
Span = tuple[int, int, str, float]
Found = list[list[Span]]


def ours(texts: Sequence[str]) -> Callable[[], Found]:
    from hybridinfer.privacy.detectors import SCORES, Scanner

    scanner = Scanner(seconds=60.0)

    def run() -> Found:
        return [
            [(f.start, f.end, OURS.get(f.type, f.type), f.confidence) for f in scanner.scan(text) if SCORES[f.type] > 0]
            for text in texts
        ]

    return run


def presidio(texts: Sequence[str]) -> Callable[[], Found]:
    """Patterns only: a blank tokenizer gives the context words, no model, no names. Dates and URLs are not asked for."""
    import logging

    import spacy
    from presidio_analyzer import AnalyzerEngine, PatternRecognizer
    from presidio_analyzer.nlp_engine import SpacyNlpEngine

    class Blank(SpacyNlpEngine):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__(models=[{"lang_code": "en", "model_name": "blank"}])
            self.nlp = {"en": spacy.blank("en")}

        def load(self) -> None:
            pass

        def is_loaded(self) -> bool:
            return True

    logging.disable(logging.WARNING)
    engine = AnalyzerEngine(nlp_engine=Blank(), supported_languages=["en"])
    keep = [
        rec
        for rec in engine.registry.recognizers
        if isinstance(rec, PatternRecognizer) or "Phone" in type(rec).__name__
    ]
    engine.registry.recognizers = keep
    entities = sorted({entity for rec in keep for entity in rec.supported_entities} - {"URL", "DATE_TIME"})

    def run() -> Found:
        return [
            [
                (f.start, f.end, PRESIDIO.get(f.entity_type, f.entity_type), f.score)
                for f in engine.analyze(text, "en", entities)
            ]
            for text in texts
        ]

    return run


def detect_secrets(texts: Sequence[str]) -> Callable[[], Found]:
    """Line by line, every plugin but the two entropy ones: with them, most prompts are findings."""
    from detect_secrets.core.scan import scan_line
    from detect_secrets.settings import default_settings, transient_settings

    with default_settings() as settings:
        plugins = [{"name": name} for name in settings.plugins if "Entropy" not in name]

    def run() -> Found:
        found: Found = []
        with transient_settings({"plugins_used": plugins}):
            for text in texts:
                spans: list[Span] = []
                at = 0
                for line in text.splitlines(keepends=True):
                    for secret in scan_line(line):
                        start = line.find(secret.secret_value or "")
                        spans.append(
                            (at + max(0, start), at + max(0, start) + len(secret.secret_value or line), "SECRET", 1.0)
                        )
                    at += len(line)
                found.append(spans)
        return found

    return run


ENGINES: dict[str, Callable[[Sequence[str]], Callable[[], Found]]] = {
    "hybridinfer": ours,
    "presidio (patterns)": presidio,
    "detect-secrets": detect_secrets,
}


def work() -> float:
    """CPU seconds of a fixed piece of pure Python: the unit that makes runs comparable."""
    start = time.process_time()
    sum(range(1_000_000))
    return time.process_time() - start


def measure(name: str, texts: Sequence[str], clean: Sequence[str]) -> dict[str, Any]:
    """Load, find, and time one engine in this process."""
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    start = time.process_time()
    run = ENGINES[name](texts)
    ENGINES[name](["ssn 219-09-9999, call +41 44 668 18 00, key ghp_x"])()
    load = time.process_time() - start
    memory = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
    found = run()
    timed = ENGINES[name](clean)
    seconds, units = list[float](), list[float]()
    for _ in range(REPEATS if name == "hybridinfer" else 1):
        start = time.process_time()
        timed()
        seconds.append(time.process_time() - start)
        units.append(work())
    kilobytes = sum(map(len, clean)) / 1024
    unit = min(units)
    per_kb = min(seconds) * 1000 / kilobytes
    return {"found": found, "load_s": load, "mb": memory, "ms_per_kb": per_kb, "units_per_mb": per_kb / unit * 1.024}


def measure_elsewhere(python: str, name: str, texts: Sequence[str], clean: Sequence[str]) -> dict[str, Any]:
    """The same in a process of its own."""
    done = subprocess.run(
        [python, __file__, "--measure", name],
        input=json.dumps([texts, clean]),
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        sys.exit(f"{name} failed in {python}:\n{done.stderr[-2000:]}")
    result: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return result


def threshold_of(found: Found, clean: Iterable[int], limit: float = 0.01) -> float:
    """The lowest score that keeps false positives within `limit`, as the issue measures all engines."""
    rows = [max((score for *_, score in found[row]), default=0.0) for row in clean]
    scores = sorted({score for spans in found for *_, score in spans})
    return next((score for score in scores if sum(row >= score for row in rows) <= limit * len(rows)), 1.1)


def recall(rows: Sequence[dict[str, Any]], found: Found, types: set[str]) -> dict[str, float]:
    """Micro recall over documents, for each source and for all."""
    total: Counter[str] = Counter()
    hit: Counter[str] = Counter()
    for row, spans in zip(rows, found, strict=True):
        if types & {kind for *_, kind in row["spans"]}:
            for key in (row["source"], "all"):
                total[key] += 1
                hit[key] += bool(spans)
    return {key: hit[key] / count for key, count in total.items()}


def is_stand_in(text: str, kind: str) -> bool:
    """Whether a labelled value is a placeholder by the issue's definition: nobody's address, nobody's number."""
    if kind == "IP":
        return not ipaddress.ip_address(text).is_global or text in ("8.8.8.8", "1.1.1.1")
    if kind == "EMAIL":
        return re.search(r"(?i)@(?:[\w-]+\.)*example\.\w+$", text) is not None
    return kind == "PHONE" and re.search(r"555\D?01\d\d$", text) is not None


def without_stand_ins(row: dict[str, Any]) -> dict[str, Any]:
    """`row` without the labels that stand on placeholders."""
    kept = [span for span in row["spans"] if not is_stand_in(row["text"][span[0] : span[1]], span[2])]
    return row | {"spans": kept}


def span_f1(rows: Sequence[dict[str, Any]], found: Found, kind: str) -> float | None:
    """F1 of overlapping spans of one type, over the sources that label it."""
    sources = {row["source"] for row in rows if any(label == kind for *_, label in row["spans"])}
    tp = wrong = missed = 0
    for row, spans in zip(rows, found, strict=True):
        if row["source"] not in sources:
            continue
        gold = [(start, end) for start, end, label in row["spans"] if label == kind]
        mine = [(start, end) for start, end, label, _ in spans if label == kind]
        seen = [any(s < end and start < e for s, e in mine) for start, end in gold]
        tp += sum(seen)
        missed += len(gold) - sum(seen)
        wrong += sum(not any(s < end and start < e for s, e in gold) for start, end in mine)
    return 2 * tp / (2 * tp + wrong + missed) if tp + missed else None


def nested(text: bytes, times: int) -> bytes:
    """`text` in base64 in base64 ..."""
    for _ in range(times):
        text = base64.b64encode(text)
    return text


def adversarial(clean: Sequence[str]) -> None:
    """Inputs made to be slow: CPU time per KB beside that of ordinary text, and for four times the length."""
    from hybridinfer.privacy.detectors import Scanner

    scanner = Scanner(seconds=3600.0)
    ordinary = "\n\n".join(clean)
    size = 256 * 1024
    cases = {
        "clean prompts": (ordinary * (size // len(ordinary) + 1))[:size],
        "digits": "1234567890" * (size // 10),
        "nested brackets": "[{(" * (size // 6) + ")}]" * (size // 6),
        "e-mails": " ".join(f"user{number}@corp{number % 97}.com" for number in range(size // 20))[:size],
        "one letter": "a" * size,
        "passwords": "password=" * (size // 9),
        "spaced digits": "1 " * (size // 2),
        "spaced twice": "1  2  " * (size // 6),
        "equals signs": "=" * size,
        "colons": "a:" * (size // 2),
        "zero width": "a\u200b" * (size // 2),
        "zero width, digits": "1\u200b2\u200b " * (size // 5),
        "IBANs": "DE89 3704 0044 0532 0130 00 " * (size // 28),
        "escapes": "\\u0041" * (size // 6),
        "base64": base64.b64encode(random.Random(1).randbytes(size * 3 // 4)).decode(),
        "base64 in base64": nested(b"my password is hunter22", 25).ljust(size, b"A").decode()[:size],
        "base64, small pieces": " ".join(
            base64.b64encode(b"a plain sentence %d" % number).decode() for number in range(size // 29)
        )[:size],
    }
    print(f"\n{'adversarial, 256 KB':24}{'ms/KB':>8}{'x prompts':>12}{'4x length':>11}")
    base = 0.0
    for name, text in cases.items():
        cost = []
        for piece in (text[: size // 4], text):
            times = []
            for _ in range(2):
                start = time.process_time()
                scanner.scan(piece)
                times.append(time.process_time() - start)
            cost.append(min(times) * 1000 / (len(piece) / 1024))
        base = base or cost[1]
        print(f"{name:24}{cost[1]:8.3f}{cost[1] / base:12.1f}{cost[1] / cost[0]:11.2f}")


def report(rows: Sequence[dict[str, Any]], results: dict[str, dict[str, Any]]) -> None:
    """The table."""
    clean = [n for n, row in enumerate(rows) if row["source"].startswith("neg_") and not row.get("contains")]
    found_by = {}
    for name, result in results.items():
        found = [[tuple(span) for span in spans] for spans in result["found"]]
        least = threshold_of(found, clean)
        found_by[name] = [[span for span in spans if span[3] >= least] for spans in found]
    lines: list[tuple[str, list[str]]] = []

    def line(label: str, values: Iterable[float | None], form: str) -> None:
        lines.append((label, ["-" if value is None else format(value, form) for value in values]))

    for label, types in (("recall HARD", HARD), ("recall STRUCT", STRUCT)):
        by_source = {name: recall(rows, found, types) for name, found in found_by.items()}
        for source in ("all", *sorted(set().union(*by_source.values()) - {"all"})):
            line(f"{label} {source}", (by_source[name][source] for name in found_by), ".3f")
    real = [without_stand_ins(row) for row in rows]
    for label, types in (("recall HARD, real values", HARD), ("recall STRUCT, real values", STRUCT)):
        line(label, (recall(real, found, types)["all"] for found in found_by.values()), ".3f")
    line(
        "false positives, %",
        (100 * sum(bool(found[n]) for n in clean) / len(clean) for found in found_by.values()),
        ".2f",
    )
    for kind in sorted(HARD):
        values = [span_f1(rows, found, kind) for found in found_by.values()]
        if any(value is not None for value in values):
            line(f"span F1 {kind}", values, ".2f")
    for label, key, form in (
        ("ms per KB, clean", "ms_per_kb", ".3f"),
        ("units of work per MB", "units_per_mb", ".1f"),
        ("load, s CPU", "load_s", ".2f"),
        ("memory, MB", "mb", ".0f"),
    ):
        line(label, (results[name][key] for name in found_by), form)
    print(f"{len(rows)} texts, {len(clean)} of them clean prompts")
    print(f"{'':34}" + "".join(f"{name:>22}" for name in found_by))
    for label, texts in lines:
        print(f"{label:34}" + "".join(f"{text:>22}" for text in texts))


def main() -> None:
    root = Path(__file__).resolve().parents[1]
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=root.parent / "shared" / "data" / "privacy")
    parser.add_argument("--peer-python")
    parser.add_argument("--measure", choices=ENGINES, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.measure:
        print(json.dumps(measure(options.measure, *json.load(sys.stdin))))
        return
    files = sorted(options.data.glob("*.jsonl.gz"))
    if not files:
        sys.exit(f"no *.jsonl.gz in {options.data}; name the folder with --data")
    rows = [json.loads(line) for file in files for line in gzip.decompress(file.read_bytes()).splitlines()]
    texts = [row["text"] for row in rows]
    clean = [row["text"] for row in rows if row["source"].startswith("neg_") and not row.get("contains")]
    results = {"hybridinfer": measure_elsewhere(sys.executable, "hybridinfer", texts, clean)}
    if options.peer_python:
        for name in list(ENGINES)[1:]:
            results[name] = measure_elsewhere(options.peer_python, name, texts, clean)
    report(rows, results)
    adversarial(clean)


if __name__ == "__main__":
    main()
