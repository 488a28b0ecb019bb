"""Which published keys may verify, judged on documents as values."""

from __future__ import annotations

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from config.settings import Algorithm
from proxy.identity.jwks import MOST_KEYS, NotAKeySet, key_ring
from tests.fakes.issuer import SigningKey

RSA_KEY = SigningKey.make("rsa", Algorithm.RS256)
EC_KEY = SigningKey.make("ec", Algorithm.ES256)
ED_KEY = SigningKey.make("ed", Algorithm.EDDSA)
ALL = tuple(Algorithm)


def ring_of(*entries, pinned=ALL):
    return key_ring({"keys": list(entries)}, pinned=pinned)


def test_a_key_verifies_only_the_algorithm_that_it_names():
    ring = ring_of(RSA_KEY.public_jwk(alg="RS512"))
    assert ring.find(key_id="rsa", algorithm=Algorithm.RS512) is not None
    assert ring.find(key_id="rsa", algorithm=Algorithm.RS256) is None


def test_a_key_that_names_no_algorithm_verifies_the_pinned_ones_of_its_type():
    ring = ring_of(RSA_KEY.public_jwk(alg=None), pinned=(Algorithm.RS256, Algorithm.ES256))
    assert ring.by_id["rsa"].algorithms == {Algorithm.RS256}


@pytest.mark.parametrize(
    ("curve", "algorithm"),
    [(ec.SECP256R1(), Algorithm.ES256), (ec.SECP384R1(), Algorithm.ES384), (ec.SECP521R1(), Algorithm.ES512)],
)
def test_a_curve_signs_its_own_algorithm_and_no_other(curve, algorithm):
    key = SigningKey("k", algorithm, ec.generate_private_key(curve))
    assert ring_of(key.public_jwk(alg=None)).by_id["k"].algorithms == {algorithm}
    other = "ES384" if algorithm is Algorithm.ES256 else "ES256"
    assert ring_of(key.public_jwk(alg=other)).all == ()


@pytest.mark.parametrize(
    "changes",
    [
        {"use": "enc"},
        {"use": ["sig"]},
        {"key_ops": ["encrypt"]},
        {"key_ops": "verify"},
        {"alg": "HS256"},
        {"alg": "none"},
        {"alg": ["ES256"]},
        {"alg": "ES256K"},
        {"kty": "oct", "k": "c2VjcmV0"},
        {"kty": "RSA"},
        {"kty": ["EC"]},
        {"crv": "secp256k1"},
        {"crv": {"a": 1}},
        {"d": "AAAA"},
        {"x": "AAAA"},
        {"x": 5},
        {"x": None},
        {"kid": ["ec"]},
        {"kid": ""},
        {"kid": "k" * 513},
    ],
    ids=str,
)
def test_an_unfit_key_is_left_out_and_a_fit_one_beside_it_stays(changes):
    ring = ring_of(EC_KEY.public_jwk(**changes), ED_KEY.public_jwk())
    assert [key.id for key in ring.all] == ["ed"]
    assert len(ring.refused) == 1


@pytest.mark.parametrize("bits", [1024, 2047])
def test_a_short_rsa_key_is_left_out(bits):
    key = SigningKey("k", Algorithm.RS256, rsa.generate_private_key(public_exponent=65537, key_size=bits))
    assert ring_of(key.public_jwk()).all == ()


def test_an_oversized_rsa_modulus_is_left_out():
    assert ring_of(RSA_KEY.public_jwk(n="-" * 2800)).all == ()


def test_keys_that_share_a_kid_are_all_left_out():
    twin = SigningKey.make("ec", Algorithm.ES256)
    ring = ring_of(EC_KEY.public_jwk(), twin.public_jwk(), ED_KEY.public_jwk())
    assert [key.id for key in ring.all] == ["ed"]
    assert ring.refused == ("duplicate kid",) * 2


def test_an_encryption_key_does_not_take_the_name_of_a_signing_key():
    ring = ring_of(EC_KEY.public_jwk(), EC_KEY.public_jwk(use="enc"))
    assert ring.find(key_id="ec", algorithm=Algorithm.ES256) is not None


def test_a_token_without_kid_is_matched_only_when_one_key_fits():
    alone = ring_of(EC_KEY.public_jwk(kid=None), ED_KEY.public_jwk())
    assert alone.find(key_id=None, algorithm=Algorithm.ES256) is not None
    twin = SigningKey.make("other", Algorithm.ES256)
    assert ring_of(EC_KEY.public_jwk(), twin.public_jwk()).find(key_id=None, algorithm=Algorithm.ES256) is None


def test_a_key_without_kid_answers_to_no_kid():
    assert ring_of(EC_KEY.public_jwk(kid=None)).find(key_id="", algorithm=Algorithm.ES256) is None


@pytest.mark.parametrize("document", [{}, {"keys": {}}, {"keys": None}, {"keys": [{}] * (MOST_KEYS + 1)}], ids=str)
def test_something_else_is_not_a_key_set(document):
    with pytest.raises(NotAKeySet):
        key_ring(document, pinned=ALL)


def test_odd_members_of_a_set_are_left_out():
    assert ring_of(None, 5, "x", [], {}, EC_KEY.public_jwk()).find(key_id="ec", algorithm=Algorithm.ES256) is not None
