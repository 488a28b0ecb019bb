"""Reads JSON that nobody has vouched for, so that it can mean one thing only.

Decides what counts as a JSON object from an issuer or inside a token; what its members may be is the caller's
question. Python's own reader takes duplicate names, NaN and digits without end; this one does not.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import NoReturn, TypeAlias

Json: TypeAlias = "str | int | float | bool | list[Json] | dict[str, Json] | None"
JsonObject: TypeAlias = Mapping[str, Json]

LONGEST_NUMBER_DIGITS = 24
"""More than any time, and less than makes `int()` slow or refuse (it refuses at 4,300)."""


class NotJson(ValueError):
    """The bytes are not one unambiguous JSON object."""


def json_object(raw: bytes) -> JsonObject:
    """The object in `raw`: UTF-8, no byte order mark, no name twice, finite numbers.

    Raises NotJson for everything else, also for nesting that exhausts the reader.
    """
    try:
        found: Json = json.loads(
            raw.decode("utf-8"),
            object_pairs_hook=_once_each,
            parse_int=_integer,
            parse_float=_finite,
            parse_constant=_no_constant,
        )
    except (ValueError, RecursionError) as exc:
        raise NotJson("not one unambiguous JSON object") from exc
    if not isinstance(found, dict):
        raise NotJson("not a JSON object")
    return found


def _once_each(pairs: list[tuple[str, Json]]) -> dict[str, Json]:
    members = dict(pairs)
    if len(members) != len(pairs):
        raise NotJson("a member name stands twice")
    return members


def _integer(digits: str) -> int:
    if len(digits) > LONGEST_NUMBER_DIGITS:
        raise NotJson("a number is too long")
    return int(digits)


def _finite(digits: str) -> float:
    number = float(digits)
    if not math.isfinite(number):
        raise NotJson("a number is not finite")
    return number


def _no_constant(name: str) -> NoReturn:
    raise NotJson(f"{name} is not JSON")
