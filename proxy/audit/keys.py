"""The ledger's two keys, made once in its directory: one signs checkpoints, one veils values."""

from __future__ import annotations

import secrets
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
    load_pem_public_key,
)

from policy.reasons import Reason
from proxy.errors import OperatorFault
from proxy.keyfile import kept

SIGNING_KEY = "checkpoint.key"
PUBLIC_KEY = "checkpoint.pub"
VEILING_KEY = "redaction.key"
_VEILING_BYTES = 32


def signing_key(directory: Path) -> Ed25519PrivateKey:
    """The key that signs checkpoints, made if there is none; its public half stands beside it. Raises OSError."""
    fresh = Ed25519PrivateKey.generate().private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    stored = kept(directory / SIGNING_KEY, fresh)
    try:
        key = load_pem_private_key(stored, password=None)
    except ValueError as exc:
        raise _unusable(directory / SIGNING_KEY) from exc
    if not isinstance(key, Ed25519PrivateKey):
        raise _unusable(directory / SIGNING_KEY)
    public = key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    if kept(directory / PUBLIC_KEY, public, mode=0o644) != public:
        raise OperatorFault(Reason.LEDGER_UNAVAILABLE, f"{PUBLIC_KEY} is not the public half of {SIGNING_KEY}.")
    return key


def public_key(path: Path) -> Ed25519PublicKey:
    """The key that checkpoints are verified with. Raises OperatorFault, OSError."""
    try:
        key = load_pem_public_key(path.read_bytes())
    except ValueError as exc:
        raise _unusable(path) from exc
    if not isinstance(key, Ed25519PublicKey):
        raise _unusable(path)
    return key


def veiling_key(directory: Path) -> bytes:
    """32 bytes under which values are fingerprinted, made if there are none. Raises OSError."""
    key = kept(directory / VEILING_KEY, secrets.token_bytes(_VEILING_BYTES))
    if len(key) != _VEILING_BYTES:
        raise _unusable(directory / VEILING_KEY)
    return key


def _unusable(path: Path) -> OperatorFault:
    return OperatorFault(
        Reason.LEDGER_UNAVAILABLE,
        f"{path} is not a key of ours. Restore it; a new key could not speak for old records.",
    )
