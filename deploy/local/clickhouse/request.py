"""What does one HTTP request ask for?

Parameters, headers and form fields of ClickHouse's HTTP interface become a ``QueryRequest``, plain
data.  What is not a name of the interface itself is a setting for this query, as in the server.
"""

from __future__ import annotations

import base64
import binascii
import email
import hmac
from collections.abc import Mapping
from dataclasses import dataclass, field
from email.message import Message
from typing import Final

from deploy.local.clickhouse import errors

FORM_BYTES_MAX: Final = 16_777_216  # a multipart form: typed parameters too long for a URL
SESSION_TIMEOUT_S: Final = 60  # ClickHouse's default_session_timeout
SESSION_TIMEOUT_MAX_S: Final = 3_600

# The interface's own names.  Everything else in the URL is a setting.
_RESERVED: Final = frozenset(
    (
        "query",
        "database",
        "default_format",
        "user",
        "password",
        "quota_key",
        "query_id",
        "session_id",
        "session_timeout",
        "session_check",
        "close_session",
        "role",
        "client_protocol_version",
        "wait_end_of_query",
        "buffer_size",
        "http_response_buffer_size",
        "compress",
        "decompress",
        "stacktrace",
        "output_format",
    )
)
_PARAMETER: Final = "param_"


@dataclass(frozen=True, slots=True)
class SessionRef:
    """The session that a request names."""

    session_id: str
    timeout_s: int
    must_exist: bool
    close: bool


@dataclass(frozen=True, slots=True)
class QueryRequest:
    """One query as asked for; ``query`` is the part in the URL or form, the body follows it."""

    query: str
    database: str | None
    default_format: str
    settings: Mapping[str, str]
    parameters: Mapping[str, str]
    session: SessionRef | None
    wait_end_of_query: bool
    accept_encoding: str
    content_encoding: str | None


@dataclass(frozen=True, slots=True)
class Credentials:
    """A user and password; the server holds one pair and compares in constant time."""

    user: str
    password: str = field(repr=False)

    def allow(self, other: Credentials) -> bool:
        same_user = hmac.compare_digest(self.user.encode(), other.user.encode())
        return same_user and hmac.compare_digest(self.password.encode(), other.password.encode())


def credentials_of(params: Mapping[str, str], headers: Mapping[str, str]) -> Credentials:
    """Return what the request presents: basic auth, X-ClickHouse headers or parameters."""
    scheme, _, encoded = headers.get("authorization", "").partition(" ")
    if scheme.lower() == "basic":
        return _basic(encoded)
    user = headers.get("x-clickhouse-user") or params.get("user") or "default"
    password = headers.get("x-clickhouse-key") or params.get("password") or ""
    return Credentials(user, password)


def parse(
    params: Mapping[str, str], headers: Mapping[str, str], *, form: Mapping[str, str] | None = None
) -> QueryRequest:
    """Return the request in ``params`` (URL), ``headers`` (lower-case names) and ``form``."""
    fields = {**params, **(form or {})}
    _refuse_native_compression(fields)
    return QueryRequest(
        query=fields.get("query", ""),
        database=fields.get("database") or headers.get("x-clickhouse-database") or None,
        default_format=fields.get("default_format")
        or headers.get("x-clickhouse-format")
        or "TabSeparated",
        settings={
            name: value
            for name, value in fields.items()
            if name not in _RESERVED and not name.startswith(_PARAMETER)
        },
        parameters={
            name.removeprefix(_PARAMETER): value
            for name, value in fields.items()
            if name.startswith(_PARAMETER)
        },
        session=_session(fields),
        wait_end_of_query=_flag(fields, "wait_end_of_query"),
        accept_encoding=_accepted(fields, headers),
        content_encoding=_encoding(headers),
    )


def form_fields(content_type: str, body: bytes) -> dict[str, str]:
    """Return the text fields of a multipart form; files (external tables) are refused."""
    message = email.message_from_bytes(
        b"Content-Type: " + content_type.encode() + b"\r\n\r\n" + body
    )
    fields: dict[str, str] = {}
    for part in message.walk():
        if part.is_multipart():
            continue
        name, value = _form_field(part)
        fields[name] = value
    return fields


def _form_field(part: Message) -> tuple[str, str]:
    name = part.get_param("name", header="content-disposition")
    if part.get_filename() is not None:
        raise errors.refusal(
            errors.NOT_IMPLEMENTED, "External tables in a form are not supported by this server."
        )
    payload = part.get_payload(decode=True)
    if not isinstance(name, str) or not isinstance(payload, bytes):
        raise errors.refusal(errors.BAD_REQUEST_PARAMETER, "A form field has no name.")
    return name, payload.decode()


def _basic(encoded: str) -> Credentials:
    try:
        user, _, password = base64.b64decode(encoded, validate=True).decode().partition(":")
    except (binascii.Error, UnicodeDecodeError) as failure:
        raise errors.refusal(
            errors.AUTHENTICATION_FAILED, "Invalid authentication: not Basic credentials."
        ) from failure
    return Credentials(user, password)


def _session(fields: Mapping[str, str]) -> SessionRef | None:
    session_id = fields.get("session_id")
    if not session_id:
        return None
    asked = fields.get("session_timeout", str(SESSION_TIMEOUT_S))
    if not asked.isascii() or not asked.isdigit() or int(asked) > SESSION_TIMEOUT_MAX_S:
        raise errors.refusal(
            errors.INVALID_SESSION_TIMEOUT,
            f"Invalid session timeout: '{asked}'; at most {SESSION_TIMEOUT_MAX_S} seconds.",
        )
    return SessionRef(
        session_id,
        timeout_s=int(asked),
        must_exist=_flag(fields, "session_check"),
        close=_flag(fields, "close_session"),
    )


def _accepted(fields: Mapping[str, str], headers: Mapping[str, str]) -> str:
    """Return the encodings that the answer may have; the setting is on where it is not given."""
    if "enable_http_compression" in fields and not _flag(fields, "enable_http_compression"):
        return ""
    return headers.get("accept-encoding", "")


def _encoding(headers: Mapping[str, str]) -> str | None:
    encoding = headers.get("content-encoding", "").strip().lower()
    return encoding if encoding not in ("", "identity") else None


def _refuse_native_compression(fields: Mapping[str, str]) -> None:
    if _flag(fields, "compress") or _flag(fields, "decompress"):
        raise errors.refusal(
            errors.NOT_IMPLEMENTED,
            "compress=1 and decompress=1 (ClickHouse's own block compression) are not supported "
            "by this server: use Accept-Encoding and Content-Encoding.",
        )


def _flag(fields: Mapping[str, str], name: str) -> bool:
    return fields.get(name, "0").lower() in ("1", "true")
