"""Signed statements of how long a chain is and what its Merkle root is: what makes a cut-off tail visible.

C2SP signed notes (c2sp.org/signed-note) that carry tlog checkpoints (c2sp.org/tlog-checkpoint), Ed25519. When they
are written is the ledger's; whether the chain agrees with them is `verify`'s.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
from collections.abc import Iterator
from dataclasses import dataclass

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

_ED25519 = b"\x01"
_NOTE = re.compile(r"(?P<body>(?:[^\n]+\n)+)\n(?P<signatures>(?:— [^\n]+\n)+)")
_SIZE = re.compile(r"0|[1-9]\d{0,18}")


class NoteRefused(Exception):
    """A note that is malformed, or not signed by the key it is checked against."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Checkpoint:
    """So many records, and the root over them."""

    origin: str
    size: int
    root: bytes


def origin(chain: str) -> str:
    """The name under which a chain's checkpoints are signed: the note's key name as well."""
    return f"assentry.ledger/{chain}"


def signed(checkpoint: Checkpoint, key: Ed25519PrivateKey) -> str:
    """The signed note, ending in a newline."""
    body = f"{checkpoint.origin}\n{checkpoint.size}\n{_base64(checkpoint.root)}\n"
    signature = _key_id(checkpoint.origin, key.public_key()) + key.sign(body.encode())
    return f"{body}\n— {checkpoint.origin} {_base64(signature)}\n"


def opened(note: str, key: Ed25519PublicKey) -> Checkpoint:
    """What the note states, once its signature holds. Raises NoteRefused."""
    match = _NOTE.fullmatch(note)
    if match is None:
        raise NoteRefused("it is not a signed note")
    checkpoint = _checkpoint(match["body"])
    prefix = f"— {checkpoint.origin} "
    for line in match["signatures"].split("\n"):
        if line.startswith(prefix):
            return _attested(checkpoint, match["body"], _unbase64(line[len(prefix) :]), key)
    raise NoteRefused(f"nobody named {checkpoint.origin} signed it")


def verifier_key(name: str, key: Ed25519PublicKey) -> str:
    """The public key as signed-note tools take it: `<name>+<key id>+<key>`."""
    return f"{name}+{_key_id(name, key).hex()}+{_base64(_ED25519 + _raw(key))}"


def notes(text: str) -> Iterator[str]:
    """The notes of a checkpoints file (each followed by an empty line). Raises NoteRefused at whatever is none."""
    position = 0
    while position < len(text):
        match = _NOTE.match(text, position)
        if match is None or text[match.end() : match.end() + 1] != "\n":
            raise NoteRefused(f"what follows character {position} is not a whole signed note")
        yield match.group()
        position = match.end() + 1


def _attested(checkpoint: Checkpoint, body: str, signature: bytes, key: Ed25519PublicKey) -> Checkpoint:
    if signature[:4] != _key_id(checkpoint.origin, key):
        raise NoteRefused("it was signed by another key")
    try:
        key.verify(signature[4:], body.encode())
    except InvalidSignature as exc:
        raise NoteRefused("its signature does not hold") from exc
    return checkpoint


def _checkpoint(body: str) -> Checkpoint:
    parts = body.split("\n")
    if len(parts) < 4 or not _SIZE.fullmatch(parts[1]):
        raise NoteRefused("it is not a checkpoint")
    digest = _unbase64(parts[2])
    if len(digest) != 32:
        raise NoteRefused("its root is not 32 bytes long")
    return Checkpoint(origin=parts[0], size=int(parts[1]), root=digest)


def _key_id(name: str, key: Ed25519PublicKey) -> bytes:
    return hashlib.sha256(name.encode() + b"\n" + _ED25519 + _raw(key)).digest()[:4]


def _raw(key: Ed25519PublicKey) -> bytes:
    return key.public_bytes(Encoding.Raw, PublicFormat.Raw)


def _base64(raw: bytes) -> str:
    return base64.b64encode(raw).decode()


def _unbase64(text: str) -> bytes:
    try:
        raw = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError) as exc:
        raise NoteRefused("it holds something that is not base 64") from exc
    # One spelling only: otherwise a changed last character could go unseen.
    if _base64(raw) != text:
        raise NoteRefused("its base 64 is not canonical")
    return raw
