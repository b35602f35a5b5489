"""Usage log: what gateways wrote to ``usage``, and the truth about it that no process may read.

Events arrive as bytes after a delay of their own: repeated, late, in another partition, corrupted
or with an id that was used before, as ``UsageFaults`` says.  Who wrote an event knows what it
means; so the log can say what the ledger must have counted through any offset of the pool's
partition: of each id the first event there that is readable and within the acceptance horizon.
"""

from __future__ import annotations

import heapq
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from random import Random
from typing import Final, NamedTuple

from msgspec.structs import replace

from schemas.partitioning import partition_of
from schemas.pools import Pool
from schemas.units import NO_TOKENS, PPM, US_PER_MS, US_PER_S, TokenCounts
from schemas.usage import Headers, UsageData, UsageEvent, encode_binary, encode_structured
from simulation.policy import Usage
from simulation.pools.clocks import EPOCH_US, broker_us
from simulation.pools.faults import UsageFaults
from streams.core.judge import Record, StoredRecord

PARTITIONS: Final = 2
"""The pool's own and one that it is misplaced into."""
CORRUPTED: Final = b'{"specversion":"1.0","id":'
RECORDS_KEPT: Final = 50_000
"""Of each partition; older ones are dropped once they were folded, as retention would."""
CONFLICT_TOKENS: Final = 7
CONFLICT_DELAY_US: Final = 300_000


class Claim(NamedTuple):
    """What an event means."""

    identity: tuple[str, str]
    entitlement: str
    counts: TokenCounts
    end_us: int
    """In wall time."""


class _Arrival(NamedTuple):
    due_us: int
    number: int
    partition: int
    value: bytes
    headers: Headers
    claim: Claim | None


@dataclass(slots=True)
class Tally:
    """Sums of the accepted events through an offset."""

    through: int = -1
    tokens: dict[str, TokenCounts] = field(default_factory=dict)
    events: dict[str, int] = field(default_factory=dict)
    next: int = 0

    def add(self, claim: Claim) -> None:
        """Count one accepted event."""
        uid = claim.entitlement
        self.tokens[uid] = self.tokens.get(uid, NO_TOKENS) + claim.counts
        self.events[uid] = self.events.get(uid, 0) + 1


class UsageLog:
    """Every partition's records; events on their way come in as time passes."""

    def __init__(
        self,
        pool: Pool,
        *,
        faults: UsageFaults,
        random: Random,
        records_kept: int = RECORDS_KEPT,
    ) -> None:
        self.home = partition_of(pool.name, PARTITIONS)
        self.counts: Counter[str] = Counter()
        """Events: sent, repeated, slow, misplaced, corrupted, conflicting, forwarded."""
        self._pool = pool
        self._faults = faults
        self._random = random
        self._records_kept = records_kept
        self._records: list[list[Record]] = [[] for _ in range(PARTITIONS)]
        self._begins = [0] * PARTITIONS
        """The offset of the first record that is kept."""
        self._arrivals: list[_Arrival] = []
        self._number = 0
        self._claims: dict[bytes, Claim] = {}
        self._seen: set[tuple[str, str]] = set()
        self._accepted: list[tuple[int, Claim]] = []
        self._tally = Tally()

    @property
    def on_their_way(self) -> int:
        """Events that have not arrived."""
        return len(self._arrivals)

    def know(self, pool: Pool) -> None:
        """Follow another spec; gateways go on with what they know of removed entitlements."""
        entitlements = self._pool.entitlements | pool.entitlements
        self._pool = replace(pool, entitlements=entitlements)

    def send(self, usage: Usage, *, now_us: int) -> None:
        """Let a gateway emit one event."""
        self.counts["sent"] += 1
        due_us = now_us + self._delay_us()
        if self._happens("slow", self._faults.slow_ppm):
            due_us += self._random.randint(0, self._faults.slow_ms_max) * US_PER_MS
        if self._happens("corrupted", self._faults.corrupted_ppm):
            self._put(due_us, CORRUPTED, (), None)
            return
        event = self._event(usage, usage.counts)
        self._emit(event, due_us)
        if self._happens("conflicting", self._faults.conflict_ppm):
            other = self._event(usage, usage.counts + TokenCounts(output_tokens=CONFLICT_TOKENS))
            self._emit(other, due_us + CONFLICT_DELAY_US)

    def read(self, partition: int, *, after: int, now_us: int, most: int) -> Sequence[Record]:
        """Return the records above an offset that have arrived."""
        self._arrive(now_us)
        start = after + 1 - self._begins[partition]
        assert start >= 0
        return self._records[partition][start : start + most]

    def forget(self, partition: int, *, through: int) -> None:
        """Drop old records up to an offset, when there are too many."""
        records, begin = self._records[partition], self._begins[partition]
        if len(records) > 2 * self._records_kept:
            count = max(0, min(through + 1 - begin, len(records) - self._records_kept))
            del records[:count]
            self._begins[partition] += count

    def forward(self, partition: int, value: bytes, headers: Headers, *, now_us: int) -> None:
        """Append a record that an owner has found misplaced."""
        self.counts["forwarded"] += 1
        self._arrive(now_us)
        self._append(
            partition, value, headers, self._claims.get(_named(value, headers)), now_us=now_us
        )

    def events_through(self, partition: int, offset: int) -> int:
        """Return how many events the records through an offset hold."""
        return min(offset + 1, self.length(partition))

    def length(self, partition: int) -> int:
        """Return the offset that the next record gets."""
        return self._begins[partition] + len(self._records[partition])

    def accepted_through(self, offset: int) -> Tally:
        """Return what must have been counted through an offset of the pool's partition."""
        if offset < self._tally.through:
            self._tally = Tally()
        tally = self._tally
        while tally.next < len(self._accepted) and self._accepted[tally.next][0] <= offset:
            tally.add(self._accepted[tally.next][1])
            tally.next += 1
        tally.through = offset
        return tally

    def _event(self, usage: Usage, counts: TokenCounts) -> UsageEvent:
        entitlement = self._pool.entitlements[usage.entitlement]
        data = UsageData(
            pool=self._pool.name,
            entitlement=usage.entitlement,
            tenant=entitlement.tenant,
            model=self._pool.model,
            served_class=usage.served_class,
            demoted=usage.served_class not in (None, entitlement.service_class),
            input_tokens=counts.input_tokens,
            cache_read_tokens=counts.cache_read_tokens,
            cache_write_tokens=counts.cache_write_tokens,
            output_tokens=counts.output_tokens,
            reasoning_tokens=counts.reasoning_tokens,
            start_us=EPOCH_US + usage.start_us,
            end_us=EPOCH_US + usage.end_us,
            final=usage.final,
        )
        return UsageEvent(source=usage.source, id=usage.id, sequence=usage.sequence, data=data)

    def _emit(self, event: UsageEvent, due_us: int) -> None:
        binary = self._happens("binary", self._faults.binary_ppm)
        value, headers = encode_binary(event) if binary else encode_structured(event)
        claim = Claim(
            (event.source, event.id), event.data.entitlement, event.data.counts, event.event_us
        )
        self._put(due_us, value, headers, claim)
        if self._happens("repeated", self._faults.repeated_ppm):
            self._put(due_us + self._delay_us(), value, headers, claim)

    def _put(self, due_us: int, value: bytes, headers: Headers, claim: Claim | None) -> None:
        partition = self.home
        if self._happens("misplaced", self._faults.misplaced_ppm):
            partition = (self.home + 1) % PARTITIONS
            if claim is not None:
                self._claims[_named(value, headers)] = claim
        self._number += 1
        arrival = _Arrival(due_us, self._number, partition, value, headers, claim)
        heapq.heappush(self._arrivals, arrival)

    def _arrive(self, now_us: int) -> None:
        while self._arrivals and self._arrivals[0].due_us <= now_us:
            item = heapq.heappop(self._arrivals)
            self._append(item.partition, item.value, item.headers, item.claim, now_us=item.due_us)

    def _append(
        self,
        partition: int,
        value: bytes,
        headers: Headers,
        claim: Claim | None,
        *,
        now_us: int,
    ) -> None:
        records = self._records[partition]
        stored_ms = broker_us(now_us) // US_PER_MS
        if records:
            stored_ms = max(stored_ms, records[-1].timestamp)
        offset = self.length(partition)
        records.append(StoredRecord(offset, stored_ms, self._pool.name.encode(), value, headers))
        if partition == self.home and claim is not None:
            self._witness(claim, offset=offset, stored_us=stored_ms * US_PER_MS)

    def _witness(self, claim: Claim, *, offset: int, stored_us: int) -> None:
        """Note an event that must be accepted."""
        metering = self._pool.metering
        age_us = stored_us - claim.end_us
        timely = age_us <= metering.acceptance_horizon_seconds * US_PER_S
        timely = timely and -age_us <= metering.future_seconds_max * US_PER_S
        if timely and claim.identity not in self._seen:
            self._seen.add(claim.identity)
            self._accepted.append((offset, claim))

    def _delay_us(self) -> int:
        return (
            self._random.randint(self._faults.delay_ms_min, self._faults.delay_ms_max) * US_PER_MS
        )

    def _happens(self, what: str, rate_ppm: int) -> bool:
        happens = rate_ppm > 0 and self._random.randrange(PPM) < rate_ppm
        self.counts[what] += happens
        return happens


def _named(value: bytes, headers: Headers) -> bytes:
    """Return what tells one event's bytes from another's: in binary mode the id is a header."""
    return b"|".join((value, *(text for name, text in headers if name in ("ce_id", "ce_source"))))
