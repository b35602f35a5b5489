"""Ledger records: the values of the two Faust tables, as they stand in the changelogs.

``consumption`` holds one record per (pool, entitlement) of totals, one per open window, one per
numbered gateway and pool (its *line*), dedupe marks and one per partition; every record carries the
source position that it includes, so folding a record again is a no-op.  Keys end in the writer's
group generation: a late write of a former owner lands under its own key and loses by position
(restore takes the highest position over the generations).
"""

from __future__ import annotations

import msgspec

from schemas.positions import NO_VERSION, Position, Version
from schemas.specs import ServiceClass
from schemas.state import AdmissionState
from schemas.units import NO_TOKENS, NOTHING, NOTHING_HELD, Held, Resources, TokenCounts
from schemas.verdicts import VerdictCounts
from schemas.wire import union_decoder


class WindowTotals(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, gc=False):
    """Totals of one event-time window."""

    tokens: TokenCounts = NO_TOKENS
    events: int = 0
    requests: int = 0
    demoted_tokens: int = 0

    def __add__(self, other: WindowTotals) -> WindowTotals:
        return WindowTotals(
            tokens=self.tokens + other.tokens,
            events=self.events + other.events,
            requests=self.requests + other.requests,
            demoted_tokens=self.demoted_tokens + other.demoted_tokens,
        )


class TotalsEntry(
    msgspec.Struct, frozen=True, kw_only=True, tag="totals", tag_field="kind", gc=False
):
    """Everything an entitlement ever consumed (key ``t|pool|entitlement|generation``)."""

    pool: str
    entitlement: str
    position: Position
    totals: WindowTotals


class WindowEntry(
    msgspec.Struct,
    frozen=True,
    kw_only=True,
    omit_defaults=True,
    tag="minute",
    tag_field="kind",
    gc=False,
    rename={"start_us": "minute_us"},
):
    """One window ``[start_us, start_us + window_us)`` of one entitlement by event time.

    Keys: ``s|pool|entitlement|window_us|start_us``; minutes ``m|`` and hours ``h|`` without the
    length.  On the wire it is called a minute, because minutes were there first.
    """

    pool: str
    entitlement: str
    tenant: str = ""
    model: str = ""
    start_us: int
    window_us: int = 60_000_000
    position: Position
    """Of the last event in it."""
    totals: WindowTotals


class Mark(msgspec.Struct, frozen=True, array_like=True):
    """An accepted id as it was written before ``MarksEntry.digests``: base64 of its digests."""

    identity: str
    body: str
    offset: int
    index: int


class MarksEntry(
    msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, tag="marks", tag_field="kind"
):
    """Accepted ids (key ``d|partition|first offset``), packed little-endian."""

    partition: int
    position: Position
    stored_us: int
    """The broker's timestamp of the last event in it: what the horizon is counted from."""
    event_us_max: int = 0
    """The largest event time in it: when the marks go, the acceptance floor rises above this."""
    marks: tuple[Mark, ...] = ()
    digests: bytes = b""
    """8 bytes for each: the identity's digest."""
    bodies: bytes = b""
    """4 bytes for each: the body's digest."""
    places: bytes = b""
    """8 bytes for each: offset x 4096 + index."""


class NumberedRun(msgspec.Struct, frozen=True, array_like=True):
    """Accepted events of one line with consecutive numbers."""

    source: str
    pool: str
    first: int
    bodies: bytes
    """4 bytes for each, little-endian: the body's digest."""


class NumberedEntry(msgspec.Struct, frozen=True, kw_only=True, tag="numbered", tag_field="kind"):
    """Bodies of numbered events (key ``n|partition|first offset``).

    Only the newest are kept: they tell a conflict from a duplicate.  What counts is in the lines.
    """

    partition: int
    position: Position
    first_offset: int
    """The last offset of the first fold whose events are in it."""
    runs: tuple[NumberedRun, ...]


class LineEntry(
    msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, tag="line", tag_field="kind"
):
    """Which numbers of one gateway were accepted in one pool (key ``q|partition|source|pool``).

    Accepted is every number below ``next`` that is in no gap.
    """

    source: str
    pool: str
    partition: int
    position: Position
    stored_us: int
    """The broker's timestamp of its last event."""
    event_us_max: int
    next: int
    gaps: tuple[tuple[int, int], ...] = ()
    """Numbers ``[start, stop)`` that were not seen yet, ascending."""
    closed_below: int = 0
    """Below this, gaps were forgotten for want of room: an unseen number is *late*, not new."""


class ReplayedEntry(msgspec.Struct, frozen=True, kw_only=True, tag="replayed", tag_field="kind"):
    """A dead letter that was replayed and counted (key ``r|partition|replayed position``)."""

    partition: int
    position: Position
    replays: Position


class PartitionEntry(msgspec.Struct, frozen=True, kw_only=True, tag="partition", tag_field="kind"):
    """What one partition has read and judged (key ``p|partition|generation``)."""

    partition: int
    position: Position
    stored_us: int
    """The broker's timestamp of the record at ``position``: a re-created topic shows by it."""
    counts: VerdictCounts
    verdicts_offset: int = 0
    """Offset in ``verdicts`` from which a new owner must read."""
    floor_us: int = 0
    watermark_us: int = 0
    """Largest event time accepted."""
    clock_us: int = 0
    """Largest stored time seen: windows close by it, so a broker's clock may step back."""
    rolled: tuple[Position, Position, Position] | None = None
    """Through which position windows of seconds, of minutes and of hours are in ``rollups``."""


LedgerEntry = (
    TotalsEntry
    | WindowEntry
    | MarksEntry
    | NumberedEntry
    | LineEntry
    | ReplayedEntry
    | PartitionEntry
)


class ShareRecord(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """A share that an admitter may still follow: published with ``version``, not yet replaced."""

    entitlement: str
    admitter: str
    version: Version
    floor: Resources = NOTHING
    grant: Resources = NOTHING


class AdmitterRecord(msgspec.Struct, frozen=True, kw_only=True):
    """One incarnation as the tick knows it."""

    incarnation: str
    url: str = ""
    alive: bool = True
    sequence: int = 0
    applied: Version = NO_VERSION
    received_us: int = 0
    """The tick owner's clock when its last report arrived."""
    counts_until_us: int = 0
    """Dead: until when its last holdings count."""
    held: dict[str, Held] = {}
    replaced_by: str = ""
    left: bool = False
    """It said that it was leaving: it serves nothing any more, not even a static safe share."""
    ttl_ms_max: int = 0
    """The longest life that it has given a reservation, as it reported."""
    reach: Resources = NOTHING
    """The most that it may hold under any state that it may follow, as of this tick; of a dead one
    as of the last tick in which it lived."""
    reach_until_us: int = 0
    """Dead: until when something that it admitted after its last report may still run."""
    safe: Resources | None = None
    """Dead by silence: the static safe share that it may still serve on its own."""


class DebtRecord(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """One entitlement's fairness state."""

    entitlement: str
    debt_ppm: int = 0
    burst_ppm: int = 0
    service_class: ServiceClass | None = None
    debt_rest: int = 0
    burst_rest: int = 0
    """What ``debt_ppm`` and ``burst_ppm`` leave out, in millionths of a ppm."""


class TickRecord(msgspec.Struct, frozen=True, kw_only=True):
    """The tick's record in table ``debt`` (key ``pool|generation``), before its state."""

    pool: str
    version: Version
    at_us: int
    debts: tuple[DebtRecord, ...] = ()
    shares: tuple[ShareRecord, ...] = ()
    admitters: tuple[AdmitterRecord, ...] = ()
    homes: dict[str, str] = {}
    homes_lost: dict[str, Version] = {}
    """By incarnation: the last version in which a home of its moved away."""
    common: dict[str, Resources] = {}
    owed_tokens: int = 0
    state: tuple[AdmissionState, ...] = ()
    """The parts published last."""
    held: Held = NOTHING_HELD
    raise_after_us: int = 0
    """The tick owner's clock: until then (one lease after a takeover) no share is raised."""


_decode_entry = union_decoder(LedgerEntry)


def decode_entry(raw: bytes) -> LedgerEntry:
    """Return the record of table ``consumption`` that ``raw`` holds."""
    entry: LedgerEntry = _decode_entry(raw)
    return entry
