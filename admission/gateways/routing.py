"""Routing: which admitter is asked first, and which last.

Pure: times are arguments (milliseconds of any clock that does not go back).
"""

from __future__ import annotations

from collections.abc import Sequence


class Admitters:
    """The configured admitters, asked in turn; a silent one is asked last for a while."""

    def __init__(self, urls: Sequence[str], *, suspect_ms: int) -> None:
        assert urls, "at least one admitter"
        self._urls = tuple(url.rstrip("/") for url in urls)
        self._suspect_ms = suspect_ms
        self._suspect_until_ms: dict[str, int] = {}
        self._turn = 0

    def order(self, *, now_ms: int) -> list[str]:
        """Return all admitters, in the order in which to ask them now."""
        self._turn += 1
        start = self._turn % len(self._urls)
        turned = self._urls[start:] + self._urls[:start]
        return sorted(turned, key=lambda url: self._suspect_until_ms.get(url, now_ms) > now_ms)

    def failed(self, url: str, *, now_ms: int) -> None:
        """Ask this admitter last from now on; one that is not configured is not remembered."""
        if url in self._urls:
            self._suspect_until_ms[url] = now_ms + self._suspect_ms

    def answered(self, url: str) -> None:
        """Trust this admitter again."""
        self._suspect_until_ms.pop(url, None)
