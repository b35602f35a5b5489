"""Pools, states and gates to test with: small numbers, every value nameable in a test."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from msgspec.structs import replace

from admission.core.answers import Admitted, AdmittedDemoted, Refused, ReserveAnswer
from admission.core.gate import Gate, Limits
from admission.core.moment import Moment
from admission.core.reporting import reports_of
from admission.core.tokens import Signer
from schemas.pools import UNLIMITED, Entitlement, Pool, Weights
from schemas.positions import Version
from schemas.reports import AdmitterReport
from schemas.reservations import Refusal, Reservation, ReserveBody
from schemas.specs import Leases, Metering, Policy, Scaling, ServiceClass
from schemas.state import AdmissionState, AdmitterView, EntitlementState, EntitlementStatus, Share
from schemas.units import NOTHING, US_PER_S, Resources

POOL: Final = "chat"
HERE: Final = "a-1"
THERE: Final = "b-1"
KEY: Final = b"0123456789abcdef"
KV_PER_TOKEN: Final = 10
CAPACITY: Final = Resources(10_000, 1_000_000, 100)
FLOOR: Final = Resources(1_000, 100_000, 10)
LEASES: Final = Leases(lease_ms=5_000, hold_seconds=30, renew_seconds=5, admitters_max=4)


def entitlement(
    uid: str,
    service_class: ServiceClass,
    *,
    baseline: Resources = FLOOR,
    ceiling: Resources | None = None,
    keys: tuple[str, ...] = (),
) -> Entitlement:
    """Return an entitlement whose ceiling is what its class gives when none is named."""
    baseline = baseline if service_class.has_baseline else NOTHING
    fixed = service_class is ServiceClass.GUARANTEED
    return Entitlement(
        uid=uid,
        tenant=f"tenant-{uid}",
        pool=POOL,
        service_class=service_class,
        slo_ms=1_000,
        baseline=baseline,
        ceiling=ceiling or (baseline if fixed else UNLIMITED),
        lendable=baseline if fixed else NOTHING,
        keys=keys,
    )


ALL_CLASSES: Final = tuple(entitlement(each.value, each) for each in ServiceClass)


def pool(
    *entitlements: Entitlement,
    headroom_slots: int = 0,
    shadow: bool = False,
    name: str = POOL,
    weights: Weights | None = None,
) -> Pool:
    """Return a pool of one replica; without entitlements it has one of each class."""
    return Pool(
        name=name,
        model="m",
        replicas_min=1,
        replicas_max=1,
        per_replica=CAPACITY,
        kv_bytes_per_token=KV_PER_TOKEN,
        weights=weights or Weights(),
        bucket_s=10,
        headroom_slots=headroom_slots,
        reference_slo_ms=1_000,
        default_max_tokens=100,
        decode_tokens_per_s_min=10,
        price_list="default",
        policy=Policy(tick_ms=1_000, shadow=shadow),
        leases=LEASES,
        metering=Metering(),
        scaling=Scaling(),
        entitlements={each.uid: each for each in entitlements or ALL_CLASSES},
    )


def state(
    spec: Pool,
    *,
    shares: Mapping[str, Mapping[str, Resources]],
    tick: int = 1,
    common: Mapping[str, Resources] | None = None,
    sequences: Mapping[str, int] | None = None,
    alive: Mapping[str, bool] | None = None,
    home: str = HERE,
    statuses: Mapping[str, EntitlementStatus] | None = None,
) -> AdmissionState:
    """Return a state: ``shares`` by entitlement and admitter, ``common`` by admitter."""
    alive = alive or {HERE: True}
    common, sequences = common or {}, sequences or {HERE: 1}
    return AdmissionState(
        pool=spec.name,
        version=Version(1, 1, tick),
        capacity=CAPACITY,
        admitters=tuple(
            AdmitterView(
                incarnation=name,
                url=f"http://{name}",
                alive=lives,
                sequence=sequences.get(name, 0),
                common=common.get(name, NOTHING),
            )
            for name, lives in alive.items()
        ),
        entitlements=tuple(
            EntitlementState(
                entitlement=uid,
                service_class=each.service_class,
                status=(statuses or {}).get(uid, EntitlementStatus.BOUND),
                floor=each.floor,
                grant=_sum(shares.get(uid, {})),
                home=home,
                shares=tuple(
                    Share(admitter=admitter, floor=each.floor.at_most(part), grant=part)
                    for admitter, part in shares.get(uid, {}).items()
                ),
            )
            for uid, each in spec.entitlements.items()
        ),
    )


def lent(whole: AdmissionState, grants: Mapping[str, Resources]) -> AdmissionState:
    """Return the state with only so much of these entitlements' shares granted: the rest is lent.

    As everywhere, a share is the larger of floor and grant, and only a floor can be lent.
    """
    return replace(
        whole,
        entitlements=tuple(
            replace(
                each,
                shares=tuple(
                    replace(share, grant=grants.get(each.entitlement, share.grant))
                    for share in each.shares
                ),
            )
            for each in whole.entitlements
        ),
    )


def _sum(parts: Mapping[str, Resources]) -> Resources:
    total = NOTHING
    for part in parts.values():
        total += part
    return total


@dataclass
class World:
    """A gate and its clock; time passes only when a test says so."""

    spec: Pool = field(default_factory=pool)
    incarnation: str = HERE
    limits: Limits = field(default_factory=Limits)
    now_us: int = 1_000 * US_PER_S
    gate: Gate = field(init=False)

    def __post_init__(self) -> None:
        url = f"http://{self.incarnation}"
        self.gate = Gate(self.incarnation, url, Signer(KEY), self.limits)
        self.gate.follow_pool(self.spec, now=self.now)

    @property
    def now(self) -> Moment:
        """This instant."""
        return Moment(self.now_us, self.now_us)

    def pass_us(self, us: int) -> None:
        """Let time pass."""
        self.now_us += us

    def pass_s(self, seconds: int) -> None:
        """Let whole seconds pass."""
        self.now_us += seconds * US_PER_S

    def report(self, *, leaving: bool = False) -> AdmitterReport:
        """Return this tick's report."""
        desk = self.gate.desks[self.spec.name]
        (only,) = reports_of(
            desk,
            self.gate.reservations,
            url=self.gate.url,
            leaving=leaving,
            now_us=self.now_us,
        )
        return only

    def follow(self, new: AdmissionState) -> bool:
        """Follow a state."""
        return self.gate.follow_state(new, now=self.now)

    def share(
        self,
        shares: Mapping[str, Resources],
        *,
        common: Resources = NOTHING,
        tick: int = 1,
        settle_s: int = 60,
        grants: Mapping[str, Resources] | None = None,
        **rest: Any,
    ) -> None:
        """Give this admitter shares, long enough ago that its buckets have drained, freshly."""
        for at in (2 * tick, 2 * tick + 1):
            sequence = self.report().sequence
            new = state(
                self.spec,
                shares={uid: {self.incarnation: part} for uid, part in shares.items()},
                common={self.incarnation: common},
                sequences={self.incarnation: sequence},
                tick=at,
                **rest,
            )
            assert self.follow(lent(new, grants or {}))
            self.pass_s(settle_s if at == 2 * tick else 0)

    def reserve(self, uid: str, *, input_tokens: int = 10, **rest: Any) -> ReserveAnswer:
        """Ask for a request of 10 input and at most 10 output tokens unless said otherwise."""
        fields: dict[str, Any] = {"max_tokens": 10, **rest}
        body = ReserveBody(
            pool=self.spec.name,
            entitlement=uid,
            input_tokens=input_tokens,
            **fields,
        )
        return self.gate.reserve(body, now=self.now)

    def admitted(self, uid: str, **rest: Any) -> Reservation:
        """Reserve, and expect to be admitted."""
        answer = self.reserve(uid, **rest)
        assert isinstance(answer, Admitted | AdmittedDemoted), answer
        return answer.reservation

    def refused(self, uid: str, **rest: Any) -> Refusal:
        """Reserve, and expect to be refused."""
        answer = self.reserve(uid, **rest)
        assert isinstance(answer, Refused), answer
        return answer.refusal
