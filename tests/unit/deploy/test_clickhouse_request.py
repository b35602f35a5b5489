"""What a request asks for, and who asks."""

from __future__ import annotations

from base64 import b64encode

import pytest

from deploy.local.clickhouse.errors import ClickHouseError, body_of, from_engine
from deploy.local.clickhouse.request import (
    Credentials,
    SessionRef,
    credentials_of,
    form_fields,
    parse,
)

BASIC = f"Basic {b64encode(b'ann:pass:word').decode()}"


def test_names_of_the_interface_are_no_settings() -> None:
    asked = parse(
        {
            "query": "SELECT 1",
            "database": "metering",
            "default_format": "JSON",
            "query_id": "q",
            "wait_end_of_query": "1",
            "client_protocol_version": "54405",
            "max_threads": "2",
            "param_tenant": "acme",
        },
        {},
    )

    assert (asked.query, asked.database, asked.default_format) == ("SELECT 1", "metering", "JSON")
    assert asked.settings == {"max_threads": "2"}
    assert asked.parameters == {"tenant": "acme"}
    assert asked.wait_end_of_query


def test_headers_stand_in_for_parameters() -> None:
    asked = parse({}, {"x-clickhouse-database": "metering", "x-clickhouse-format": "CSV"})

    assert (asked.database, asked.default_format) == ("metering", "CSV")


def test_an_answer_is_compressed_unless_the_setting_is_off() -> None:
    accepting = {"accept-encoding": "lz4"}

    assert parse({}, accepting).accept_encoding == "lz4"
    assert parse({"enable_http_compression": "0"}, accepting).accept_encoding == ""


def test_form_fields_join_the_url() -> None:
    form = form_fields(
        "multipart/form-data; boundary=XX",
        b'--XX\r\nContent-Disposition: form-data; name="query"\r\n\r\nSELECT {x:String}\r\n'
        b'--XX\r\nContent-Disposition: form-data; name="param_x"\r\n\r\n\xc3\xa4\r\n--XX--\r\n',
    )
    asked = parse({"max_threads": "1"}, {}, form=form)

    assert (asked.query, asked.parameters) == ("SELECT {x:String}", {"x": "ä"})
    assert asked.settings == {"max_threads": "1"}


def test_external_tables_in_a_form_are_refused() -> None:
    with pytest.raises(ClickHouseError, match="NOT_IMPLEMENTED"):
        form_fields(
            "multipart/form-data; boundary=XX",
            b'--XX\r\nContent-Disposition: form-data; name="t"; filename="t"\r\n\r\n1\r\n'
            b"--XX--\r\n",
        )


def test_block_compression_is_refused_by_name() -> None:
    with pytest.raises(ClickHouseError, match="compress=1"):
        parse({"decompress": "1"}, {})


def test_a_session_has_a_bounded_life() -> None:
    asked = parse({"session_id": "s", "session_timeout": "5", "session_check": "1"}, {})

    assert asked.session == SessionRef("s", timeout_s=5, must_exist=True, close=False)
    with pytest.raises(ClickHouseError, match="INVALID_SESSION_TIMEOUT"):
        parse({"session_id": "s", "session_timeout": "86400"}, {})


@pytest.mark.parametrize(
    ("params", "headers", "expected"),
    [
        ({}, {"authorization": BASIC}, Credentials("ann", "pass:word")),
        ({}, {"x-clickhouse-user": "ann", "x-clickhouse-key": "k"}, Credentials("ann", "k")),
        ({"user": "ann", "password": "p"}, {}, Credentials("ann", "p")),
        ({}, {}, Credentials("default", "")),
    ],
    ids=["basic", "headers", "parameters", "nobody"],
)
def test_a_login_is_presented_in_three_ways(
    params: dict[str, str], headers: dict[str, str], expected: Credentials
) -> None:
    assert credentials_of(params, headers) == expected


def test_only_the_same_user_and_password_are_allowed() -> None:
    held = Credentials("ann", "secret")

    assert held.allow(Credentials("ann", "secret"))
    assert not held.allow(Credentials("ann", ""))
    assert not held.allow(Credentials("bob", "secret"))
    assert "secret" not in repr(held)


@pytest.mark.parametrize(
    ("text", "code", "status"),
    [
        ("Code: 60. DB::Exception: Unknown table. (UNKNOWN_TABLE)", 60, 404),
        ("Streaming insert finish failed: Code: 27. DB::Exception: Bad. (X)", 27, 400),
        ("Code: 202. DB::Exception: Busy. (X)", 202, 503),
        ("Code: 395. DB::Exception: Thrown. (X)", 395, 500),
        ("something else", 1001, 500),
    ],
)
def test_an_engines_error_gets_the_servers_status(text: str, code: int, status: int) -> None:
    error = from_engine(text)

    assert (error.code, error.http_status) == (code, status)


def test_nested_errors_are_told_once() -> None:
    inner = "Unknown format Nope. (UNKNOWN_FORMAT)"
    nested = f"Code: 73. DB::Exception: Code: 73. DB::Exception: {inner} (version 26.9.2.1)"

    assert body_of(from_engine(nested), "26.9") == (
        b"Code: 73. DB::Exception: Unknown format Nope. (UNKNOWN_FORMAT) "
        b"(version 26.9 (official build))\n"
    )
