"""Scene: what does a tick find before it decides anything?

Who is alive, what each admitter holds, asks for and may still follow, which version this tick
has, and whether shares may be raised.  From it come the tick's inputs, which are published: what
is decided is a function of them alone.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from schemas.ledger import AdmitterRecord, DebtRecord, TickRecord
from schemas.pools import Pool
from schemas.positions import NO_VERSION, Position, Version
from schemas.reports import EntitlementReport
from schemas.ticks import EntitlementInput, ReportPosition, TickInputs
from schemas.units import NOTHING_HELD, US_PER_MS, US_PER_S, Held, Resources
from streams.core.capacity import LiveCapacity
from streams.core.demand import Local, demand_of, duration_of, local_of, pending_of
from streams.core.distribution import Sight
from streams.core.fairness import tick_elapsed_us
from streams.core.followed import COMMON, Key, followed
from streams.core.homes import homes
from streams.core.incarnations import alive, census, orphaned, taken_over, urls_of
from streams.core.overshoot import deaf_extras, kept_headroom, with_safe_shares
from streams.core.reports import Reported


@dataclass(frozen=True)
class TickSources:
    """Everything that a tick reads besides the last record."""

    now_us: int
    elapsed_us: int
    """Since the last tick, over which ``served_tokens`` were paid out; 0 in a first tick."""
    generation: int
    pool: Pool
    capacity: LiveCapacity
    reports: tuple[Reported, ...]
    """The newest of every incarnation, the dead ones included while they are remembered."""
    served_tokens: Mapping[str, int]
    ledger: Position | None
    takeover: bool
    """Whether this is the first tick of a new owner."""


@dataclass(frozen=True)
class Scene:
    """What the tick found, before it decides anything."""

    version: Version
    record: TickRecord
    """The last one, or an empty one."""
    admitters: tuple[AdmitterRecord, ...]
    sight: Sight
    raises: bool
    repeats: bool
    """Whether the last state is repeated because not every admitter has been heard yet."""
    raise_after_us: int
    deaf: Mapping[str, Resources]
    """What static safe shares add to the shares of live admitters that may hear nothing."""

    def all_held(self) -> Held:
        """Return what all admitters hold, the dead included, entitlements without a spec too."""
        places = [place.held for place in self.sight.locals.values()]
        return _sum([*places, *self.sight.orphaned.values()])


def scene_of(record: TickRecord | None, sources: TickSources) -> Scene:
    """Return what this tick finds; ``record`` is the last one stored, if any."""
    version = _version(record, sources)
    last = record or TickRecord(pool=sources.pool.name, version=NO_VERSION, at_us=sources.now_us)
    before, raise_after_us = last.admitters, last.raise_after_us
    leases = sources.pool.leases
    if sources.takeover and record is not None:
        before = taken_over(before, at_us=last.at_us, now_us=sources.now_us, leases=leases)
        raise_after_us = sources.now_us + leases.lease_ms * US_PER_MS
    admitters = with_safe_shares(
        census(before, sources.reports, now_us=sources.now_us, leases=leases), last, sources.pool
    )
    live = alive(admitters)
    heard = {reported.report.incarnation for reported in sources.reports}
    raises = sources.now_us >= raise_after_us
    sight = _sight(last, sources, admitters=admitters, live=live)
    return Scene(
        version=version,
        record=last,
        admitters=admitters,
        sight=sight,
        raises=raises,
        repeats=not raises and bool(last.state) and not live.keys() <= heard,
        raise_after_us=raise_after_us,
        deaf=deaf_extras(
            live, sources.reports, sight.followed, last, sources.pool, now_us=sources.now_us
        ),
    )


def _version(record: TickRecord | None, sources: TickSources) -> Version:
    """Epoch = max(generation, stored + 1) for a new owner; every tick has a number of its own."""
    if record is None:
        return Version(max(sources.generation, 1), sources.generation, 1)
    last = record.version
    epoch = max(sources.generation, last.epoch + 1) if sources.takeover else last.epoch
    version = Version(epoch, sources.generation, last.tick + 1)
    assert version > last
    return version


def _sight(
    record: TickRecord,
    sources: TickSources,
    *,
    admitters: tuple[AdmitterRecord, ...],
    live: Mapping[str, AdmitterRecord],
) -> Sight:
    reports: dict[Key, EntitlementReport] = {
        (item.entitlement, reported.report.incarnation): item
        for reported in sources.reports
        if reported.report.incarnation in live
        for item in reported.report.entitlements
    }
    places = {key: local_of(item) for key, item in reports.items()}
    heard = {reported.report.incarnation for reported in sources.reports}
    for name, admitter in live.items():
        if name not in heard:
            places |= {(uid, name): _unheard(held) for uid, held in admitter.held.items()}
    chains = followed(record.shares, {name: item.applied for name, item in live.items()})
    seen = {uid for uid, _ in (*chains, *places)} - {COMMON}
    return Sight(
        live=live,
        followed=chains,
        locals=places,
        reports=reports,
        stale={
            item.report.incarnation: item.report.state_age_ms > sources.pool.leases.lease_ms
            for item in sources.reports
        },
        orphaned=orphaned(admitters, sources.reports, now_us=sources.now_us),
        homes=homes(sources.pool.entitlements, urls_of(live)),
        split_slots=sources.pool.leases.split_slots,
        kept_slots=kept_headroom(sources.pool, uids=seen, admitters=len(live)),
    )


def _unheard(held: Held) -> Local:
    """What a live admitter held last, known from the record alone."""
    return Local(held=held, steady=Resources(0, held.kv_bytes, held.slots))


def inputs_of(scene: Scene, sources: TickSources) -> TickInputs:
    """Return everything that the policy reads, as it is published."""
    capacity, pool = sources.capacity, sources.pool
    debts = {item.entitlement: item for item in scene.record.debts}
    return TickInputs(
        at_us=sources.now_us,
        elapsed_us=sources.elapsed_us,
        spec_version=pool.version,
        spec_digest=pool.digest,
        capacity_writer=capacity.writer,
        replicas_ready=capacity.ready,
        replicas_starting=capacity.starting,
        replicas_draining=capacity.draining,
        per_replica=capacity.per_replica,
        ledger=sources.ledger,
        reports=tuple(
            ReportPosition(
                incarnation=item.incarnation,
                sequence=item.sequence,
                age_ms=max(0, sources.now_us - item.received_us) // US_PER_MS,
                alive=item.alive,
            )
            for item in scene.admitters
        ),
        entitlements=tuple(
            _input(uid, scene, sources, debts.get(uid)) for uid in sorted(pool.entitlements)
        ),
    )


def _input(
    uid: str, scene: Scene, sources: TickSources, debt: DebtRecord | None
) -> EntitlementInput:
    elapsed_us = tick_elapsed_us(sources.pool, sources.elapsed_us)
    served = sources.served_tokens.get(uid, 0) * US_PER_S // elapsed_us
    places = _places(scene.sight, uid)
    lost = scene.sight.orphaned.get(uid, NOTHING_HELD)
    service_class = sources.pool.entitlements[uid].service_class
    if debt is None or debt.service_class is not service_class:
        debt = DebtRecord(entitlement=uid)
    return EntitlementInput(
        entitlement=uid,
        served_tokens_per_s=served,
        held=_sum([*(place.held for place in places), lost]) if places else lost,
        pending=pending_of(places),
        expected_duration_ms=duration_of(places),
        demand=demand_of(places, served_tokens_per_s=served, orphaned=lost),
        debt_ppm=debt.debt_ppm,
        debt_rest=debt.debt_rest,
        burst_ppm=debt.burst_ppm,
        burst_rest=debt.burst_rest,
    )


def _places(sight: Sight, uid: str) -> list[Local]:
    """Return what the live admitters that know of the entitlement say of it."""
    found = [sight.locals.get((uid, name)) for name in sight.live]
    return [place for place in found if place is not None]


def _sum(amounts: Sequence[Held]) -> Held:
    return Held(
        sum([amount.tokens for amount in amounts]),
        sum([amount.kv_bytes for amount in amounts]),
        sum([amount.slots for amount in amounts]),
    )
