"""The mill: events of every kind that a broker may be handed, drawn from a seed.

Pure but for its own state (numbers given out, records that may be sent again).  A *burst* is a list
of waves; a wave is sent in a shuffled order, and the next one only when it is acknowledged, because
of two bodies with one id the first in the partition wins.  Times are microseconds since 1970 UTC.
"""

from __future__ import annotations

import json
import random
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Final

from schemas.partitioning import partition_of
from schemas.units import US_PER_S
from schemas.usage import (
    BATCH,
    CONTENT_TYPE_HEADER,
    NDJSON,
    UsageData,
    UsageEvent,
    encode_binary,
    encode_structured,
)
from tests.faults.account import TAG_HEADER, Account, Expected, Fate, Sums

POOLS: Final = ("chat", "code", "mail", "maps", "news", "shop")
IDLE_POOL: Final = "idle"
"""Gets events only when a step says so: an idle key is what a late write can spoil."""
ENTITLEMENTS: Final = ("e0", "e1", "e2", "e3")
HORIZON_S: Final = 86_400
LATENESS_MINUTE_S: Final = 60
LATENESS_SECOND_S: Final = 10
REPEATABLE_MAX: Final = 2_000
"""Records that are kept to be sent again later."""
FRAME_EVENTS_MAX: Final = 24
LINES_SHARE: Final = 0.6
"""Of the frames: one event per line; the others are JSON arrays."""
SHUFFLED_RECORDS: Final = 12
"""How far a record may overtake others."""

Headers = tuple[tuple[str, bytes], ...]


@dataclass(frozen=True)
class Parcel:
    """One record to send: ``misplaced`` by so many partitions, ``foreign`` by a foreign client."""

    pool: str
    value: bytes | None
    headers: Headers
    keys: tuple[str, ...]
    misplaced: int = 0
    foreign: bool = False

    def partition(self, partitions: int) -> int:
        """Return where our own clients put it."""
        return (partition_of(self.pool, partitions) + self.misplaced) % partitions


Wave = list[Parcel]


@dataclass
class Mill:
    """Draws events and enters into the account what must become of them."""

    rng: random.Random
    account: Account
    numbers: dict[tuple[str, str], int] = field(default_factory=dict)
    made: int = 0
    repeatable: deque[Parcel] = field(default_factory=lambda: deque(maxlen=REPEATABLE_MAX))

    def burst(self, records: int, *, now_us: int) -> list[Wave]:
        """Return waves of about so many records."""
        kinds = [name for name, _ in KINDS]
        weights = [weight for _, weight in KINDS]
        first: Wave = []
        second: Wave = []
        for kind in self.rng.choices(kinds, weights, k=records):
            if kind == "conflict":
                original, other = self._conflict(now_us)
                first.append(original)
                second.append(other)
            else:
                first.extend(_MAKERS[kind](self, now_us))
        return [wave for wave in (self._shuffled(first), second) if wave]

    def for_pool(self, pool: str, events: int, *, now_us: int) -> list[Wave]:
        """Return single numbered events of one pool, one wave."""
        return [[self._single(self._event(pool, "idle", now_us)) for _ in range(events)]]

    # --- kinds -----------------------------------------------------------------------------------

    def numbered(self, now_us: int) -> Wave:
        """One numbered event, as our own gateway client sends it."""
        return [self._kept(self._single(self._event(self._pool(), self._gateway(), now_us)))]

    def unnumbered(self, now_us: int) -> Wave:
        """One event that has only an id."""
        event = self._event(self._pool(), "plain", now_us, numbered=False)
        return [self._kept(self._single(event))]

    def binary(self, now_us: int) -> Wave:
        """One event in CloudEvents' binary mode."""
        event = self._event(self._pool(), "binary", now_us, numbered=self.rng.random() < 0.5)
        value, headers = encode_binary(event)
        return [self._kept(self._parcel([event], value, headers))]

    def frame(self, now_us: int, *, source: str = "framer", misplaced: int = 0) -> Wave:
        """Many events of one pool in one record, an array or lines."""
        pool = self._pool()
        size = self.rng.randint(2, FRAME_EVENTS_MAX)
        events = [self._event(pool, source, now_us) for _ in range(size)]
        return [self._kept(replace(self._frame(events), misplaced=misplaced))]

    def mixed_frame(self, now_us: int) -> Wave:
        """A frame whose events belong to many pools: some are misplaced whatever one does."""
        events = [
            self._event(pool, "mixer", now_us, numbered=False)
            for pool in self.rng.choices(POOLS, k=self.rng.randint(2, 8))
        ]
        return [self._frame(events)]

    def twice(self, now_us: int) -> Wave:
        """An event and copies of it, near each other."""
        (parcel,) = self.numbered(now_us) if self.rng.random() < 0.5 else self.unnumbered(now_us)
        return [parcel] * self.rng.randint(2, 4)

    def again(self, now_us: int) -> Wave:
        """A record that was sent before, sent again."""
        return [self.rng.choice(self.repeatable)] if self.repeatable else self.numbered(now_us)

    def behind(self, now_us: int) -> Wave:
        """An event that comes when its windows are closed: it counts all the same."""
        ago_us = self.rng.randint(LATENESS_SECOND_S, 7_200) * US_PER_S
        event = self._event(self._pool(), "slow", now_us - ago_us, numbered=False)
        return [self._kept(self._single(event))]

    def too_late(self, now_us: int) -> Wave:
        """An event from beyond the acceptance horizon."""
        ago_us = (HORIZON_S + self.rng.randint(600, 86_400)) * US_PER_S
        return [self._refused(Fate.LATE, at_us=now_us - ago_us)]

    def too_early(self, now_us: int) -> Wave:
        """An event from far in the future."""
        ahead_us = self.rng.randint(3_600, 864_000) * US_PER_S
        return [self._refused(Fate.DEAD, at_us=now_us + ahead_us)]

    def unknown(self, now_us: int) -> Wave:
        """An event of a pool or an entitlement that nobody has applied."""
        if self.rng.random() < 0.5:
            return [self._refused(Fate.DEAD, at_us=now_us, pool=f"nowhere-{self.made % 9}")]
        return [self._refused(Fate.DEAD, at_us=now_us, entitlement="nobody")]

    def garbage(self, now_us: int) -> Wave:
        """A record that is no event: no JSON, a tombstone, nothing, or amounts that cannot be."""
        value = self.rng.choice((b"not json", b"{", b"[]", b"[1,", None, b"", self._wrong(now_us)))
        tag = self._tag("garbage")
        self.account.expect(tag, Expected(Fate.DEAD))
        return [Parcel(self._pool(), value, _tagged((), tag), (tag,))]

    def misplaced(self, now_us: int) -> Wave:
        """Events in a partition that is not their pool's."""
        by = self.rng.randint(1, 3)
        source = f"stray-{by}"
        if self.rng.random() < 0.3:
            return self.frame(now_us, source=source, misplaced=by)
        event = self._event(self._pool(), source, now_us, numbered=self.rng.random() < 0.5)
        return [self._kept(replace(self._single(event), misplaced=by))]

    def foreign(self, now_us: int) -> Wave:
        """An event that librdkafka's own partitioner places."""
        event = self._event(self._pool(), "librdkafka", now_us)
        return [replace(self._single(event), foreign=True)]

    # --- parts -----------------------------------------------------------------------------------

    def _conflict(self, now_us: int) -> tuple[Parcel, Parcel]:
        """Return an event, and another body under its id to be sent after it."""
        source = self._gateway() if self.rng.random() < 0.5 else "plain"
        event = self._event(self._pool(), source, now_us, numbered=source != "plain")
        data = event.data
        usurper = replace_event(event, output_tokens=data.output_tokens + 1)
        tag = self._tag("conflict")
        self.account.expect(tag, Expected(Fate.DEAD, data.pool, data.entitlement))
        value, headers = encode_structured(usurper)
        return self._single(event), Parcel(data.pool, value, _tagged(headers, tag), (tag,))

    def _refused(self, fate: Fate, *, at_us: int, pool: str = "", entitlement: str = "") -> Parcel:
        event = self._event(pool or self._pool(), "refused", at_us, numbered=False, fate=fate)
        if entitlement:
            event = replace_event(event, entitlement=entitlement)
        return self._single(event)

    def _wrong(self, now_us: int) -> bytes:
        """Return an event whose amounts or times cannot be true."""
        value, _ = encode_structured(_blank("broken", "broken", "chat", "e0", now_us))
        envelope = json.loads(value)
        envelope["data"].update(
            self.rng.choice(
                (
                    {"output_tokens": -5},
                    {"input_tokens": 10**15},
                    {"output_tokens": 1, "reasoning_tokens": 2},
                    {"input_tokens": "many"},
                    {"end_us": 0},
                )
            )
        )
        return json.dumps(envelope).encode()

    def _event(
        self,
        pool: str,
        source: str,
        at_us: int,
        *,
        numbered: bool = True,
        fate: Fate = Fate.COUNTED,
    ) -> UsageEvent:
        """Draw an event, and enter into the account what must become of it."""
        rng = self.rng
        sequence = self._number(source, pool) if numbered else None
        self.made += 1
        name = f"{pool}/{sequence}" if numbered else f"u{self.made}"
        end_us = at_us - rng.randint(0, 2 * US_PER_S)
        event = replace_event(
            _blank(source, name, pool, rng.choice(ENTITLEMENTS), end_us),
            sequence,
            input_tokens=rng.randint(0, 4_000),
            cache_read_tokens=rng.choice((0, 0, rng.randint(1, 9_000))),
            cache_write_tokens=rng.choice((0, 0, rng.randint(1, 500))),
            output_tokens=(output := rng.randint(0, 900)),
            reasoning_tokens=rng.randint(0, output),
            start_us=end_us - rng.randint(0, 5 * US_PER_S),
            final=rng.random() < 0.7,
        )
        self.account.expect(key_of(source, name), _expected(event, fate))
        return event

    def _single(self, event: UsageEvent) -> Parcel:
        value, headers = encode_structured(event)
        return self._parcel([event], value, headers)

    def _frame(self, events: Sequence[UsageEvent]) -> Parcel:
        values = [encode_structured(event)[0] for event in events]
        if self.rng.random() < LINES_SHARE:
            return self._parcel(events, b"\n".join(values), ((CONTENT_TYPE_HEADER, NDJSON),))
        value = b"[" + b",".join(values) + b"]"
        return self._parcel(events, value, ((CONTENT_TYPE_HEADER, BATCH),))

    def _parcel(
        self, events: Sequence[UsageEvent], value: bytes, headers: Sequence[tuple[str, bytes]]
    ) -> Parcel:
        keys = tuple(key_of(event.source, event.id) for event in events)
        return Parcel(events[0].data.pool, value, tuple(headers), keys)

    def _kept(self, parcel: Parcel) -> Parcel:
        self.repeatable.append(parcel)
        return parcel

    def _shuffled(self, wave: Wave) -> Wave:
        """Return the wave with records that overtake a few others."""
        order = [
            (index + self.rng.randint(0, SHUFFLED_RECORDS), index) for index in range(len(wave))
        ]
        return [wave[index] for _, index in sorted(order)]

    def _number(self, source: str, pool: str) -> int:
        number = self.numbers.get((source, pool), 0) + 1
        self.numbers[source, pool] = number
        return number

    def _tag(self, kind: str) -> str:
        self.made += 1
        return f"{kind}-{self.made}"

    def _pool(self) -> str:
        return self.rng.choice(POOLS)

    def _gateway(self) -> str:
        return f"gateway-{self.rng.randint(0, 2)}"


KINDS: Final = (
    ("numbered", 40),
    ("unnumbered", 10),
    ("binary", 8),
    ("frame", 8),
    ("mixed_frame", 1),
    ("twice", 5),
    ("again", 5),
    ("behind", 4),
    ("too_late", 2),
    ("too_early", 1),
    ("unknown", 1),
    ("garbage", 2),
    ("misplaced", 5),
    ("foreign", 5),
    ("conflict", 2),
)
"""Kinds and how often they are drawn."""

_MAKERS: Final[dict[str, Callable[[Mill, int], Wave]]] = {
    name: getattr(Mill, name) for name, _ in KINDS if name != "conflict"
}


def key_of(source: str, name: str) -> str:
    """Return the key of an event that can be read."""
    return f"{source} {name}"


def replace_event(event: UsageEvent, sequence: int | None = None, **data: object) -> UsageEvent:
    """Return the event with other data (and another number)."""
    fields = {name: getattr(event.data, name) for name in event.data.__struct_fields__}
    return UsageEvent(
        source=event.source,
        id=event.id,
        sequence=event.sequence if sequence is None else sequence,
        data=UsageData(**{**fields, **data}),
    )


def _blank(source: str, name: str, pool: str, entitlement: str, end_us: int) -> UsageEvent:
    data = UsageData(pool=pool, entitlement=entitlement, start_us=end_us, end_us=end_us)
    return UsageEvent(source=source, id=name, sequence=None, data=data)


def _expected(event: UsageEvent, fate: Fate) -> Expected:
    data = event.data
    sums = Sums(
        data.input_tokens,
        data.cache_read_tokens,
        data.cache_write_tokens,
        data.output_tokens,
        data.reasoning_tokens,
        events=1,
    )
    return Expected(fate, data.pool, data.entitlement, sums)


def _tagged(headers: Sequence[tuple[str, bytes]], tag: str) -> Headers:
    return (*headers, (TAG_HEADER, tag.encode()))
