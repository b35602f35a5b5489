"""The wire: JSON bytes in, typed values out, and the other way round.

Unknown fields are ignored, so that an older reader can follow a newer writer.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any, TypeVar, cast

import msgspec

from schemas.errors import MalformedEventError

T = TypeVar("T")

_encoder = msgspec.json.Encoder(decimal_format="string")


def encode(message: msgspec.Struct) -> bytes:
    """Return the message as JSON bytes, fields in the order of their declaration."""
    return _encoder.encode(message)


def decode(raw: bytes, kind: type[T]) -> T:
    """Return the message that ``raw`` holds.

    Raises ``MalformedEventError`` (reason ``malformed``) naming the field that does not fit.
    """
    return cast(T, decode_union(raw, kind))


def decode_union(raw: bytes, kind: Any) -> Any:
    """Return the message of a tagged union that ``raw`` holds; errors as ``decode``."""
    try:
        return _decoder(kind).decode(raw)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise MalformedEventError("malformed", str(error)) from error


def union_decoder(kind: Any) -> Callable[[bytes], Any]:
    """Return ``decode_union`` for one kind: what reads many does not look the decoder up again."""
    decode_one = _decoder(kind).decode

    def decode_raw(raw: bytes) -> Any:
        try:
            return decode_one(raw)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise MalformedEventError("malformed", str(error)) from error

    return decode_raw


@cache
def _decoder(kind: Any) -> msgspec.json.Decoder[Any]:
    """Return the one decoder of a message type; the set of types bounds this cache."""
    return msgspec.json.Decoder(kind)
