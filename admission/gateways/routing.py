"""Routing: which admitter is asked first, and which last.

Pure: times are arguments (milliseconds of any clock that does not go back).
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import Final

HOMES_MAX: Final = 10_000
"""Entitlements whose home one client remembers."""


class Admitters:
    """The configured admitters, asked in turn; a silent one is asked last for a while."""

    def __init__(self, urls: Sequence[str], *, suspect_ms: int, homes_max: int = HOMES_MAX) -> None:
        assert urls, "at least one admitter"
        self._urls = tuple(url.rstrip("/") for url in urls)
        self._suspect_ms = suspect_ms
        self._suspect_until_ms: dict[str, int] = {}
        self._turn = 0
        self._homes: dict[Hashable, str] = {}
        self._homes_max = homes_max

    def order(self, *, now_ms: int, asker: Hashable = None) -> list[str]:
        """Return all admitters, in the order in which to ask them now.

        An ``asker`` whose floor lies whole at its home asks there first.
        """
        self._turn += 1
        start = self._turn % len(self._urls)
        turned = self._urls[start:] + self._urls[:start]
        home = self._homes.get(asker)

        def rank(url: str) -> tuple[bool, bool]:
            return self._suspect_until_ms.get(url, now_ms) > now_ms, url != home

        return sorted(turned, key=rank)

    def has_home(self, asker: Hashable, url: str) -> None:
        """Remember where the whole floor of ``asker`` lies; the oldest of too many is forgotten."""
        self._homes.pop(asker, None)
        self._homes[asker] = url
        if len(self._homes) > self._homes_max:
            self._homes.pop(next(iter(self._homes)))

    def failed(self, url: str, *, now_ms: int) -> None:
        """Ask this admitter last from now on; one that is not configured is not remembered."""
        if url in self._urls:
            self._suspect_until_ms[url] = now_ms + self._suspect_ms

    def answered(self, url: str) -> None:
        """Trust this admitter again."""
        self._suspect_until_ms.pop(url, None)
