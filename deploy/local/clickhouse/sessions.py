"""What does a session keep between requests, and for how long?

A session needs a handle of its own only once a statement changes it (SET, USE, a temporary table);
until then its requests use handles of their own like all others, because clients name a session in
every request and mostly keep nothing in it.  One statement at a time runs in a session.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Generic, TypeVar

from deploy.local.clickhouse import errors
from deploy.local.clickhouse.request import SessionRef

Kept = TypeVar("Kept")  # what a session keeps: a handle of the engine

SESSIONS_MAX: Final = 256  # idle ones beyond this are closed, the longest unused first


@dataclass(slots=True)
class Session(Generic[Kept]):
    """One session; ``handle`` is None while it holds no state."""

    session_id: str
    handle: Kept | None = None
    busy: bool = False
    expires_at_s: float = 0.0


class SessionBook(Generic[Kept]):
    """The sessions of one server.  Used from the event loop only; time is an argument."""

    def __init__(self) -> None:
        self._sessions: dict[str, Session[Kept]] = {}

    def enter(self, ref: SessionRef, *, now_s: float) -> Session[Kept]:
        """Return the session for one statement; ``leave`` must follow."""
        session = self._sessions.get(ref.session_id)
        if session is None:
            if ref.must_exist:
                raise errors.refusal(
                    errors.SESSION_NOT_FOUND, f"Session {ref.session_id} not found."
                )
            session = self._sessions[ref.session_id] = Session(ref.session_id)
        if session.busy:
            raise errors.refusal(
                errors.SESSION_IS_LOCKED,
                f"Session {ref.session_id} is locked by a concurrent client.",
            )
        session.busy = True
        session.expires_at_s = now_s + ref.timeout_s
        return session

    def leave(self, session: Session[Kept], ref: SessionRef, *, now_s: float) -> None:
        """End the statement; the session's time begins anew."""
        session.busy = False
        session.expires_at_s = now_s + (0 if ref.close else ref.timeout_s)

    def sweep(self, *, now_s: float) -> list[Kept]:
        """Forget what is over or too much and return the handles that are to be closed."""
        idle = sorted(
            (kept for kept in self._sessions.values() if not kept.busy),
            key=lambda kept: kept.expires_at_s,
        )
        surplus = max(0, len(self._sessions) - SESSIONS_MAX)
        ended = [
            kept for rank, kept in enumerate(idle) if rank < surplus or kept.expires_at_s <= now_s
        ]
        return [handle for kept in ended if (handle := self._forget(kept)) is not None]

    def close(self) -> list[Kept]:
        """Forget all sessions and return their handles."""
        return [
            handle
            for session in list(self._sessions.values())
            if (handle := self._forget(session)) is not None
        ]

    def _forget(self, session: Session[Kept]) -> Kept | None:
        del self._sessions[session.session_id]
        return session.handle
