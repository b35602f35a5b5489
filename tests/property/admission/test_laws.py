"""Laws 2, 3, 7 and 8 at one admitter, and the bucket's, for any sequence of calls."""

from __future__ import annotations

from dataclasses import dataclass, field

from hypothesis import given
from hypothesis import strategies as st

from admission.core.answers import Admitted, AdmittedDemoted, Closed, Refused, Renewed
from admission.core.bucket import Bucket
from admission.core.eviction import Eviction
from admission.core.pool import PoolDesk
from admission.core.staleness import Freshness
from schemas.decisions import RefusalReason
from schemas.reservations import ReserveBody, SettleBody
from schemas.specs import ServiceClass
from schemas.units import NOTHING_HELD, US_PER_S, Held, Resources
from tests.property.examples import examples
from tests.unit.admission.pools import POOL, THERE, World, pool

CLASSES = [each.value for each in ServiceClass]
CONTENTION = {each.value for each in RefusalReason if each.is_contention}
amounts = st.builds(Resources, st.integers(0, 500), st.integers(0, 5_000), st.integers(0, 6))
shares = st.dictionaries(st.sampled_from(CLASSES), amounts, min_size=1)


@dataclass(frozen=True)
class Ask:
    uid: str
    input_tokens: int
    max_tokens: int
    n: int
    demote: bool
    renews: bool


@dataclass(frozen=True)
class EndOf:
    which: int
    how: str
    output_tokens: int
    repeated: bool


@dataclass(frozen=True)
class Wait:
    ms: int


@dataclass(frozen=True)
class Follow:
    """A state; of every share the first ``granted`` tenths are granted, the rest is lent."""

    shares: dict[str, Resources]
    common: Resources
    granted: int


Step = Ask | EndOf | Wait | Follow
asks = st.builds(
    Ask,
    st.sampled_from(CLASSES),
    st.integers(0, 60),
    st.integers(1, 60),
    st.integers(1, 3),
    st.booleans(),
    st.sampled_from([True, True, True, False]),
)
ends = st.builds(
    EndOf,
    st.integers(0, 200),
    st.sampled_from(["settle", "release", "renew", "renew", "stop"]),
    st.integers(0, 300),
    st.booleans(),
)
waits = st.builds(Wait, st.sampled_from([1, 10, 500, 1_000, 4_000, 4_000, 31_000]))
follows = st.builds(Follow, shares, amounts, st.integers(0, 10))
steps = st.lists(st.one_of(asks, asks, ends, ends, waits, follows), max_size=60)


WIDE = 10**6
"""Tokens/s and bytes that are never short, so that slots are."""


def wide(low: int, high: int) -> st.SearchStrategy[Resources]:
    return st.builds(Resources, st.just(WIDE), st.just(WIDE), st.integers(low, high))


lendings = st.builds(
    Follow,
    st.fixed_dictionaries({"guaranteed": wide(2, 5), "elastic": wide(0, 2)}),
    wide(1, 3),
    st.integers(0, 9),
)
small_asks = st.builds(
    Ask,
    st.sampled_from(["guaranteed", "guaranteed", "elastic", "spot", "preemptible", "preemptible"]),
    st.just(10),
    st.just(10),
    st.sampled_from([1, 1, 1, 2]),
    st.just(False),
    st.sampled_from([True, True, True, False]),
)
small_steps = st.lists(
    st.one_of(small_asks, small_asks, small_asks, small_asks, ends), min_size=6, max_size=30
)


def dead_admitters_ids() -> list[str]:
    """Reservations of an incarnation that no state of ``World`` lists any more."""
    there = World(pool(), THERE)
    there.share(dict.fromkeys(CLASSES, Resources(500, 5_000, 6)), alive={THERE: True}, home=THERE)
    return [there.admitted(uid).reservation_id for uid in CLASSES]


@dataclass
class Story:
    """A world, what was done to it, and every id it gave or may take over."""

    world: World = field(default_factory=lambda: World(pool(headroom_slots=1)))
    ids: list[str] = field(default_factory=list)
    given: int = 0
    firsts: dict[str, int] = field(default_factory=dict)
    sent_away: set[str] = field(default_factory=set)
    told: dict[str, int] = field(default_factory=dict)
    tick: int = 0
    story: list[str] = field(default_factory=list)

    @property
    def desk(self) -> PoolDesk:
        return self.world.gate.desks[POOL]

    def take(self, step: Step) -> None:
        self.story.append(str(step))
        match step:
            case Ask():
                self.ask(step)
            case EndOf() if self.ids:
                self.end(self.ids[step.which % len(self.ids)], step)
            case Wait(ms):
                self.world.pass_us(ms * 1_000)
            case Follow():
                self.follow(step)
            case _:
                pass

    def follow(self, step: Follow, *, settle_s: int = 0) -> None:
        self.tick += 1
        grants = {uid: each.times(step.granted).split(10) for uid, each in step.shares.items()}
        self.world.share(
            step.shares, common=step.common, tick=self.tick, settle_s=settle_s, grants=grants
        )

    def ask(self, step: Ask) -> None:
        world, desk = self.world, self.desk
        account = desk.accounts[step.uid]
        body = ReserveBody(
            pool=POOL,
            entitlement=step.uid,
            input_tokens=step.input_tokens,
            max_tokens=step.max_tokens,
            n=step.n,
            allow_demotion=step.demote,
            can_renew=step.renews,
        )
        world.gate.expire(world.now)
        desk.refresh(world.now_us)
        need = desk.offer(account, body).need
        inside = (
            account.room.closed is None
            and account.slots + need.slots <= account.room.usable.slots
            and account.kv_bytes + need.kv_bytes <= account.room.usable.kv_bytes
            and account.share.admits(world.now_us)
        )
        awaited = step.uid == "preemptible" and desk.must_wait(need, world.now_us)
        above = Held(0, desk.kv_bytes_above, desk.slots_above)
        answer = world.gate.reserve(body, now=world.now)
        if isinstance(answer, Refused):
            refused = answer.refusal.reason in CONTENTION
            assert not (inside and refused and not awaited), self.story  # law 3
            self.evicted(answer.eviction)
            return
        assert isinstance(answer, Admitted | AdmittedDemoted)
        self.given += 1
        self.ids.append(answer.reservation.reservation_id)
        if isinstance(answer, Admitted):
            self.evicted(answer.eviction)
        self.judge_admitted(step.uid, above)

    def judge_admitted(self, uid: str, above: Held) -> None:
        """Law 2: whoever draws on the common part finds it there.  Law 8: by class when stale."""
        desk = self.desk
        common, lent = desk.outlook.common, desk.lent_idle.less(desk.lent_used)
        if desk.slots_above > above.slots:
            assert desk.slots_above <= common.slots + lent.slots, self.story
        if desk.kv_bytes_above > above.kv_bytes:
            assert desk.kv_bytes_above <= common.kv_bytes + lent.kv_bytes, self.story
        service_class = ServiceClass(uid)
        match desk.freshness:
            case Freshness.HOLD:
                assert service_class.has_baseline, self.story
            case Freshness.STALE:
                assert service_class.is_reserved, self.story
            case _:
                assert desk.freshness is Freshness.FRESH

    def evicted(self, eviction: Eviction | None) -> None:
        """Only preemptible reservations that are open and renewed go, and each is named once."""
        for reservation_id in eviction.reservation_ids if eviction else ():
            assert reservation_id not in self.sent_away, self.story
            self.sent_away.add(reservation_id)
            number = {each.reservation_id: each.number for each in self.world.gate.reservations}
            chosen = self.world.gate.reservations.get(number[reservation_id])
            assert chosen is not None
            assert chosen.served_class is ServiceClass.PREEMPTIBLE
            assert chosen.renew_ms > 0

    def end(self, reservation_id: str, step: EndOf) -> None:
        gate, now = self.world.gate, self.world.now
        if step.how in ("renew", "stop"):
            answer = gate.renew(reservation_id, output_tokens=step.output_tokens, now=now)
            told = isinstance(answer, Renewed) and answer.renewal.verdict == "evict"
            if isinstance(answer, Renewed):
                self.judge_told(answer, now.mono_us)
            if step.how == "renew" or not told:
                return
        body = SettleBody(output_tokens=step.output_tokens, repeated=step.repeated)
        ended = (
            gate.release(reservation_id, now=now)
            if step.how == "release"
            else gate.settle(reservation_id, body, now=now)
        )
        assert isinstance(ended, Closed)
        if ended.result.first:
            self.firsts[reservation_id] = self.firsts.get(reservation_id, 0) + 1

    def judge_told(self, answer: Renewed, now_us: int) -> None:
        """The deadline is named once and never moves."""
        renewal = answer.renewal
        if renewal.verdict == "evict":
            by_us = now_us + renewal.evict_in_ms * 1_000
            first = self.told.setdefault(renewal.reservation_id, by_us)
            assert abs(first - by_us) < 1_000, self.story
        else:
            assert renewal.reservation_id not in self.told, self.story

    def check(self) -> None:
        """Law 7, and that the sums are those of the open reservations."""
        gate, desk = self.world.gate, self.desk
        totals = dict.fromkeys(CLASSES, NOTHING_HELD)
        for item in gate.reservations:
            totals[item.entitlement] += Held(item.tokens, item.kv_bytes, item.slots)
        assert {uid: each.held for uid, each in desk.accounts.items()} == totals, self.story
        assert desk.slots_above == sum(each.slots_above for each in desk.accounts.values())
        assert desk.kv_bytes_above == sum(each.kv_bytes_above for each in desk.accounts.values())
        assert desk.held.slots == sum(each.slots for each in totals.values())
        assert desk.held.kv_bytes == sum(each.kv_bytes for each in totals.values())
        lent = [each.called_back for each in desk.accounts.values()]
        assert desk.lent_used.slots == sum(each.slots for each in lent)
        assert desk.lent_used.kv_bytes == sum(each.kv_bytes for each in lent)
        going = desk.reclaim.going.values()
        assert desk.reclaim.going_slots == sum(each.slots for each in going)
        assert desk.reclaim.going_slots == sum(e.evicting_slots for e in desk.accounts.values())
        assert all(gate.reservations.get(each.number) is each for each in going)
        counters = [each.counters for each in desk.accounts.values()]
        ended = sum(each.settled + each.released + each.expired for each in counters)
        opened = sum(each.admitted + each.adopted for each in counters)
        assert sum(each.admitted for each in counters) == self.given
        assert ended + len(gate.reservations) == opened, self.story
        assert all(count == 1 for count in self.firsts.values()), self.story

    def end_everything(self) -> None:
        """Whatever is open now ends: nothing may be left, and nothing be freed twice."""
        self.world.pass_s(10_000)
        self.world.gate.expire(self.world.now)
        self.check()
        desk = self.desk
        assert all(each.held == NOTHING_HELD for each in desk.accounts.values()), self.story
        assert (desk.held.slots, desk.held.kv_bytes) == (0, 0)
        assert (desk.slots_above, desk.kv_bytes_above) == (0, 0)
        assert (desk.reclaim.going, desk.reclaim.renewable) == ({}, {})
        before = [each.counters.settled_tokens for each in desk.accounts.values()]
        for reservation_id in self.ids:
            self.world.gate.release(reservation_id, now=self.world.now)
        assert before == [each.counters.settled_tokens for each in desk.accounts.values()]


@examples(200)
@given(first=follows, steps=steps)
def test_laws_2_3_7_and_8_hold_for_any_sequence(first: Follow, steps: list[Step]) -> None:
    story = Story(ids=dead_admitters_ids())
    story.follow(first, settle_s=60)
    for step in steps:
        story.take(step)
        story.check()
    story.end_everything()


@examples(150)
@given(first=follows, steps=st.lists(st.one_of(asks, asks, ends), max_size=60))
def test_held_never_exceeds_the_shares_plus_the_common_part(
    first: Follow, steps: list[Step]
) -> None:
    story = Story()
    story.follow(first, settle_s=60)
    desk, common = story.desk, first.common
    for step in steps:
        story.take(step)
        used = [each.held for each in desk.accounts.values()]
        usable = [each.room.usable for each in desk.accounts.values()]

        assert sum(each.slots for each in used) <= sum(each.slots for each in usable) + common.slots
        assert (
            sum(each.kv_bytes for each in used)
            <= sum(each.kv_bytes for each in usable) + common.kv_bytes
        )


@examples(200)
@given(first=lendings, steps=small_steps)
def test_what_was_lent_comes_back_unless_nothing_preemptible_is_left(
    first: Follow, steps: list[Step]
) -> None:
    """Less what is going, never more is held than is lent to nobody (no newer state comes)."""
    story = Story(World(pool()))
    story.follow(first, settle_s=60)
    desk = story.desk
    for step in steps:
        story.take(step)
        going, kept = desk.reclaim, desk.kept

        assert going.renewable == {} or (
            desk.held.slots - going.going_slots <= kept.slots
            and desk.held.kv_bytes - going.going_kv_bytes <= kept.kv_bytes
        ), story.story


moves = st.one_of(
    st.tuples(st.just("charge"), st.integers(1, 300)),
    st.tuples(st.just("wait"), st.integers(1, 3 * US_PER_S)),
    st.tuples(st.just("rate"), st.integers(0, 200)),
)


@given(moves=st.lists(moves, max_size=80))
def test_tokens_charged_never_exceed_the_integral_of_the_rate_and_one_request(
    moves: list[tuple[str, int]],
) -> None:
    bucket, now_us, charged, allowed_utok, largest = Bucket(), 0, 0, 0, 0
    for what, amount in moves:
        if what == "wait":
            allowed_utok += bucket.rate * amount
            now_us += amount
        elif what == "rate":
            bucket.reshape(amount, depth_s=10, now_us=now_us)
        elif bucket.admits(now_us):
            bucket.charge(amount, now_us=now_us)
            charged += amount
            largest = max(largest, amount)

        assert charged * US_PER_S <= allowed_utok + largest * US_PER_S


@given(rate=st.integers(1, 10_000), tokens=st.integers(1, 10**6))
def test_the_first_request_of_an_idle_pool_never_waits(rate: int, tokens: int) -> None:
    bucket = Bucket()
    bucket.reshape(rate, depth_s=10, now_us=5)
    first = bucket.admits(5)
    bucket.charge(tokens, now_us=5)

    assert first
    assert not bucket.admits(5)
