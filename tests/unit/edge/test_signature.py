"""Signed models: only what the key's owner signed is loaded."""

from __future__ import annotations

import sys

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from model_signing import signing

from hybridinfer.edge.signature import Signature
from hybridinfer.errors import ConfigurationError, ModelCorrupt, ModelNotFound


def keys(place, name):
    """A fresh pair of keys, as PEM files."""
    private = ec.generate_private_key(ec.SECP256R1())
    secret, public = place / f"{name}.key", place / f"{name}.pub"
    secret.write_bytes(
        private.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
    )
    public.write_bytes(
        private.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    )
    return secret, public


@pytest.fixture
def signed(tmp_path):
    """A model, its signature and the public key."""
    model, signature = tmp_path / "m.gguf", tmp_path / "m.sig"
    model.write_bytes(b"weights" * 1000)
    secret, public = keys(tmp_path, "ours")
    signing.Config().use_elliptic_key_signer(private_key=secret).sign(model, signature)
    return model, Signature(file=signature, public_key=public)


def test_a_signed_model_passes(signed):
    """And the second look, at unchanged files, is free of charge."""
    model, signature = signed
    signature.check(model)
    signature.check(model)


def test_an_altered_model_does_not(signed):
    """One byte is enough, also after it passed once."""
    model, signature = signed
    signature.check(model)
    model.write_bytes(b"weights" * 999 + b"weightz")
    with pytest.raises(ModelCorrupt, match="does not hold"):
        signature.check(model)


def test_another_s_key_does_not(signed, tmp_path):
    """Whoever signs with a key that is not ours vouches for nothing."""
    model, signature = signed
    _, foreign = keys(tmp_path, "foreign")
    with pytest.raises(ModelCorrupt, match="does not hold"):
        Signature(file=signature.file, public_key=foreign).check(model)


def test_garbage_is_no_signature(signed):
    """Nor is an empty file."""
    model, signature = signed
    for content in ("", "{}", "signature"):
        signature.file.write_text(content)
        with pytest.raises(ModelCorrupt, match="does not hold"):
            signature.check(model)


def test_what_is_missing_is_named(signed, tmp_path):
    """The signature, the key, the extra."""
    model, signature = signed
    with pytest.raises(ModelNotFound, match=r"nobody\.pub"):
        Signature(file=signature.file, public_key=tmp_path / "nobody.pub").check(model)


def test_without_the_library_the_extra_is_named(signed, monkeypatch):
    """Signatures are an extra."""
    model, signature = signed
    monkeypatch.setitem(sys.modules, "model_signing", None)
    with pytest.raises(ConfigurationError, match=r"hybridinfer-sdk\[signing\]"):
        signature.check(model)
