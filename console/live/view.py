"""What is the loop doing now?  A view folded from the messages on its topics.

Plain data, no Kafka and no terminal: ``see`` takes one decoded message, ``pools`` returns rows
ready to draw.  Counters of admitters are cumulative per incarnation, so rows sum over every
incarnation seen.  Times to first token are kept for the last ``TTFT_SAMPLES_MAX`` requests of each
class.
"""

from __future__ import annotations

from collections import Counter, deque
from dataclasses import dataclass, field
from typing import Final

from schemas.capacity import PoolCapacity
from schemas.pools import Pool
from schemas.positions import Version
from schemas.reports import AdmitterReport, EntitlementReport
from schemas.scaling import ScaleDecision, ScaleDirection
from schemas.specs import ServiceClass
from schemas.state import AdmissionState
from schemas.ticks import EntitlementInput, EntitlementOutput, Tick
from schemas.units import NOTHING, Resources
from schemas.usage import UsageEvent

TTFT_SAMPLES_MAX: Final = 5_000
INCARNATIONS_MAX: Final = 256
NOTES_MAX: Final = 200

Message = Tick | AdmissionState | AdmitterReport | ScaleDecision | PoolCapacity | UsageEvent


@dataclass(frozen=True, kw_only=True)
class EntitlementRow:
    """One entitlement, ready to draw."""

    entitlement: str
    service_class: ServiceClass
    status: str
    floor: Resources
    grant: Resources
    served_tokens_per_s: int
    held_slots: int
    debt_ppm: int
    admitted: int
    demoted: int
    evicted: int
    refused: dict[str, int]


@dataclass(frozen=True, kw_only=True)
class AdmitterRow:
    """One admitter in one pool, ready to draw."""

    incarnation: str
    url: str
    state_age_ms: int
    applied: Version
    share_slots: int
    common_slots: int
    held_slots: int
    leaving: bool


@dataclass(frozen=True, kw_only=True)
class PoolRow:
    """One pool, ready to draw."""

    name: str
    model: str
    version: Version
    capacity: Resources
    served_tokens_per_s: int
    held_slots: int
    held_kv_bytes: int
    common_slots: int
    ready: int
    starting: int
    draining: int
    desired: int | None
    contended: bool
    entitlements: tuple[EntitlementRow, ...]
    admitters: tuple[AdmitterRow, ...]


@dataclass(frozen=True, kw_only=True)
class Overshoot:
    """How far a pool's holdings exceeded its capacity, tick by tick (law 2)."""

    ticks: int = 0
    beyond: int = 0
    """Ticks in which held slots or KV exceeded capacity by more than the exported bound."""
    excess_max: Resources = NOTHING
    bound_max: Resources = NOTHING
    """Its throughput is tokens over any window, not a rate."""

    def seen(self, tick: Tick) -> Overshoot:
        """Return this with one more tick."""
        excess, bound = tick.excess, tick.overshoot_bound
        beyond = excess.slots > bound.slots or excess.kv_bytes > bound.kv_bytes
        return Overshoot(
            ticks=self.ticks + 1,
            beyond=self.beyond + beyond,
            excess_max=self.excess_max.at_least(excess),
            bound_max=self.bound_max.at_least(bound),
        )


@dataclass
class PoolView:
    """What was last seen of one pool."""

    tick: Tick | None = None
    parts: dict[int, AdmissionState] = field(default_factory=dict)
    reports: dict[str, AdmitterReport] = field(default_factory=dict)
    entitlement_reports: dict[tuple[str, str], EntitlementReport] = field(default_factory=dict)
    decision: ScaleDecision | None = None
    overshoot: Overshoot = Overshoot()


class LoopView:
    """Folds messages into rows; scale decisions taken before ``since_us`` are old news."""

    def __init__(self, *, since_us: int = 0) -> None:
        self._since_us = since_us
        self._pools: dict[str, PoolView] = {}
        self._classes: dict[tuple[str, str], ServiceClass] = {}
        self._ttft_us: dict[ServiceClass, deque[int]] = {}
        self._notes: deque[str] = deque(maxlen=NOTES_MAX)
        self.notes_total = 0
        self.scale_decisions: list[ScaleDecision] = []

    def note(self, text: str) -> None:
        """Keep a line for a person: what happened."""
        self._notes.append(text)
        self.notes_total += 1

    def notes(self, count: int) -> list[str]:
        """Return the latest lines, at most ``count``."""
        return list(self._notes)[-count:] if count > 0 else []

    def learn(self, pool: Pool) -> None:
        """Learn the classes of a pool's entitlements."""
        self._pools.setdefault(pool.name, PoolView())
        for entitlement in pool.entitlements.values():
            self._classes[pool.name, entitlement.uid] = entitlement.service_class

    def see(self, message: Message) -> None:
        """Fold one message in."""
        match message:
            case Tick():
                self._see_tick(message)
            case AdmissionState():
                self._see_state(message)
            case AdmitterReport():
                self._see_report(message)
            case ScaleDecision():
                self._see_decision(message)
            case UsageEvent():
                self._see_usage(message)
            case PoolCapacity():
                pass

    def pools(self) -> list[PoolRow]:
        """Return every pool that has ticked, by name."""
        return [
            _pool_row(view.tick, view)
            for _, view in sorted(self._pools.items())
            if view.tick is not None
        ]

    def ttft_us(self) -> dict[ServiceClass, list[int]]:
        """Return the times to first token of recent requests by class (microseconds)."""
        return {kind: list(samples) for kind, samples in self._ttft_us.items()}

    def overshoots(self) -> dict[str, Overshoot]:
        """Return per pool how far what was held exceeded capacity, and what bound was exported."""
        return {name: view.overshoot for name, view in self._pools.items()}

    def counters(self) -> dict[str, EntitlementReport]:
        """Return the counters of every incarnation, keyed ``pool/incarnation/entitlement``."""
        return {
            f"{name}/{incarnation}/{uid}": report
            for name, view in self._pools.items()
            for (incarnation, uid), report in view.entitlement_reports.items()
        }

    def _see_tick(self, tick: Tick) -> None:
        view = self._pools.setdefault(tick.pool, PoolView())
        view.tick = tick
        view.overshoot = view.overshoot.seen(tick)
        for output in tick.outputs:
            self._classes[tick.pool, output.entitlement] = output.service_class

    def _see_state(self, state: AdmissionState) -> None:
        view = self._pools.setdefault(state.pool, PoolView())
        view.parts = {
            number: part for number, part in view.parts.items() if part.version == state.version
        }
        view.parts[state.part] = state

    def _see_report(self, report: AdmitterReport) -> None:
        view = self._pools.setdefault(report.pool, PoolView())
        if len(view.reports) >= INCARNATIONS_MAX and report.incarnation not in view.reports:
            view.reports.pop(next(iter(view.reports)))
        view.reports[report.incarnation] = report
        for entitlement in report.entitlements:
            key = report.incarnation, entitlement.entitlement
            before = view.entitlement_reports.get(key)
            self._note_evictions(report.pool, before, entitlement)
            view.entitlement_reports[key] = entitlement

    def _note_evictions(
        self, pool: str, before: EntitlementReport | None, now: EntitlementReport
    ) -> None:
        """Say how many of an entitlement's requests were told to stop since the last report."""
        more = now.evicted - (0 if before is None else before.evicted)
        if more > 0:
            were = "request was" if more == 1 else "requests were"
            self.note(f"{pool}: {more} {were} evicted of {now.entitlement}")

    def _see_decision(self, decision: ScaleDecision) -> None:
        view = self._pools.setdefault(decision.pool, PoolView())
        before, view.decision = view.decision, decision
        if decision.at_us < self._since_us or decision.direction is ScaleDirection.HOLD:
            return
        if before is None or before.desired != decision.desired:
            self.scale_decisions.append(decision)
            self.note(
                f"autoscaler: {decision.pool} {decision.current} -> {decision.desired} replicas "
                f"({decision.reason}, from {decision.source})"
            )

    def _see_usage(self, event: UsageEvent) -> None:
        data = event.data
        kind = data.served_class or self._classes.get((data.pool, data.entitlement))
        if kind is None or data.first_token_us is None or not data.final:
            return
        samples = self._ttft_us.setdefault(kind, deque(maxlen=TTFT_SAMPLES_MAX))
        samples.append(max(0, data.first_token_us - data.requested_us))


def _pool_row(tick: Tick, view: PoolView) -> PoolRow:
    inputs = {row.entitlement: row for row in tick.inputs.entitlements}
    decision = view.decision
    outputs = sorted(tick.outputs, key=lambda row: (row.service_class.rank, row.entitlement))
    return PoolRow(
        name=tick.pool,
        model=tick.model,
        version=tick.version,
        capacity=tick.capacity,
        served_tokens_per_s=sum(row.served_tokens_per_s for row in inputs.values()),
        held_slots=sum(row.held.slots for row in inputs.values()),
        held_kv_bytes=sum(row.held.kv_bytes for row in inputs.values()),
        common_slots=tick.common.slots,
        ready=tick.inputs.replicas_ready,
        starting=tick.inputs.replicas_starting,
        draining=tick.inputs.replicas_draining,
        desired=None if decision is None else decision.desired,
        contended=tick.contended,
        entitlements=tuple(
            _entitlement_row(output, inputs.get(output.entitlement), view) for output in outputs
        ),
        admitters=tuple(_admitter_row(report, view) for _, report in sorted(view.reports.items())),
    )


def _entitlement_row(
    output: EntitlementOutput, inputs: EntitlementInput | None, view: PoolView
) -> EntitlementRow:
    refused: Counter[str] = Counter()
    admitted = demoted = evicted = 0
    for (_, uid), report in view.entitlement_reports.items():
        if uid == output.entitlement:
            refused.update(report.refused)
            admitted += report.admitted
            demoted += report.demoted
            evicted += report.evicted
    return EntitlementRow(
        entitlement=output.entitlement,
        service_class=output.service_class,
        status=output.status,
        floor=output.floor,
        grant=output.grant,
        served_tokens_per_s=0 if inputs is None else inputs.served_tokens_per_s,
        held_slots=0 if inputs is None else inputs.held.slots,
        debt_ppm=output.debt_ppm,
        admitted=admitted,
        demoted=demoted,
        evicted=evicted,
        refused=dict(refused),
    )


def _admitter_row(report: AdmitterReport, view: PoolView) -> AdmitterRow:
    name = report.incarnation
    shares = [
        share.usable.slots
        for part in view.parts.values()
        for row in part.entitlements
        for share in row.shares
        if share.admitter == name
    ]
    common = [
        row.common.slots
        for part in view.parts.values()
        for row in part.admitters
        if row.incarnation == name
    ]
    held = [
        row.held.slots
        for (incarnation, _), row in view.entitlement_reports.items()
        if incarnation == name
    ]
    return AdmitterRow(
        incarnation=name,
        url=report.url,
        state_age_ms=report.state_age_ms,
        applied=report.applied,
        share_slots=sum(shares),
        common_slots=max(common, default=0),
        held_slots=sum(held),
        leaving=report.leaving,
    )
