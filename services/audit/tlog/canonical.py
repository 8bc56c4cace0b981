"""JSON with exactly one encoding: keys sorted, no spaces, integers only, UTF-8 without escapes that are
not needed. On values of this type it agrees with RFC 8785, except that integers may exceed 2^53. Pure.
"""

from __future__ import annotations

import json
from typing import NoReturn, TypeAlias

Json: TypeAlias = "bool | int | str | list[Json] | dict[str, Json] | None"


class NotCanonical(ValueError):
    """The bytes are not the one encoding of any value, or the value has none."""


_encoder = json.JSONEncoder(ensure_ascii=False, allow_nan=False, sort_keys=True, separators=(",", ":"))


def encode(value: Json) -> bytes:
    """The one encoding. Raises `NotCanonical` where a text holds a lone surrogate."""
    try:
        return _encoder.encode(value).encode()
    except UnicodeEncodeError:
        raise NotCanonical("a text is not valid Unicode") from None


def decode(data: bytes) -> Json:
    """The value, if `data` is its encoding. Raises `NotCanonical`."""
    try:
        value: Json = json.loads(data.decode(), parse_float=_refuse, parse_constant=_refuse)
        again = encode(value)
    except NotCanonical:
        raise
    except (ValueError, RecursionError):
        raise NotCanonical("not JSON with integers only") from None
    # A doubled key, a space or a needless escape does not survive this.
    if again != data:
        raise NotCanonical("not in canonical form")
    return value


def _refuse(number: str) -> NoReturn:
    raise ValueError(f"{number} is not an integer")
