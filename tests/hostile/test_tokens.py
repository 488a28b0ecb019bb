"""Threats J1, J2, J3 and J8: tokens that lie about what they are and who signed them, against a real issuer.

Every refusal is an IdentityFault whose words hold no byte of the token.
"""

# ruff: noqa: F401, F811 -- fixtures are imported by name
from __future__ import annotations

import base64
import hmac
import json
import logging

import jwt
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature

from config.settings import Algorithm
from policy.reasons import Reason
from tests.fakes.issuer import AGENTS, DISCOVERY, JWKS, FakeIssuer, SigningKey, b64, compact
from tests.fakes.verifiers import clock, idp, refusal, verify


@pytest.fixture(params=[Algorithm.RS256, Algorithm.ES256, Algorithm.EDDSA], ids=str)
async def any_idp(request, clock):
    async with FakeIssuer(algorithm=request.param, now=clock) as issuer:
        yield issuer


async def assert_invalid(verifier, text) -> None:
    assert (await refusal(verifier, text)).reason is Reason.IDENTITY_INVALID


# --- J1: algorithms --------------------------------------------------------------------------------------------------

NONE_SPELLINGS = [
    *("none", "None", "NONE", "nOnE", "none ", " none", "none\x00", "", "noｎe", "nonE", "unsecured"),
]


@pytest.mark.parametrize("spelling", NONE_SPELLINGS, ids=repr)
@pytest.mark.parametrize("signature", [b"", b"x"], ids=["unsigned", "signed"])
async def test_alg_none_is_refused_however_it_is_spelt(idp, verify, spelling, signature):
    verifier = verify(idp.settings())
    await assert_invalid(verifier, compact({"alg": spelling, "kid": "key-1"}, idp.claims("bot", AGENTS), signature))


@pytest.mark.parametrize("alg", [None, 5, True, ["ES256"], {"alg": "ES256"}, "absent"], ids=repr)
async def test_an_algorithm_that_is_not_a_text_is_refused(idp, verify, alg):
    header = {"kid": "key-1", "typ": "at+jwt"} | ({} if alg == "absent" else {"alg": alg})
    await assert_invalid(verify(idp.settings()), compact(header, idp.claims("bot", AGENTS)))


def public_secrets(key: SigningKey) -> dict[str, bytes]:
    """What an attacker can know of a public key, in every form in which it might pass for an HMAC secret."""
    public = key.private.public_key()
    pem = public.public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    der = public.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    jwk = key.public_jwk()
    return {
        "pem": pem,
        "pem without line end": pem.rstrip(),
        "der": der,
        "jwk": json.dumps(jwk).encode(),
        "jwks": json.dumps({"keys": [jwk]}).encode(),
        "modulus": base64.urlsafe_b64decode(jwk["n"] + "=="),
        "modulus text": jwk["n"].encode(),
        "empty": b"",
    }


@pytest.mark.parametrize("alg", ["HS256", "HS384", "HS512"])
async def test_a_public_key_is_never_taken_for_a_shared_secret(verify, clock, alg):
    async with FakeIssuer(algorithm=Algorithm.RS256, now=clock) as idp:
        verifier = verify(idp.settings())
        for secret in public_secrets(idp.keys[0]).values():
            signing_input = ".".join(compact({"alg": alg, "kid": "key-1"}, idp.claims("bot", AGENTS)).split(".")[:2])
            tag = hmac.new(secret, signing_input.encode(), "sha" + alg[2:]).digest()
            await assert_invalid(verifier, f"{signing_input}.{b64(tag)}")


async def test_an_asymmetric_algorithm_that_is_not_pinned_is_refused_though_the_signature_holds(verify, clock):
    async with FakeIssuer(algorithm=Algorithm.RS256, now=clock) as idp:
        other = SigningKey("key-1", Algorithm.RS512, idp.keys[0].private)
        verifier = verify(idp.settings())
        await assert_invalid(verifier, other.sign(idp.claims("bot", AGENTS)))
        assert idp.fetches[JWKS] == 0


async def test_a_key_published_for_one_algorithm_does_not_verify_another_pinned_one(verify, clock):
    async with FakeIssuer(algorithm=Algorithm.RS256, now=clock) as idp:
        verifier = verify(idp.settings(algorithms=("RS256", "PS256")))
        other = SigningKey("key-1", Algorithm.PS256, idp.keys[0].private)
        await assert_invalid(verifier, other.sign(idp.claims("bot", AGENTS)))


async def test_an_ecdsa_signature_of_zeros_is_refused(idp, verify):
    head = idp.agent_token().rpartition(".")[0]
    for signature in (bytes(64), b"\x00" * 31 + b"\x01" + bytes(32), bytes(32) + b"\x00" * 31 + b"\x01", b"\xff" * 64):
        await assert_invalid(verify(idp.settings()), f"{head}.{b64(signature)}")


async def test_an_ecdsa_signature_in_der_is_refused(idp, verify):
    head, _, signature = idp.agent_token().rpartition(".")
    raw = base64.urlsafe_b64decode(signature + "==")
    der = encode_dss_signature(int.from_bytes(raw[:32]), int.from_bytes(raw[32:]))
    await assert_invalid(verify(idp.settings()), f"{head}.{b64(der)}")


async def test_a_token_with_any_part_changed_is_refused(any_idp, verify):
    verifier = verify(any_idp.settings())
    text = any_idp.agent_token()
    assert (await verifier.agent(text)).agent == "corp:bot"
    head, payload, signature = text.split(".")
    other = any_idp.agent_token("other-bot").split(".")
    await assert_invalid(verifier, f"{head}.{other[1]}.{signature}")
    await assert_invalid(verifier, f"{head}.{payload}.{other[2]}")
    await assert_invalid(verifier, f"{head}.{payload}.{signature[:-4]}")
    await assert_invalid(verifier, f"{head}.{payload}.")


async def test_a_stranger_who_uses_the_issuers_key_id_is_refused(any_idp, verify):
    forged = SigningKey.make("key-1", any_idp.algorithm).sign(any_idp.claims("bot", AGENTS))
    await assert_invalid(verify(any_idp.settings()), forged)


# --- J2: key ids, and headers that point somewhere -------------------------------------------------------------------


@pytest.mark.parametrize(
    "kid",
    ["../../dev/null", "/etc/passwd", "' OR 1=1 --", "key-1\r\nX: y", "key-1\x00", "KEY-1", " key-1", "", "k" * 5000],
    ids=repr,
)
async def test_a_key_id_is_only_a_key_of_a_dictionary(idp, verify, kid, caplog):
    caplog.set_level(logging.DEBUG)
    await assert_invalid(verify(idp.settings()), idp.sign(idp.claims("bot", AGENTS), kid=kid))
    assert set(idp.fetches) == {DISCOVERY, JWKS}
    assert kid == "" or kid not in caplog.text


@pytest.mark.parametrize("kid", [["key-1"], {"a": 1}, 1, True], ids=repr)
async def test_a_key_id_that_is_not_a_text_is_refused(idp, verify, kid):
    await assert_invalid(verify(idp.settings()), idp.sign(idp.claims("bot", AGENTS), kid=kid))


async def test_a_key_id_that_is_an_address_is_not_fetched(idp, verify):
    async with FakeIssuer(name="evil") as evil:
        await assert_invalid(verify(idp.settings()), evil.sign(idp.claims("bot", AGENTS), kid=evil.url + JWKS))
        assert evil.fetches.total() == 0


async def test_keys_that_a_token_brings_along_are_neither_fetched_nor_used(idp, verify):
    verifier = verify(idp.settings())
    async with FakeIssuer(name="evil") as evil:
        forger = SigningKey.make("key-1", Algorithm.ES256)
        evil.keys = [forger]
        url = evil.url + JWKS
        chain = [base64.b64encode(b"certificate").decode()]
        for header in ({"jku": url}, {"x5u": url}, {"jwk": forger.public_jwk()}, {"x5c": chain}, {"x5t": "abc"}):
            await assert_invalid(verifier, forger.sign(idp.claims("bot", AGENTS), **header))
            await assert_invalid(verifier, forger.sign(idp.claims("bot", AGENTS), kid=None, **header))
        assert evil.fetches.total() == 0


# --- J3: forms that are not a plain signed token ---------------------------------------------------------------------


@pytest.mark.parametrize(
    "header",
    [
        {"crit": ["exp"]},
        {"crit": []},
        {"crit": ["b64"], "b64": True},
        {"b64": False},
        {"b64": False, "crit": ["b64"]},
        {"zip": "DEF"},
        {"cty": "JWT"},
        {"cty": "json"},
        {"enc": "A256GCM"},
    ],
    ids=str,
)
async def test_a_header_that_changes_what_the_token_is_is_refused(idp, verify, header):
    await assert_invalid(verify(idp.settings()), idp.sign(idp.claims("bot", AGENTS), **header))


async def test_other_serialisations_are_refused(idp, verify):
    verifier = verify(idp.settings())
    text = idp.agent_token()
    head, payload, signature = text.split(".")
    flat = json.dumps({"protected": head, "payload": payload, "signature": signature})
    general = json.dumps({"payload": payload, "signatures": [{"protected": head, "signature": signature}]})
    for form in (
        *(flat, general, f"{head}..{signature}", f"{head}.{payload}", f"{text}.x.x", f"{text}.", f".{text}"),
        *(f"{text}=", f"{head}=.{payload}.{signature}", f" {text}", f"{text}\n", f"Bearer {text}", f"{text}é"),
        *(text.replace(".", "．"), "", ".", "..", "...", "a.b.c", "\ud800.a.b", head),
    ):
        await assert_invalid(verifier, form)


async def test_a_token_has_one_spelling(idp, verify):
    """The spare bits of the last character of a segment are zero, or the same token would have many texts."""
    verifier = verify(idp.settings())
    head, payload, signature = idp.agent_token().split(".")
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    twin = alphabet[alphabet.index(signature[-1]) ^ 1]
    await assert_invalid(verifier, f"{head}.{payload}.{signature[:-1]}{twin}")


@pytest.mark.parametrize(
    "payload",
    [
        b'{"iss":"%s","iss":"x"}',
        b'{"sub":"a","sub":"b","iss":"%s"}',
        b'{"act":{"sub":"a","sub":"b"},"iss":"%s"}',
        b'{"exp":NaN,"iss":"%s"}',
        b'{"exp":Infinity,"iss":"%s"}',
        b'{"exp":1e999,"iss":"%s"}',
        b'{"exp":' + b"9" * 5000 + b',"iss":"%s"}',
        b'\xef\xbb\xbf{"iss":"%s"}',
        b'{"iss":"%s"} {}',
        b"[]",
        b"null",
        b"\xff\xfe",
        b"",
    ],
    ids=repr,
)
async def test_claims_that_two_readers_could_read_differently_are_refused(idp, verify, payload):
    signed = idp.sign(payload.replace(b"%s", idp.url.encode()))
    await assert_invalid(verify(idp.settings()), signed)


# --- J8: size and depth ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "header",
    [
        b'{"alg":' * 900 + b"1" + b"}" * 900,
        b"[" * 5000,
        b'{"a":' + b"[" * 2000 + b"]" * 2000 + b"}",
        b'{"alg":"ES256","n":' + b"9" * 5000 + b"}",
        b"{}",
        b"\x00",
    ],
    ids=["objects", "open lists", "lists", "digits", "empty", "nul"],
)
async def test_a_deep_or_odd_header_is_refused(idp, verify, header):
    await assert_invalid(verify(idp.settings()), compact(header, idp.claims("bot", AGENTS)))


@pytest.mark.parametrize("size", [16 * 1024, 1024 * 1024])
async def test_a_huge_token_is_refused_before_it_is_read(idp, verify, size):
    verifier = verify(idp.settings())
    await assert_invalid(verifier, idp.agent_token(padding="x" * size))
    await assert_invalid(verifier, "A" * (size + 1))
    assert idp.fetches.total() == 0


def test_the_forgeries_here_are_not_refused_for_the_tools_own_faults():
    """The fake's signatures verify with another library's reading of the same key."""
    key = SigningKey.make("k", Algorithm.ES256)
    assert isinstance(key.private, ec.EllipticCurvePrivateKey)
    assert jwt.decode(key.sign({"a": 1}), key.private.public_key(), algorithms=["ES256"]) == {"a": 1}
