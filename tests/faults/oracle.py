"""The oracle: what a log must have become, and how far what was found is from that.

Pure.  The sums come from the generator's own account alone.  The verdicts of a partition come from
the account and from how many copies of each key the log holds where: that is the only thing that a
generator cannot know after a fault.  ``drift`` is 0 when everything agrees.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple, TypeVar

from schemas.partitioning import partition_of
from tests.faults.account import Account, Fate, Owner, Sums


class Verdicts(NamedTuple):
    """Events of one partition by verdict."""

    accepted: int = 0
    duplicate: int = 0
    late: int = 0
    dead: int = 0
    forwarded: int = 0


class Stored(NamedTuple):
    """One event as the log holds it."""

    partition: int
    key: str


class Window(NamedTuple):
    """One window of event time, in microseconds."""

    pool: str
    entitlement: str
    window_us: int
    start_us: int


@dataclass(frozen=True)
class Found:
    """What the ledger and ClickHouse hold."""

    ledger: Mapping[Owner, Sums]
    history: Mapping[Owner, Sums]
    ledger_verdicts: Mapping[int, Verdicts]
    history_verdicts: Mapping[int, Verdicts]
    rollups: Mapping[Window, Sums]
    recounted: Mapping[Window, Sums]
    """The same windows from accepted rows."""


@dataclass
class Judgement:
    """Every difference that was found, largest first, and their sum."""

    differences: list[str] = field(default_factory=list)
    drift: int = 0

    def add(self, what: str, wanted: object, found: object, size: int) -> None:
        """Note one difference."""
        self.drift += max(1, size)
        self.differences.append(f"{what}: wanted {wanted}, found {found}")


def judge(account: Account, log: Sequence[Stored], found: Found, *, partitions: int) -> Judgement:
    """Compare everything with everything."""
    judgement = Judgement()
    sums = account.sums()
    verdicts = verdicts_of(account, log, partitions=partitions)
    _compare(judgement, "ledger", sums, found.ledger)
    _compare(judgement, "clickhouse", sums, found.history)
    _compare(judgement, "ledger's verdicts of partition", verdicts, found.ledger_verdicts)
    _compare(judgement, "clickhouse's verdicts of partition", verdicts, found.history_verdicts)
    _compare(judgement, "rollup", found.recounted, found.rollups)
    for key in account.acknowledged - {each.key for each in log}:
        judgement.add("acknowledged event in the log", key, "nothing", 1)
    return judgement


def verdicts_of(account: Account, log: Sequence[Stored], *, partitions: int) -> dict[int, Verdicts]:
    """Return how the events that a log holds must have been judged, by partition."""
    counts = {partition: dict.fromkeys(Verdicts._fields, 0) for partition in range(partitions)}
    accepted: set[str] = set()
    for each in log:
        name = _verdict(account, each, accepted, partitions=partitions)
        counts[each.partition][name] += 1
    return {
        partition: Verdicts(**named) for partition, named in counts.items() if any(named.values())
    }


def _verdict(account: Account, event: Stored, accepted: set[str], *, partitions: int) -> str:
    expected = account.expected[event.key]
    if expected.pool and partition_of(expected.pool, partitions) != event.partition:
        return "forwarded"
    if expected.fate is not Fate.COUNTED:
        return expected.fate.value
    if event.key in accepted:
        return "duplicate"
    accepted.add(event.key)
    return "accepted"


K = TypeVar("K", bound=Hashable)


def _compare(
    judgement: Judgement,
    what: str,
    wanted: Mapping[K, tuple[int, ...]],
    found: Mapping[K, tuple[int, ...]],
) -> None:
    for key in sorted({*wanted, *found}, key=repr):
        right, is_ = wanted.get(key), found.get(key)
        if right != is_:
            judgement.add(f"{what} {key}", right, is_, _distance(right, is_))


def _distance(wanted: tuple[int, ...] | None, found: tuple[int, ...] | None) -> int:
    size = len(wanted or found or ())
    pairs = zip(wanted or (0,) * size, found or (0,) * size, strict=True)
    return sum(abs(mine - its) for mine, its in pairs)
