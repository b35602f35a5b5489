"""Is a dead letter named, printed and sent again as it was, but for one header?"""

from __future__ import annotations

import pytest

from console.letters.naming import (
    bytes_text,
    instant_text,
    instant_us,
    position_named,
    printable,
)
from console.letters.replay import headers_of, home_of
from schemas.errors import SettingsError
from schemas.partitioning import partition_of
from schemas.positions import Position
from schemas.usage import REPLAYED_HEADER
from streams.history.dead_letters import Original
from tests.integration.history.records import event, usage_record

AT = Position(1, 3, 12_345, 7)


def original(*headers: tuple[str, bytes], value: bytes = b"not json") -> Original:
    return Original(value=value, key=b"chat", headers=headers)


def test_a_position_is_read_as_it_is_printed() -> None:
    assert position_named(str(AT)) == AT
    assert position_named("1/3/12345") == Position(1, 3, 12_345, 0)


@pytest.mark.parametrize("text", ["", "1/3", "1/3/-1/0", "1/3/x/0", "1/3/5/0/0"])
def test_what_is_no_position_is_said_with_an_example(text: str) -> None:
    with pytest.raises(SettingsError, match="1/3/12345/0"):
        position_named(text)


def test_a_replay_has_the_original_headers_and_names_the_position() -> None:
    headers = headers_of(original(("content-type", b"x"), ("h", b"\xff")), position=AT)

    assert headers == [("content-type", b"x"), ("h", b"\xff"), (REPLAYED_HEADER, b"1/3/12345/7")]


def test_the_letter_of_a_replay_goes_on_naming_the_first_letter() -> None:
    headers = headers_of(original((REPLAYED_HEADER, b"1/0/2/0")), position=AT)

    assert headers == [(REPLAYED_HEADER, b"1/0/2/0")]


def test_a_header_that_names_no_position_is_replaced() -> None:
    headers = headers_of(original((REPLAYED_HEADER, b"everything")), position=AT)

    assert headers == [(REPLAYED_HEADER, b"1/3/12345/7")]


def test_a_letter_goes_to_the_partition_of_its_pool() -> None:
    record = usage_record(0, event(1))
    assert record.value is not None

    home = home_of(original(*record.headers, value=record.value), partitions=8)

    assert home == partition_of("chat", 8)


def test_a_letter_whose_pool_is_not_readable_goes_by_its_key() -> None:
    assert home_of(original(), partitions=8) is None


def test_bytes_are_shown_as_text_or_as_hex() -> None:
    assert bytes_text(b'{"a": "\xc3\xa9"}\n') == ("text", '{"a": "é"}\n')
    assert bytes_text(b"\xff\x00") == ("hex", "ff00")
    assert bytes_text(b"\x1b[2J") == ("hex", "1b5b324a")


def test_what_a_terminal_would_obey_is_escaped() -> None:
    assert printable("a\x1b[2J\nb") == "a\\x1b[2J\\nb"


def test_instants_without_a_zone_are_utc() -> None:
    at_us = instant_us("2026-09-21T13:33:20.5", option="--from")

    assert at_us == instant_us("2026-09-21T15:33:20.5+02:00", option="--from")
    assert instant_text(at_us or 0) == "2026-09-21T13:33:20.500Z"
    assert (instant_us(None, option="--to"), instant_text(0)) == (None, "")


def test_what_is_no_instant_names_its_option() -> None:
    with pytest.raises(SettingsError, match="--to 'soon'"):
        instant_us("soon", option="--to")
