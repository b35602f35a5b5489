"""Drift: the continuous check that ledger and history count the same events, 0 when they do.

Each round looks only at what was stored since the round before, and only at what both have passed:
a partition's rows are compared through the offset that is judged once the rows are read that far,
and a minute through the position that its totals include, once everything that was published until
then is read as well.  What is right moves a mark forward, kept
in ClickHouse, so that a new process goes on from it.  What is not right stays before the mark, is
looked at again in every round, and counts from the second round on: a difference that another try
does not show was the reader's.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Final, NamedTuple

from clickhouse_connect.driver.client import Client

from streams.history.drift_queries import (
    PUBLISHED_AFTER_US,
    Differing,
    JudgedPartition,
    Mark,
    differing_minutes,
    judged_partitions,
    rows_after,
    store_marks,
    stored_marks,
)

NAMED_MAX: Final = 5
"""Differences that one line names."""


class EventsDiffer(NamedTuple):
    """Events of an interval of offsets: accepted and others, by the judge and by the rows."""

    epoch: int
    partition: int
    after: int
    through: int
    accepted: int
    accepted_rows: int
    refused: int
    refused_rows: int

    @property
    def events(self) -> int:
        """By how many they differ."""
        return abs(self.accepted - self.accepted_rows) + abs(self.refused - self.refused_rows)


@dataclass(frozen=True, kw_only=True)
class Drift:
    """What two rounds in a row have seen."""

    events: tuple[EventsDiffer, ...] = ()
    minutes: tuple[Differing, ...] = ()

    @property
    def tokens_count(self) -> int:
        """Tokens by which minutes differ, all classes."""
        return sum(each.tokens for each in self.minutes)

    @property
    def events_count(self) -> int:
        """Events by which partitions and minutes differ."""
        partitions = sum(each.events for each in self.events)
        return partitions + sum(each.events for each in self.minutes)

    def text(self) -> str:
        """Return one line that names where, for a person."""
        partitions = [
            f"partition {each.partition} offsets {each.after + 1}-{each.through}: "
            f"accepted={each.accepted} rows={each.accepted_rows} "
            f"others={each.refused} verdicts={each.refused_rows}"
            for each in self.events[:NAMED_MAX]
        ]
        minutes = [
            f"pool={each.pool!r} entitlement={each.entitlement!r} minute_us={each.start_us} "
            f"tokens={each.tokens} events={each.events}"
            for each in self.minutes[:NAMED_MAX]
        ]
        return "; ".join([*partitions, *minutes])


@dataclass
class DriftCheck:
    """The marks, and what the last round found suspicious."""

    marks: dict[int, Mark] = field(default_factory=dict)
    """By partition."""
    _begun: bool = False
    _suspected: frozenset[tuple[object, ...]] = frozenset()

    def round(self, client: Client, *, now_us: int, published_us: Mapping[int, int]) -> Drift:
        """Look once; blocks, so run it in a thread.

        ``published_us``: by partition, until when everything that the ledger published has been
        read.  Minutes of later events are left for a later round.
        """
        if not self._begun:
            self.marks = newest(stored_marks(client))
            self._begun = True
        found_events: list[EventsDiffer] = []
        found_minutes: list[Differing] = []
        before = dict(self.marks)
        for judged, begin in latest(judged_partitions(client)):
            mark = self.marks.get(judged.partition, begin)
            mark = mark if mark.epoch == judged.epoch else begin
            mark = self._events(client, mark, judged, found_events)
            self.marks[judged.partition] = self._minutes(
                client, mark, published_us.get(judged.partition, 0), found_minutes
            )
        moved = [mark for partition, mark in self.marks.items() if before.get(partition) != mark]
        store_marks(client, moved, now_us=now_us)
        return self._confirmed(found_events, found_minutes)

    def _events(
        self, client: Client, mark: Mark, judged: JudgedPartition, found: list[EventsDiffer]
    ) -> Mark:
        through = judged.judged_through
        if through <= mark.offset or judged.read_through < through:
            return mark
        rows = rows_after(client, mark, through=through)
        differ = EventsDiffer(
            mark.epoch,
            mark.partition,
            mark.offset,
            through,
            accepted=judged.accepted - mark.accepted,
            accepted_rows=rows.accepted,
            refused=judged.refused - mark.refused,
            refused_rows=rows.refused,
        )
        if differ.events:
            found.append(differ)
            return mark
        return replace(
            mark,
            offset=through,
            accepted=judged.accepted,
            refused=judged.refused,
            stored_us=rows.stored_us,
        )

    def _minutes(
        self, client: Client, mark: Mark, published_us: int, found: list[Differing]
    ) -> Mark:
        until_us = min(mark.stored_us, published_us) - PUBLISHED_AFTER_US
        if until_us <= mark.minutes_us:
            return mark
        differing = differing_minutes(client, mark, until_us=until_us)
        found.extend(differing)
        return mark if differing else replace(mark, minutes_us=until_us)

    def _confirmed(self, events: Iterable[EventsDiffer], minutes: Iterable[Differing]) -> Drift:
        """Return what the round before has seen too; remember what this one has."""
        by_partition = {("events", each.partition, each.after): each for each in events}
        by_minute = {
            ("minute", each.pool, each.entitlement, each.start_us): each for each in minutes
        }
        suspected, self._suspected = self._suspected, frozenset({*by_partition, *by_minute})
        return Drift(
            events=tuple(each for key, each in by_partition.items() if key in suspected),
            minutes=tuple(each for key, each in by_minute.items() if key in suspected),
        )


def newest(marks: Iterable[Mark]) -> dict[int, Mark]:
    """Return the mark of the newest epoch of each partition."""
    found: dict[int, Mark] = {}
    for mark in sorted(marks, key=lambda each: each.epoch):
        found[mark.partition] = mark
    return found


def latest(rows: Iterable[JudgedPartition]) -> list[tuple[JudgedPartition, Mark]]:
    """Return the newest epoch of each partition, and where its check begins.

    The judge's counts go on over epochs, so they begin at those of the epoch before; ``rows`` are
    in the order of epochs.
    """
    found: dict[int, tuple[JudgedPartition, Mark]] = {}
    for row in rows:
        before = found[row.partition][0] if row.partition in found else None
        begin = Mark(
            epoch=row.epoch,
            partition=row.partition,
            accepted=0 if before is None else before.accepted,
            refused=0 if before is None else before.refused,
        )
        found[row.partition] = (row, begin)
    return list(found.values())
