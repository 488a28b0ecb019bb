"""Which published keys may verify a token: filtered once, when a key set is loaded.

Decides by RFC 7517, RFC 7518 and RFC 8725 section 3; fetching sets and choosing among issuers is
`proxy.identity.issuers`' work.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TypeAlias

import jwt
from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePublicKey
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey

from config.settings import Algorithm
from proxy.identity.jsontext import Json, JsonObject

PublicKey: TypeAlias = RSAPublicKey | EllipticCurvePublicKey | Ed25519PublicKey

MOST_KEYS = 200
"""More than any issuer publishes; a set with more is refused whole."""
RSA_BITS = range(2048, 8192 + 1)
"""Below: NIST SP 800-131A. Above: one verification would cost milliseconds."""
KEY_ID_CHARACTERS = 512

_RSA = frozenset(a for a in Algorithm if a.value.startswith(("RS", "PS")))
_FAMILIES: Mapping[tuple[str, str | None], frozenset[Algorithm]] = {
    ("RSA", None): _RSA,
    ("EC", "P-256"): frozenset({Algorithm.ES256}),
    ("EC", "P-384"): frozenset({Algorithm.ES384}),
    ("EC", "P-521"): frozenset({Algorithm.ES512}),
    ("OKP", "Ed25519"): frozenset({Algorithm.EDDSA}),
}
"""Key type and curve, and what they may sign (RFC 7518 section 3.1, RFC 8037 section 3.1). No `oct`: a shared
secret has no place in a published set."""


class NotAKeySet(ValueError):
    """The document is not a JWK Set."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PublishedKey:
    """A public key that may verify signatures of the algorithms named, and of no other."""

    id: str | None
    key: PublicKey
    algorithms: frozenset[Algorithm]


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyRing:
    """The usable keys of one issuer. May be empty: then no token of the issuer verifies."""

    by_id: Mapping[str, PublishedKey]
    all: tuple[PublishedKey, ...]
    refused: tuple[str, ...] = ()
    """Why keys were left out, a phrase each; never key bytes."""

    def find(self, *, key_id: str | None, algorithm: Algorithm) -> PublishedKey | None:
        """The one key that may verify such a token, or None.

        A token without `kid` is taken only when a single key fits its algorithm (OpenID Connect Core section 10.1).
        """
        if key_id is not None:
            named = self.by_id.get(key_id)
            return named if named is not None and algorithm in named.algorithms else None
        fitting = [key for key in self.all if algorithm in key.algorithms]
        return fitting[0] if len(fitting) == 1 else None


def key_ring(document: JsonObject, *, pinned: Iterable[Algorithm]) -> KeyRing:
    """The keys of a JWK Set that fit the issuer's pinned algorithms. Raises NotAKeySet.

    Keys that do not fit are left out, and so is every key whose `kid` stands twice among those that do: which of
    the two was meant cannot be known.
    """
    entries = document.get("keys")
    if not isinstance(entries, list) or len(entries) > MOST_KEYS:
        raise NotAKeySet("not a JWK Set, or one with too many keys")
    allowed = frozenset(pinned)
    read = [_published_key(entry, allowed=allowed) for entry in entries]
    usable = [key for key in read if isinstance(key, PublishedKey)]
    times = Counter(key.id for key in usable if key.id is not None)
    unique = tuple(key for key in usable if key.id is None or times[key.id] == 1)
    refused = [reason for reason in read if isinstance(reason, str)]
    refused += ["duplicate kid"] * (len(usable) - len(unique))
    return KeyRing(by_id={key.id: key for key in unique if key.id is not None}, all=unique, refused=tuple(refused))


def _published_key(entry: Json, *, allowed: frozenset[Algorithm]) -> PublishedKey | str:
    """The key of one set member, or the phrase that says why it is left out."""
    if not isinstance(entry, dict):
        return "not an object"
    key_id = entry.get("kid")
    if key_id is not None and not (isinstance(key_id, str) and 0 < len(key_id) <= KEY_ID_CHARACTERS):
        return "odd kid"
    if (objection := _unfit(entry)) is not None:
        return objection
    algorithms = _algorithms(entry) & allowed
    if not algorithms:
        return "algorithm not pinned for this issuer, or not of this key type"
    key = _public_key(entry, algorithm=min(algorithms))
    if key is None:
        return "unreadable, or of a refused size"
    return PublishedKey(id=key_id, key=key, algorithms=algorithms)


def _unfit(entry: JsonObject) -> str | None:
    if entry.get("use", "sig") != "sig":
        return "use is not sig"
    operations = entry.get("key_ops", ["verify"])
    if not isinstance(operations, list) or "verify" not in operations:
        return "key_ops lacks verify"
    if "d" in entry or "k" in entry:
        # Whoever reads the set could sign with it (RFC 7517 section 9.2).
        return "private or symmetric key material"
    return None


def _algorithms(entry: JsonObject) -> frozenset[Algorithm]:
    key_type, curve = entry.get("kty"), entry.get("crv")
    if not isinstance(key_type, str) or not (curve is None or isinstance(curve, str)):
        return frozenset()
    family = _FAMILIES.get((key_type, curve), frozenset())
    named = entry.get("alg")
    return family if named is None else frozenset(a for a in family if a.value == named)


def _public_key(entry: JsonObject, *, algorithm: Algorithm) -> PublicKey | None:
    try:
        key = jwt.PyJWK(dict(entry), algorithm=algorithm.value).key
    except (jwt.PyJWTError, ValueError, TypeError, AttributeError, OverflowError):
        # PyJWT and cryptography between them raise all of these for members of odd types and values.
        return None
    if isinstance(key, RSAPublicKey):
        return key if key.key_size in RSA_BITS else None
    return key if isinstance(key, EllipticCurvePublicKey | Ed25519PublicKey) else None
