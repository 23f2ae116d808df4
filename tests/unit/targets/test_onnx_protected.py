"""`kind: onnx` with sealed and signed models: what was touched is never run, and the plan goes on."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from model_signing import signing

from hybridinfer import Router
from hybridinfer.edge import checksum
from hybridinfer.edge.catalogue import find
from hybridinfer.edge.convert import Conversion
from hybridinfer.edge.precision import Precision
from hybridinfer.edge.progress import silent
from hybridinfer.edge.session import runtime
from hybridinfer.edge.store import Store
from hybridinfer.edge.tuning import Tuning, remember
from hybridinfer.edge.unsealed import encrypt
from hybridinfer.errors import ConfigurationError
from hybridinfer.policy.model import TargetBlock
from hybridinfer.receipt import Code
from hybridinfer.targets.base import TargetContext
from hybridinfer.targets.onnx import OnnxTarget
from tests import tiny

KEY = base64.b64encode(bytes(range(32))).decode()


@pytest.fixture
def environ(tmp_path: Path) -> dict[str, str]:
    return {"HYBRIDINFER_CACHE": str(tmp_path / "cache"), "HYBRIDINFER_MODEL_KEY": KEY, "HYBRIDINFER_OFFLINE": "1"}


@pytest.fixture
def plain(tmp_path: Path) -> Path:
    return tiny.write(tmp_path / "tiny.gguf")


@pytest.fixture
def closed(plain: Path, environ: dict[str, str]) -> Path:
    out = plain.with_name("m.sealed")
    encrypt(find(str(plain)), Store.default(environ), out, base64.b64decode(KEY), silent)
    return out


@pytest.fixture
def bundle(plain: Path) -> Path:
    conversion = Conversion(plain.with_name("m.bundle"))
    conversion.make(plain, precision=Precision.of(4, None))
    return conversion.directory


def policy(model: Path | str, **options: Any) -> dict[str, Any]:
    return {
        "version": 1,
        "targets": {
            "small": {"kind": "onnx", "model": str(model), "max_tokens": 4, "options": {"threads": 1, **options}},
            "sorry": {"kind": "canned", "text": "sorry"},
        },
        "rules": [{"name": "all", "use": ["small", "sorry"]}],
    }


def asked(environ: dict[str, str], model: Path | str, **options: Any) -> Any:
    with Router.from_policy(policy(model, **options), environ=environ) as router:
        return router.complete("hello").receipt


def sign(model: Path, private: Any = None) -> dict[str, str]:
    """The options that vouch for `model`."""
    private = private or ec.generate_private_key(ec.SECP256R1())
    secret, public, signature = (model.parent / f"ours.{ending}" for ending in ("key", "pem", "sig"))
    none, pem = serialization.NoEncryption(), serialization.Encoding.PEM
    secret.write_bytes(private.private_bytes(pem, serialization.PrivateFormat.PKCS8, none))
    public.write_bytes(private.public_key().public_bytes(pem, serialization.PublicFormat.SubjectPublicKeyInfo))
    signing.Config().use_elliptic_key_signer(private_key=secret).sign(model, signature)
    return {"signature": str(signature), "public_key": str(public)}


def test_a_sealed_model_answers(environ: dict[str, str], closed: Path) -> None:
    """And the receipt says what computed it."""
    receipt = asked(environ, closed)
    assert (receipt.target, receipt.attempts[0].ran_on) == ("small", "cpu")


@pytest.mark.parametrize("fault", ["no key", "other key", "altered"])
def test_a_sealed_model_that_does_not_open_is_unavailable(environ: dict[str, str], closed: Path, fault: str) -> None:
    """The attempt says so, and the next rung answers."""
    if fault == "altered":
        raw = bytearray(closed.read_bytes())
        raw[len(raw) // 2] ^= 1
        closed.write_bytes(raw)
    else:
        other = "" if fault == "no key" else base64.b64encode(bytes(32)).decode()
        environ = {**environ, "HYBRIDINFER_MODEL_KEY": other}
    receipt = asked(environ, closed)
    assert receipt.attempts[0].code is Code.UNAVAILABLE
    assert ("needs its key" if fault == "no key" else "does not open") in receipt.attempts[0].because
    assert receipt.target == "sorry"
    assert KEY not in repr(receipt)


@pytest.mark.parametrize("form", ["plain", "closed", "bundle"])
def test_a_signed_model_answers_and_a_touched_one_never_does(
    environ: dict[str, str], form: str, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of every form. Its session is not even made."""
    model: Path = request.getfixturevalue(form)
    options = sign(model)
    assert asked(environ, model, **options).target == "small"
    touched = model / "model.onnx" if form == "bundle" else model
    touched.write_bytes(touched.read_bytes() + b"x")
    if form == "bundle":  # whoever alters a file may well make a manifest that fits
        manifest = model / "manifest.json"
        fitting = json.loads(manifest.read_text()) | {"model.onnx": checksum.pieces(touched)}
        manifest.write_text(json.dumps(fitting))
    monkeypatch.setattr(runtime(), "InferenceSession", lambda *_, **__: pytest.fail("it was run"))
    receipt = asked(environ, model, **options)
    assert (receipt.attempts[0].code, receipt.target) == (Code.UNAVAILABLE, "sorry")
    assert "does not hold" in receipt.attempts[0].because


def test_an_engine_without_a_signature_is_not_shared_with_who_demands_one(environ: dict[str, str], plain: Path) -> None:
    """The model is at work already, unsigned; who asks for a signature gets none of it."""
    wrong = sign(tiny.write(plain.with_name("other.gguf"), seed=9))
    tree = policy(plain)
    tree["targets"]["careful"] = {**tree["targets"]["small"], "options": {"threads": 1, **wrong}}
    tree["rules"] = [
        {"name": "careful", "when": {"tags": {"careful": "yes"}}, "use": ["careful", "sorry"]},
        {"name": "all", "use": ["small", "sorry"]},
    ]
    with Router.from_policy(tree, environ=environ) as router:
        assert router.complete("hello").receipt.target == "small"
        receipt = router.complete("hello", tags={"careful": "yes"}).receipt
    assert (receipt.attempts[0].code, receipt.target) == (Code.UNAVAILABLE, "sorry")


def test_a_bundle_answers_and_a_damaged_one_does_not(environ: dict[str, str], bundle: Path) -> None:
    """Its manifest covers the vocabulary, too."""
    assert asked(environ, bundle).target == "small"
    (bundle / "header.gguf").write_bytes(b"GGUF")
    receipt = asked(environ, bundle)
    assert (receipt.attempts[0].code, receipt.target) == (Code.UNAVAILABLE, "sorry")


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"signature": "m.sig"}, "go together"),
        ({"providers": ["cudo"]}, "did you mean cuda"),
    ],
)
def test_half_a_wish_is_refused(environ: dict[str, str], plain: Path, options: dict[str, Any], said: str) -> None:
    """When the policy is read, not at the first request."""
    block = TargetBlock(kind="onnx", model=str(plain), options=options)
    with pytest.raises(ConfigurationError, match=said):
        OnnxTarget(block, TargetContext(name="small", environ=environ))


def test_what_is_missing_here_falls_back_to_the_cpu(environ: dict[str, str], plain: Path) -> None:
    """The receipt says which ran."""
    receipt = asked(environ, plain, providers=["cuda", "coreml", "cpu"])
    assert (receipt.target, receipt.attempts[0].ran_on) == ("small", "cpu")


def test_auto_takes_what_is_here(environ: dict[str, str]) -> None:
    """The target says which model that is; one that is not here says at its call how to get it."""
    block = TargetBlock(kind="onnx", model="auto", options={"variants": ["smollm2-135m", "qwen2.5-coder-0.5b"]})
    store = Store.default(environ)
    assert OnnxTarget(block, TargetContext(name="small", environ=environ)).info.model == "smollm2-135m"
    place = store.place(find("qwen2.5-coder-0.5b"))
    place.parent.mkdir(parents=True)
    place.touch()
    assert OnnxTarget(block, TargetContext(name="small", environ=environ)).info.model == "qwen2.5-coder-0.5b"
    receipt = asked({**environ, "HYBRIDINFER_CACHE": environ["HYBRIDINFER_CACHE"] + "2"}, "auto")
    assert (receipt.attempts[0].code, receipt.target) == (Code.UNAVAILABLE, "sorry")
    assert "models pull smollm2-135m" in receipt.attempts[0].because


def test_threads_are_the_policy_s_then_the_machine_s(environ: dict[str, str], plain: Path) -> None:
    """What `models bench --tune` found counts where the policy says nothing."""
    store, model = Store.default(environ), find(str(plain))
    remember(store.root, model, Tuning(threads=1, spinning=False))
    for options, wanted in (({}, (1, False)), ({"threads": 2}, (2, True))):
        target = OnnxTarget(
            TargetBlock(kind="onnx", model=str(plain), options=options), TargetContext(name="small", environ=environ)
        )
        assert (target._tuned.threads, target._tuned.spinning) == wanted
