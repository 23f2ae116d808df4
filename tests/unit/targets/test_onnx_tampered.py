"""One flipped byte, in every file that a local model has: a damaged model never answers, and the plan goes on."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from hybridinfer import Router
from hybridinfer.edge import checksum
from hybridinfer.edge.catalogue import find
from hybridinfer.edge.convert import MANIFEST, VOCABULARY, Conversion
from hybridinfer.edge.precision import Precision
from hybridinfer.edge.progress import silent
from hybridinfer.edge.store import Store
from hybridinfer.edge.unsealed import encrypt
from hybridinfer.receipt import Code
from tests import tiny
from tests.unit.targets.test_onnx_protected import KEY, policy, sign

PLACES = (0, 0.001, 0.3, 0.5, 0.9, 1)
"""Shares of a file; 1 is its last byte."""
HARMLESS = {VOCABULARY, MANIFEST, "ours.sig", "ours.pem"}
"""Without these a model may still prove itself: the vocabulary is read from the model's file again, and not every byte
of a manifest, a signature's envelope or a PEM file means something. The answer must then be the very same."""


def made(form: str, folder: Path, environ: dict[str, str]) -> tuple[Path, dict[str, Any], list[Path]]:
    """A model in this form: what the policy names, its options, and every file of it."""
    plain = tiny.write(folder / "tiny.gguf", seed=3)
    if form == "sealed":
        out = folder / "m.sealed"
        encrypt(find(str(plain)), Store.default(environ), out, base64.b64decode(KEY), silent)
        return out, {}, [out]
    if form == "bundle":
        conversion = Conversion(folder / "m.bundle")
        conversion.make(plain, precision=Precision.of(4, None))
        pin = checksum.sha256(conversion.directory / MANIFEST)
        return conversion.directory, {"sha256": pin}, sorted(conversion.directory.iterdir())
    options = {"sha256": checksum.sha256(plain)}
    if form == "signed":
        options |= sign(plain)
    Store.default(environ).pull(find(str(plain)))
    converted = sorted(Conversion.of(folder / "cache", checksum.sha256(plain)).directory.iterdir())
    vouching = [folder / "ours.sig", folder / "ours.pem"] if form == "signed" else []
    return plain, options, [plain, *converted, *vouching]


def flipped(file: Path) -> Iterator[None]:
    """`file` with one byte altered, at one place after the other; whole again at the end."""
    whole = file.read_bytes()
    for share in PLACES:
        at = min(int(len(whole) * share), len(whole) - 1)
        file.write_bytes(whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :])
        yield
    file.write_bytes(whole)


@pytest.mark.parametrize("form", ["pinned", "signed", "bundle", "sealed"])
def test_a_damaged_model_never_answers(form: str, tmp_path: Path) -> None:
    """Weights, graph, vocabulary, header, manifest, signature, key: nothing of it is taken on trust."""
    environ = {"HYBRIDINFER_CACHE": str(tmp_path / "cache"), "HYBRIDINFER_MODEL_KEY": KEY, "HYBRIDINFER_OFFLINE": "1"}
    model, options, files = made(form, tmp_path, environ)

    def asked() -> tuple[str | None, Code, str]:
        with Router.from_policy(policy(model, **options), environ=environ) as router:
            answer = router.complete("hello")
        return answer.target, answer.receipt.attempts[0].code, answer.text

    whole = asked()
    assert whole[0] == "small"
    for file in files:
        refused = 0
        for _ in flipped(file):
            answer = asked()
            if answer[0] == "small":
                assert file.name in HARMLESS, file.name
                assert answer == whole
            else:
                assert answer == ("sorry", Code.UNAVAILABLE, "sorry")
                refused += 1
        assert refused == len(PLACES) or file.name in HARMLESS
    assert asked() == whole
