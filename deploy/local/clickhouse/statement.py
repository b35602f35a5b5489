"""What is this statement, and where does its data begin?

ClickHouse's HTTP interface joins the ``query`` parameter and the body into one text.  An INSERT's
data follows its FORMAT or VALUES in the same bytes, so the text is read token by token just far
enough to tell an INSERT from its data, find the output format, and refuse what a server refuses:
several statements in one request, and files on the client's side.  The engine alone judges the
rest.  Pure: bytes in, a ``Statement`` out.
"""

from __future__ import annotations

import enum
import itertools
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from deploy.local.clickhouse import errors

QUERY_BYTES_MAX: Final = 262_144  # ClickHouse's max_query_size

_TOKEN: Final = re.compile(
    rb"""(?P<space>\s++|--[^\n]*+|\#[ !][^\n]*+|/\*.*?\*/)
    |(?P<quoted>'(?:[^'\\]++|\\.|'')*+'|"(?:[^"\\]++|\\.|"")*+"|`(?:[^`\\]++|\\.|``)*+`
        |\$(?P<tag>\w*+)\$.*?\$(?P=tag)\$)
    |(?P<word>[A-Za-z_][\w$]*+)
    |(?P<number>\d[\w.]*+)
    |(?P<mark>.)""",
    re.DOTALL | re.VERBOSE,
)
_DATA_BEGIN: Final = re.compile(rb"[ \t\f]*+\r?+\n?+")
_OPENING: Final = (b"(", b"[", b"{")
_CLOSING: Final = (b")", b"]", b"}")
# After these a word is a name, whatever it spells.
_NAME_FOLLOWS: Final = (b"INTO", b"TABLE", b"FUNCTION", b"AS", b".", b",", b"SELECT", b"BY")
_ROWS: Final = (b"SELECT", b"WITH", b"FROM", b"(")
_SHOWS: Final = frozenset((b"SHOW", b"DESCRIBE", b"DESC", b"EXPLAIN", b"EXISTS"))
_REPORTS: Final = frozenset((b"CHECK", b"KILL"))
_SETS: Final = frozenset((b"SET", b"USE"))


class Kind(enum.Enum):
    """How the engine has to be asked."""

    ROWS = "rows"  # a SELECT: its answer may be large and is streamed
    INSERT = "insert"  # data follows and is streamed
    PLAIN = "plain"  # everything else: a short answer or none


@dataclass(frozen=True, slots=True)
class Statement:
    """A statement, cut where it has to be cut.

    ``text`` has no trailing semicolon and, but for PLAIN, no FORMAT; ``tail`` is what
    followed the FORMAT (SETTINGS).  ``data_at`` is the offset of an INSERT's first byte of data.
    ``answers`` says that there is an answer, be it empty.
    """

    kind: Kind
    text: str
    format: str | None = None
    tail: str = ""
    data_at: int = 0
    answers: bool = False
    reads_only: bool = False
    keeps_state: bool = False


@dataclass(frozen=True, slots=True)
class _Token:
    upper: bytes
    start: int
    end: int
    is_word: bool
    depth: int


def parse(head: bytes, *, complete: bool) -> Statement:
    """Return the statement at the start of ``head``.

    ``complete`` says that ``head`` is the whole request; only an INSERT may be longer.  Raises
    ``ClickHouseError`` for an empty, too long or multiple statement and for client-side files.
    """
    tokens = _tokens(head)
    first = next(tokens, None)
    if first is None:
        raise errors.refusal(errors.SYNTAX_ERROR, "Syntax error: Empty query.")
    if first.upper == b"INSERT":
        found = _insert(head, tokens)
        if found is not None:
            return found
    if not complete or len(head) > QUERY_BYTES_MAX:
        raise errors.refusal(
            errors.SYNTAX_ERROR,
            f"Syntax error: the query is longer than max_query_size ({QUERY_BYTES_MAX} bytes).",
        )
    return _whole(head, [first, *tokens] if first.upper != b"INSERT" else list(_tokens(head)))


def _tokens(head: bytes) -> Iterator[_Token]:
    depth = 0
    for found in _TOKEN.finditer(head):
        group = found.lastgroup
        if group == "space":
            continue
        text = found.group()
        if text in _CLOSING:
            depth = max(0, depth - 1)
        is_word = group == "word"
        upper = text.upper() if is_word or group == "mark" else b""
        yield _Token(upper, found.start(), found.end(), is_word, depth)
        if text in _OPENING:
            depth += 1


def _insert(head: bytes, tokens: Iterator[_Token]) -> Statement | None:
    """Return the INSERT whose data is in the request; None when its rows come from a query."""
    before = b""
    for token in tokens:
        if token.is_word and token.depth == 0 and before not in _NAME_FOLLOWS:
            if token.upper == b"FORMAT":
                named = next(tokens, None)
                return _insert_of(head, token, named) if named and named.is_word else None
            if token.upper == b"VALUES":
                return Statement(
                    Kind.INSERT, _text(head[: token.start]), "Values", data_at=token.end
                )
            if token.upper in (b"SELECT", b"WITH"):
                return None
            if token.upper == b"INFILE":
                raise _infile()
        before = token.upper
    return None


def _insert_of(head: bytes, keyword: _Token, named: _Token) -> Statement:
    begin = _DATA_BEGIN.match(head, named.end)
    data_at = begin.end() if begin else named.end
    name = _text(head[named.start : named.end])
    return Statement(Kind.INSERT, _text(head[: keyword.start]), name, data_at=data_at)


def _infile() -> errors.ClickHouseError:
    return errors.refusal(
        errors.UNKNOWN_TYPE_OF_QUERY, "Query has infile and was send directly to server."
    )


def _whole(head: bytes, tokens: Sequence[_Token]) -> Statement:
    """Return a statement that is all there, after refusing what a server refuses."""
    tokens = _one_statement(tokens)
    top = [token for token in tokens if token.depth == 0]
    _refuse_client_files(top)
    end = tokens[-1].end
    verb = tokens[0].upper
    if verb == b"INSERT":
        _refuse_input(tokens)
    if verb in _ROWS and not _has(top, b"INSERT"):
        return _rows(head, top, end)
    at = _format_at(top)
    return Statement(
        Kind.PLAIN,
        _text(head[:end]),
        None if at is None else _text(head[top[at + 1].start : top[at + 1].end]),
        answers=verb in _SHOWS | _REPORTS,
        reads_only=verb in _SHOWS | _SETS,
        keeps_state=verb in _SETS or _has(top[:4], b"TEMPORARY"),
    )


def _one_statement(tokens: Sequence[_Token]) -> Sequence[_Token]:
    """Return the tokens before the final semicolons; more after one is refused."""
    last = len(tokens)
    while last and tokens[last - 1].upper == b";":
        last -= 1
    if not last:
        raise errors.refusal(errors.SYNTAX_ERROR, "Syntax error: Empty query.")
    for token in tokens[:last]:
        if token.upper == b";" and token.depth == 0:
            raise errors.refusal(
                errors.SYNTAX_ERROR,
                "Syntax error (Multi-statements are not allowed): "
                f"failed at position {token.start + 1} (end of query).",
            )
    return tokens[:last]


def _refuse_client_files(top: Sequence[_Token]) -> None:
    for before, token in itertools.pairwise(top):
        if before.upper == b"INTO" and token.upper == b"OUTFILE":
            raise errors.refusal(errors.INTO_OUTFILE_NOT_ALLOWED, "INTO OUTFILE is not allowed.")
        if before.upper == b"FROM" and token.upper == b"INFILE":
            raise _infile()


def _refuse_input(tokens: Sequence[_Token]) -> None:
    """Refuse an INSERT … SELECT over its own data, which the engine would drop without a word."""
    for name, opening in itertools.pairwise(tokens):
        if name.upper == b"INPUT" and opening.upper == b"(":
            raise errors.refusal(
                errors.NOT_IMPLEMENTED,
                "INSERT … SELECT FROM input() is not supported by this server.",
            )


def _has(tokens: Sequence[_Token], word: bytes) -> bool:
    return any(token.is_word and token.upper == word for token in tokens)


def _rows(head: bytes, top: Sequence[_Token], end: int) -> Statement:
    """Return a SELECT without its FORMAT."""
    at = _format_at(top)
    if at is None:
        return Statement(Kind.ROWS, _text(head[:end]), answers=True, reads_only=True)
    keyword, named = top[at], top[at + 1]
    return Statement(
        Kind.ROWS,
        _text(head[: keyword.start]),
        _text(head[named.start : named.end]),
        tail=_text(head[named.end : end]),
        answers=True,
        reads_only=True,
    )


def _format_at(top: Sequence[_Token]) -> int | None:
    """Return which token is the FORMAT of an answer, looking from the end backwards."""
    for at in range(len(top) - 2, 0, -1):
        if _is_format(top[at - 1], top[at], top[at + 1], top[at + 2 : at + 3]):
            return at
    return None


def _is_format(before: _Token, keyword: _Token, named: _Token, after: Sequence[_Token]) -> bool:
    ends = not after or after[0].upper == b"SETTINGS"
    return (
        keyword.upper == b"FORMAT"
        and keyword.is_word
        and named.is_word
        and before.upper not in _NAME_FOLLOWS
        and ends
    )


def _text(part: bytes) -> str:
    return part.decode("utf-8", "surrogateescape").strip()
