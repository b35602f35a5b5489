"""How is a letter named on the command line, and how is what strangers sent printed?

A position is ``epoch/partition/offset/index``.  Text that a sender chose is printed without the
characters that a terminal would obey.
"""

from __future__ import annotations

import datetime
import re
from typing import Final

from schemas.errors import SettingsError
from schemas.positions import Position
from schemas.units import US_PER_S

_POSITION: Final = re.compile(r"(\d{1,18})/(\d{1,9})/(\d{1,18})(?:/(\d{1,9}))?")


def position_named(text: str) -> Position:
    """Return the position; a missing index is 0."""
    match = _POSITION.fullmatch(text)
    if match is None:
        raise SettingsError(f"{text!r} is no position; one looks like 1/3/12345/0 (see list)")
    epoch, partition, offset, index = match.groups(default="0")
    return Position(int(epoch), int(partition), int(offset), int(index))


def instant_us(text: str | None, *, option: str) -> int | None:
    """Return an RFC 3339 instant or a date in microseconds since 1970; without a zone it is UTC."""
    if text is None:
        return None
    try:
        moment = datetime.datetime.fromisoformat(text)
    except ValueError as error:
        raise SettingsError(f"{option} {text!r} is no RFC 3339 instant or date") from error
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=datetime.UTC)
    epoch = datetime.datetime(1970, 1, 1, tzinfo=datetime.UTC)
    return (moment - epoch) // datetime.timedelta(microseconds=1)


def instant_text(at_us: int) -> str:
    """Return the instant in UTC, to the millisecond; nothing for 0."""
    if not at_us:
        return ""
    moment = datetime.datetime.fromtimestamp(at_us // US_PER_S, datetime.UTC)
    moment = moment.replace(microsecond=at_us % US_PER_S)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def printable(text: str) -> str:
    """Return the text with what a terminal would obey written as an escape."""
    return "".join(
        char if char.isprintable() else char.encode("unicode_escape").decode() for char in text
    )


def bytes_text(raw: bytes) -> tuple[str, str]:
    """Return how the bytes are written (``text`` or ``hex``) and the bytes written so."""
    try:
        text = raw.decode()
    except UnicodeDecodeError:
        return "hex", raw.hex()
    lines = text.split("\n")
    if all(line.isprintable() for line in lines):
        return "text", text
    return "hex", raw.hex()
