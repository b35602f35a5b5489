"""ClickHouse: one synchronous client over its HTTP interface, and what an absence looks like.

Callers run it in a thread.  ``UnavailableError`` means that nobody answered: the text names
``CLICKHOUSE_DSN`` and never a secret.  A login that is refused is a ``SettingsError``.  Anything
else that ClickHouse itself refuses stays a ``DatabaseError``, unless its code says that another
try may succeed.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

import clickhouse_connect
from clickhouse_connect.driver.client import Client
from clickhouse_connect.driver.exceptions import DatabaseError, OperationalError
from urllib3.exceptions import HTTPError

from schemas.connections import ClickHouseOptions
from schemas.errors import SettingsError, UnavailableError

CONNECT_S_MAX: Final = 5
ANSWER_S_MAX: Final = 60
RETRYABLE_CODES: Final = frozenset({
    159,  # TIMEOUT_EXCEEDED
    202,  # TOO_MANY_SIMULTANEOUS_QUERIES
    209,  # SOCKET_TIMEOUT
    210,  # NETWORK_ERROR
    225,  # NO_ZOOKEEPER
    241,  # MEMORY_LIMIT_EXCEEDED
    242,  # TABLE_IS_READ_ONLY
    252,  # TOO_MANY_PARTS
    279,  # ALL_CONNECTION_TRIES_FAILED
    319,  # UNKNOWN_STATUS_OF_INSERT
    999,  # KEEPER_EXCEPTION
})  # fmt: skip

LOGIN_CODES: Final = frozenset({
    192,  # UNKNOWN_USER
    193,  # WRONG_PASSWORD
    194,  # REQUIRED_PASSWORD
    516,  # AUTHENTICATION_FAILED
})  # fmt: skip


def connect(
    options: ClickHouseOptions, *, database: str | None = None, answer_s_max: int = ANSWER_S_MAX
) -> Client:
    """Return a connected client; raise ``UnavailableError`` when nobody answers.

    ``database`` replaces the one of the options (``""``: none, before it was created);
    ``answer_s_max`` bounds the wait for each piece of an answer.
    """
    with reaching(options):
        return clickhouse_connect.get_client(
            host=options.host,
            port=options.port,
            database=options.database if database is None else database,
            username=options.username,
            password=options.password,
            interface="https" if options.secure else "http",
            verify=options.verify,
            ca_cert=options.ca_file or None,
            connect_timeout=min(CONNECT_S_MAX, answer_s_max),
            send_receive_timeout=answer_s_max,
            query_retries=0,
            autogenerate_session_id=False,
        )


@contextmanager
def reaching(options: ClickHouseOptions) -> Iterator[None]:
    """Turn every sign of an absent or overloaded server into ``UnavailableError``."""
    try:
        yield
    except (HTTPError, OSError) as error:
        raise UnavailableError(absence(options, error)) from error
    except (DatabaseError, OperationalError) as error:
        if error.code in LOGIN_CODES:
            raise SettingsError(
                f"ClickHouse at {options.dsn} refuses user {options.username!r}: "
                "check CLICKHOUSE_USER and CLICKHOUSE_PASSWORD (or CLICKHOUSE_PASSWORD_FILE)"
            ) from error
        if not may_pass(error):
            raise
        raise UnavailableError(absence(options, error)) from error


def may_pass(error: DatabaseError) -> bool:
    """Say whether another try may succeed: nobody answered, or only somebody in between did."""
    if error.code is None:
        return isinstance(error, OperationalError) or type(error) is DatabaseError
    return error.code in RETRYABLE_CODES


def absence(options: ClickHouseOptions, error: Exception) -> str:
    """Return what to tell a person: the address, the setting and the first line of the error."""
    detail = (str(error) or type(error).__name__).splitlines()[0][:200]
    return f"ClickHouse does not answer at {options.dsn} (CLICKHOUSE_DSN): {detail}"
