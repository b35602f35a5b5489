"""How does an engine's error become ClickHouse's own answer: code, text and HTTP status?

The engine says "Code: 60. DB::Exception: … (UNKNOWN_TABLE)"; a server sends the same text with its
version, the number in ``X-ClickHouse-Exception-Code`` and the status of its own table
(``exceptionCodeToHTTPStatus``), which clients rely on to tell a caller's fault from a server's.
"""

from __future__ import annotations

import re
from typing import Final

BAD_ARGUMENTS: Final = 36
NOT_IMPLEMENTED: Final = 48
SYNTAX_ERROR: Final = 62
UNKNOWN_TYPE_OF_QUERY: Final = 78
UNKNOWN_COMPRESSION_METHOD: Final = 89
READONLY: Final = 164
TOO_MANY_SIMULTANEOUS_QUERIES: Final = 202
SOCKET_TIMEOUT: Final = 209
CANNOT_DECOMPRESS: Final = 271
INTO_OUTFILE_NOT_ALLOWED: Final = 358
SESSION_NOT_FOUND: Final = 372
SESSION_IS_LOCKED: Final = 373
INVALID_SESSION_TIMEOUT: Final = 374
QUERY_WAS_CANCELLED: Final = 394
BAD_REQUEST_PARAMETER: Final = 408
AUTHENTICATION_FAILED: Final = 516
STD_EXCEPTION: Final = 1001

_NAMES: Final = {
    BAD_ARGUMENTS: "BAD_ARGUMENTS",
    NOT_IMPLEMENTED: "NOT_IMPLEMENTED",
    SYNTAX_ERROR: "SYNTAX_ERROR",
    UNKNOWN_TYPE_OF_QUERY: "UNKNOWN_TYPE_OF_QUERY",
    UNKNOWN_COMPRESSION_METHOD: "UNKNOWN_COMPRESSION_METHOD",
    READONLY: "READONLY",
    TOO_MANY_SIMULTANEOUS_QUERIES: "TOO_MANY_SIMULTANEOUS_QUERIES",
    SOCKET_TIMEOUT: "SOCKET_TIMEOUT",
    CANNOT_DECOMPRESS: "CANNOT_DECOMPRESS",
    INTO_OUTFILE_NOT_ALLOWED: "INTO_OUTFILE_NOT_ALLOWED",
    SESSION_NOT_FOUND: "SESSION_NOT_FOUND",
    SESSION_IS_LOCKED: "SESSION_IS_LOCKED",
    INVALID_SESSION_TIMEOUT: "INVALID_SESSION_TIMEOUT",
    BAD_REQUEST_PARAMETER: "BAD_REQUEST_PARAMETER",
    AUTHENTICATION_FAILED: "AUTHENTICATION_FAILED",
    STD_EXCEPTION: "STD_EXCEPTION",
}

# The server's own table.  What is not in it is 500; 202 is 503 here, so that clients try again.
_BAD_REQUEST: Final = frozenset(
    (6, 8, 15, 25, 26, 27, 36, 37, 38, 41, 44, 53, 62, 72, 117, 123, 167, 168, 223, 321, 376)
) | frozenset((427, 441, 675, 676))
_NOT_FOUND: Final = frozenset((46, 47, 50, 56, 60, 63, 73, 78, 81, 115, 152, 336, 511))
_FORBIDDEN: Final = frozenset((192, 193, 497, 512, 516))
_UNAVAILABLE: Final = frozenset((76, 202, 209, 439))
_SINGLE: Final = {48: 501, 159: 408, 194: 401, 229: 413, 381: 411, 779: 415}

_CODE: Final = re.compile(r"Code: (\d+)\. ")
_REPEATED_PREFIX: Final = re.compile(r"(?:Code: \d+\. DB::Exception: )+(?=Code: \d+\. )")
_VERSION: Final = re.compile(r"(?: \(version [\d.]+(?: \(official build\))?\)\.?)+")


class ClickHouseError(Exception):
    """What the engine or the interface refuses; ``code`` is ClickHouse's number for it."""

    def __init__(self, code: int, text: str) -> None:
        super().__init__(text)
        self.code = code
        self.text = text

    @property
    def http_status(self) -> int:
        return http_status(self.code)


def refusal(code: int, reason: str) -> ClickHouseError:
    """Return the error that the interface itself raises, worded as the server words its own."""
    return ClickHouseError(code, f"Code: {code}. DB::Exception: {reason} ({_NAMES[code]})")


def from_engine(text: str) -> ClickHouseError:
    """Return the error in ``text``, whatever chdb and nested exceptions put around it."""
    found = _CODE.search(text)
    if found is None:
        return refusal(STD_EXCEPTION, text)
    plain = _VERSION.sub("", text[found.start() :])
    innermost = _REPEATED_PREFIX.sub("", plain).strip()
    code = _CODE.match(innermost)
    return ClickHouseError(int((code or found).group(1)), innermost)


def body_of(error: ClickHouseError, version: str) -> bytes:
    """Return the text that a server of ``version`` sends for ``error``."""
    return f"{error.text} (version {version} (official build))\n".encode()


def http_status(code: int) -> int:
    """Return the HTTP status of ClickHouse's error ``code``."""
    if code in _BAD_REQUEST:
        return 400
    if code in _NOT_FOUND:
        return 404
    if code in _FORBIDDEN:
        return 403
    if code in _UNAVAILABLE:
        return 503
    return _SINGLE.get(code, 500)
