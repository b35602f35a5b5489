"""Errors, classified by who must act.

``SettingsError`` and ``SpecError``: the operator changes a setting or a spec.
``MalformedEventError``: the sender; the event becomes a dead letter and work goes on.
``RecoverableError``: nobody yet; the caller retries within a bound.  Anything else is our own
bug and ends the process.
"""

from __future__ import annotations


class TokenpoolsError(Exception):
    """Base of every error that tokenpools raises on purpose."""


class SettingsError(TokenpoolsError):
    """A setting is wrong, missing or contradicts another; the text names it."""


class SpecError(TokenpoolsError):
    """A pool spec is not acceptable; ``field`` is the path of the value that must change."""

    def __init__(self, field: str, message: str) -> None:
        super().__init__(f"{field}: {message}")
        self.field = field


class MalformedEventError(TokenpoolsError):
    """A record is no usage event; ``reason`` is a bounded code, the text says what is wrong."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason


class RecoverableError(TokenpoolsError):
    """A dependency did not answer; try again within the caller's bound."""


class UnavailableError(RecoverableError):
    """A broker or database cannot be reached; the text names it and the setting to change."""
