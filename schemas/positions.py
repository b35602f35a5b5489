"""Positions and versions: what makes one record or one state comparable with another.

A ``Position`` orders everything that happened in one partition of ``usage`` for ever, across
re-created topics.  A ``Version`` orders everything that one pool's ticks published.
"""

from __future__ import annotations

import msgspec


class Position(msgspec.Struct, frozen=True, order=True, gc=False):
    """Where an event stands: log epoch, partition, offset, index inside a framed record."""

    epoch: int
    partition: int
    offset: int
    index: int = 0

    def __str__(self) -> str:
        return f"{self.epoch}/{self.partition}/{self.offset}/{self.index}"


class Version(msgspec.Struct, frozen=True, order=True):
    """The order of a pool's published states: epoch, then group generation, then tick number."""

    epoch: int = 0
    generation: int = 0
    tick: int = 0

    def __str__(self) -> str:
        return f"{self.epoch}.{self.generation}.{self.tick}"


NO_VERSION = Version()
