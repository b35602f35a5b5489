"""Instants: RFC 3339 text as microseconds since 1970 UTC."""

from __future__ import annotations

import datetime

_EPOCH = datetime.datetime(1970, 1, 1, tzinfo=datetime.UTC)


def micros_of(text: str) -> int:
    """Return the instant in microseconds; ``ValueError`` when it is none or names no zone."""
    instant = datetime.datetime.fromisoformat(text)
    if instant.tzinfo is None:
        raise ValueError(f"{text!r} names no time zone")
    return (instant - _EPOCH) // datetime.timedelta(microseconds=1)
