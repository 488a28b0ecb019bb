from __future__ import annotations

import base64

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from proxy.audit.checkpoint import Checkpoint, NoteRefused, notes, opened, origin, signed, verifier_key

KEY = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
CHECKPOINT = Checkpoint(origin=origin("w1"), size=7, root=b"r" * 32)
NOTE = signed(CHECKPOINT, KEY)


def test_a_note_is_origin_size_root_an_empty_line_and_a_signature() -> None:
    lines = NOTE.split("\n")
    assert lines[:4] == ["assentry.ledger/w1", "7", base64.b64encode(b"r" * 32).decode(), ""]
    assert lines[4].startswith("— assentry.ledger/w1 ")
    assert lines[5:] == [""]


def test_what_was_signed_is_opened() -> None:
    assert opened(NOTE, KEY.public_key()) == CHECKPOINT


def test_a_note_with_a_witness_s_signature_too_is_opened() -> None:
    assert opened(NOTE + "— witness.example AAAABBBB\n", KEY.public_key()) == CHECKPOINT


def test_no_byte_of_a_note_can_be_changed_unseen() -> None:
    raw = NOTE.encode()
    for position in range(len(raw)):
        for flip in (1, 2, 4, 32, 128):
            changed = bytearray(raw)
            changed[position] ^= flip
            with pytest.raises((NoteRefused, UnicodeDecodeError)):
                opened(changed.decode(), KEY.public_key())


def test_another_key_does_not_open_it() -> None:
    with pytest.raises(NoteRefused, match="another key"):
        opened(NOTE, Ed25519PrivateKey.generate().public_key())


def test_a_signature_under_another_name_does_not_count() -> None:
    other = signed(Checkpoint(origin=origin("w2"), size=7, root=b"r" * 32), KEY)
    mixed = NOTE.split("\n\n")[0] + "\n\n" + other.split("\n\n")[1]
    with pytest.raises(NoteRefused, match="nobody named"):
        opened(mixed, KEY.public_key())


def test_the_last_character_of_the_base_64_has_one_spelling() -> None:
    body, signature = NOTE.rstrip("\n").rsplit(" ", 1)
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
    twin = alphabet[alphabet.index(signature[-2]) ^ 1]
    loose = signature[:-2] + twin + "="
    assert base64.b64decode(loose) == base64.b64decode(signature)
    with pytest.raises(NoteRefused, match="canonical"):
        opened(f"{body} {loose}\n", KEY.public_key())


@pytest.mark.parametrize("size", ["07", "+7", "-1", "7 ", "x", ""])
def test_a_size_is_plain_decimal(size: str) -> None:
    with pytest.raises(NoteRefused):
        opened(NOTE.replace("\n7\n", f"\n{size}\n"), KEY.public_key())


def test_notes_are_told_apart_in_a_file() -> None:
    assert list(notes(f"{NOTE}\n{NOTE}\n")) == [NOTE, NOTE]


def test_a_torn_last_note_is_refused_after_the_whole_ones() -> None:
    found = notes(f"{NOTE}\n{NOTE[:-9]}")
    assert next(found) == NOTE
    with pytest.raises(NoteRefused):
        next(found)


def test_the_verifier_key_has_the_form_that_note_tools_take() -> None:
    name, key_id, encoded = verifier_key("x/y", KEY.public_key()).split("+", 2)
    assert name == "x/y"
    assert len(key_id) == 8
    assert base64.b64decode(encoded)[0] == 1
