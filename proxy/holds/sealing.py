"""Seals what is put into the store, so that the store, its files and its backups hold nothing readable.

AES-256-GCM. The seal is bound to what it belongs to, so that one hold's bytes cannot be passed off as another's, or an
old revision as the present one. Where the sealed bytes are kept is not decided here.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import secrets
from pathlib import Path
from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from config import settings
from policy.reasons import Reason
from proxy.errors import OperatorFault
from proxy.keyfile import kept

_KEY_BYTES: Final = 32
_ID_BYTES: Final = 4
_NONCE_BYTES: Final = 12
"""Random: good for 2^32 seals under one key (NIST SP 800-38D section 8.3), a thousand holds a day for 11,000 years."""


class Sealer:
    """Seals with the first key, opens with any. Sealed bytes: key id, nonce, AES-256-GCM ciphertext with its tag."""

    def __init__(self, key: bytes, *former: bytes) -> None:
        keys = (key, *former)
        if any(len(each) != _KEY_BYTES for each in keys):
            raise OperatorFault(Reason.STORE_UNAVAILABLE, "store.encryption_key must be 32 bytes, base64.")
        self._id = _key_id(key)
        self.veiling_key = hmac.digest(key, b"assentry: secrets in what people are shown", "sha256")
        """For fingerprints that every replica has to agree on; tells nothing of the key it comes from."""
        self._ciphers = {_key_id(each): AESGCM(each) for each in keys}

    def seal(self, plain: bytes, *, bound_to: str) -> bytes:
        """The sealed bytes; only `open` with the same `bound_to` gives the plain ones back."""
        nonce = secrets.token_bytes(_NONCE_BYTES)
        return self._id + nonce + self._ciphers[self._id].encrypt(nonce, plain, bound_to.encode())

    def open(self, sealed: bytes, *, bound_to: str) -> bytes:
        """The plain bytes. Raises OperatorFault when they were changed, moved, or sealed with a key we lack."""
        cipher = self._ciphers.get(sealed[:_ID_BYTES])
        if cipher is None:
            raise OperatorFault(
                Reason.STORE_UNAVAILABLE,
                "The store holds something sealed with another key. Add it to store.former_encryption_keys.",
            )
        nonce, rest = sealed[_ID_BYTES : _ID_BYTES + _NONCE_BYTES], sealed[_ID_BYTES + _NONCE_BYTES :]
        try:
            return cipher.decrypt(nonce, rest, bound_to.encode())
        except (InvalidTag, ValueError) as exc:
            raise OperatorFault(
                Reason.STORE_UNAVAILABLE, f"What the store holds for {bound_to!r} was changed by somebody else."
            ) from exc


def sealer(store: settings.Store, *, data: Path) -> Sealer:
    """The sealer of the settings; with an embedded store and no key, one generated at `<data>/sealing.key`."""
    former = tuple(_decoded(key.get_secret_value()) for key in store.former_encryption_keys)
    if store.encryption_key is not None:
        return Sealer(_decoded(store.encryption_key.get_secret_value()), *former)
    if store.url is not None:
        raise OperatorFault(
            Reason.STORE_UNAVAILABLE,
            "store.url is set, so store.encryption_key must be too: every replica needs the same key.",
        )
    return Sealer(_kept_key(data / "sealing.key"), *former)


def _kept_key(path: Path) -> bytes:
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        key = kept(path, base64.b64encode(secrets.token_bytes(_KEY_BYTES)) + b"\n")
        if path.stat().st_mode & 0o077:
            raise OperatorFault(Reason.STORE_UNAVAILABLE, f"Others can read {path}. Set its mode to 0600.")
        return _decoded(key.decode("ascii", "replace"))
    except OSError as exc:
        raise OperatorFault(Reason.STORE_UNAVAILABLE, f"The key file {path} cannot be used: {exc.strerror}.") from exc


def _decoded(text: str) -> bytes:
    try:
        return base64.b64decode(text.strip(), validate=True)
    except (binascii.Error, ValueError) as exc:
        raise OperatorFault(Reason.STORE_UNAVAILABLE, "A key of the store is not base64.") from exc


def _key_id(key: bytes) -> bytes:
    return hashlib.sha256(b"assentry-key-id" + key).digest()[:_ID_BYTES]
