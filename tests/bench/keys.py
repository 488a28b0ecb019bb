"""The issuer of one run: an RSA key made for it, its public half in the three shapes that peers want, and tokens.

RS256, because every peer verifies it, and it is the cheapest to verify.
"""

from __future__ import annotations

import json
import time
from dataclasses import dataclass, field
from pathlib import Path

import jwt
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from jwt.algorithms import RSAAlgorithm

AGENTS, PEOPLE = "agents", "people"
"""Audiences."""
_KID = "bench"
_LIFETIME_S = 8 * 3600


@dataclass(frozen=True, slots=True, kw_only=True)
class Keys:
    """Signs as `issuer`."""

    issuer: str
    _private: rsa.RSAPrivateKey = field(default_factory=lambda: rsa.generate_private_key(65537, 2048))

    def agent(self) -> str:
        """A token of the agent, with the claims that such tokens have."""
        more = {"client_id": "bot", "owner": "olga", "scope": "models:read files:write", "tenant": "acme"}
        return self._signed({"sub": "bot", "aud": AGENTS, "groups": ["bots", "staff", "night"], **more})

    def person(self, subject: str) -> str:
        """A token of somebody who may approve."""
        now = int(time.time())
        return self._signed(
            {"sub": subject, "aud": PEOPLE, "name": subject, "groups": ["finance"], "auth_time": now, "amr": ["mfa"]}
        )

    def jwks(self) -> str:
        """The public key as a JSON Web Key Set."""
        key = RSAAlgorithm.to_jwk(self._private.public_key(), as_dict=True)
        return json.dumps({"keys": [{**key, "kid": _KID, "use": "sig", "alg": "RS256"}]})

    def write_pem(self, path: Path) -> Path:
        """The public key in a PEM file."""
        form = (serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
        path.write_bytes(self._private.public_key().public_bytes(*form))
        return path

    def _signed(self, claims: dict[str, object]) -> str:
        now = int(time.time())
        whole = {"iss": self.issuer, "iat": now, "nbf": now, "exp": now + _LIFETIME_S, "jti": f"{now:x}", **claims}
        return jwt.encode(whole, self._private, algorithm="RS256", headers={"kid": _KID, "typ": "at+jwt"})
