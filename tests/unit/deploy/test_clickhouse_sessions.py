"""What a session keeps, and when it is over."""

from __future__ import annotations

import pytest

from deploy.local.clickhouse.errors import ClickHouseError
from deploy.local.clickhouse.request import SessionRef
from deploy.local.clickhouse.sessions import SESSIONS_MAX, SessionBook

MINE = SessionRef("mine", timeout_s=60, must_exist=False, close=False)


def test_a_session_keeps_its_handle_until_it_times_out() -> None:
    book = SessionBook[str]()
    session = book.enter(MINE, now_s=0)
    session.handle = "kept"
    book.leave(session, MINE, now_s=10)

    assert book.sweep(now_s=69) == []
    assert book.enter(MINE, now_s=69).handle == "kept"
    book.leave(session, MINE, now_s=69)
    assert book.sweep(now_s=129) == ["kept"]
    assert book.enter(MINE, now_s=129).handle is None


def test_a_busy_session_is_locked_and_does_not_time_out() -> None:
    book = SessionBook[str]()
    book.enter(MINE, now_s=0).handle = "kept"

    assert book.sweep(now_s=1_000) == []
    with pytest.raises(ClickHouseError, match="SESSION_IS_LOCKED"):
        book.enter(MINE, now_s=1_000)


def test_a_session_that_must_exist_is_not_made() -> None:
    asked = SessionRef("other", timeout_s=60, must_exist=True, close=False)

    with pytest.raises(ClickHouseError, match="SESSION_NOT_FOUND"):
        SessionBook[str]().enter(asked, now_s=0)


def test_a_session_may_be_closed_by_its_last_statement() -> None:
    book = SessionBook[str]()
    closing = SessionRef("mine", timeout_s=60, must_exist=False, close=True)
    session = book.enter(closing, now_s=0)
    session.handle = "kept"
    book.leave(session, closing, now_s=1)

    assert book.sweep(now_s=1) == ["kept"]


def test_the_longest_unused_sessions_make_room() -> None:
    book = SessionBook[str]()
    for n in range(SESSIONS_MAX + 2):
        ref = SessionRef(str(n), timeout_s=60, must_exist=False, close=False)
        session = book.enter(ref, now_s=n / 100)
        session.handle = str(n)
        book.leave(session, ref, now_s=n / 100)

    assert book.sweep(now_s=3) == ["0", "1"]
