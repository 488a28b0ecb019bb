from __future__ import annotations

import base64
import stat
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import SecretStr

from config import settings
from proxy.errors import OperatorFault
from proxy.holds.sealing import Sealer, sealer

OLD, NEW = b"o" * 32, b"n" * 32


@given(plain=st.binary(max_size=100), place=st.text(st.characters(exclude_categories=("Cs",)), max_size=20))
def test_what_was_sealed_is_opened(plain: bytes, place: str):
    assert Sealer(OLD).open(Sealer(OLD).seal(plain, bound_to=place), bound_to=place) == plain


def test_the_same_bytes_never_look_the_same_twice():
    one = Sealer(OLD)
    assert one.seal(b"x" * 40, bound_to="a") != one.seal(b"x" * 40, bound_to="a")


def test_what_was_sealed_for_one_place_does_not_open_in_another():
    with pytest.raises(OperatorFault):
        Sealer(OLD).open(Sealer(OLD).seal(b"plain", bound_to="a"), bound_to="b")


@given(flip=st.integers(min_value=0, max_value=36))
def test_one_changed_byte_is_noticed(flip: int):
    sealed = bytearray(Sealer(OLD).seal(b"plain", bound_to="a"))
    sealed[flip] ^= 1
    with pytest.raises(OperatorFault):
        Sealer(OLD).open(bytes(sealed), bound_to="a")


@pytest.mark.parametrize("length", [0, 3, 4, 15, 16, 20])
def test_cut_off_bytes_are_noticed(length: int):
    sealed = Sealer(OLD).seal(b"plain", bound_to="a")
    with pytest.raises(OperatorFault):
        Sealer(OLD).open(sealed[:length], bound_to="a")


def test_a_former_key_still_opens_and_no_longer_seals():
    sealed = Sealer(OLD).seal(b"plain", bound_to="a")
    rotated = Sealer(NEW, OLD)
    assert rotated.open(sealed, bound_to="a") == b"plain"
    with pytest.raises(OperatorFault):
        Sealer(OLD).open(rotated.seal(b"plain", bound_to="a"), bound_to="a")


def test_the_generated_key_is_kept_and_nobody_else_may_read_it(tmp_path: Path):
    sealed = sealer(settings.Store(), data=tmp_path).seal(b"plain", bound_to="a")
    assert sealer(settings.Store(), data=tmp_path).open(sealed, bound_to="a") == b"plain"
    assert stat.S_IMODE((tmp_path / "sealing.key").stat().st_mode) == 0o600
    assert [path.name for path in tmp_path.iterdir()] == ["sealing.key"]


def test_a_key_file_that_others_can_read_is_refused(tmp_path: Path):
    sealer(settings.Store(), data=tmp_path)
    (tmp_path / "sealing.key").chmod(0o644)
    with pytest.raises(OperatorFault, match="0600"):
        sealer(settings.Store(), data=tmp_path)


def test_a_shared_store_needs_a_shared_key(tmp_path: Path):
    with pytest.raises(OperatorFault, match="every replica"):
        sealer(settings.Store(url="redis://127.0.0.1:1"), data=tmp_path)


@pytest.mark.parametrize("key", ["c2hvcnQ=", "not base64!", ""])
def test_a_key_of_the_wrong_size_or_form_is_refused_without_being_shown(tmp_path: Path, key: str):
    with pytest.raises(OperatorFault) as caught:
        sealer(settings.Store(encryption_key=SecretStr(key)), data=tmp_path)
    assert not key or key not in str(caught.value)


def test_the_keys_of_the_settings_are_used(tmp_path: Path):
    def text(key: bytes) -> SecretStr:
        return SecretStr(base64.b64encode(key).decode())

    rotated = settings.Store(encryption_key=text(NEW), former_encryption_keys=(text(OLD),))
    sealed = Sealer(OLD).seal(b"plain", bound_to="a")
    assert sealer(rotated, data=tmp_path).open(sealed, bound_to="a") == b"plain"
    assert list(tmp_path.iterdir()) == []
