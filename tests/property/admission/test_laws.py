"""Laws 2, 3 and 7 at one admitter, and the bucket's, for any sequence of calls."""

from __future__ import annotations

from dataclasses import dataclass, field

from hypothesis import given, settings
from hypothesis import strategies as st

from admission.core.answers import Admitted, AdmittedDemoted, Closed, Refused
from admission.core.bucket import Bucket
from schemas.decisions import RefusalReason
from schemas.reservations import ReserveBody, SettleBody
from schemas.specs import ServiceClass
from schemas.units import NOTHING_HELD, US_PER_S, Held, Resources
from tests.unit.admission.pools import POOL, World, pool

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


@dataclass(frozen=True)
class EndOf:
    which: int
    how: str
    output_tokens: int


@dataclass(frozen=True)
class Wait:
    ms: int


@dataclass(frozen=True)
class Follow:
    shares: dict[str, Resources]
    common: Resources


Step = Ask | EndOf | Wait | Follow
asks = st.builds(
    Ask,
    st.sampled_from(CLASSES),
    st.integers(0, 60),
    st.integers(1, 60),
    st.integers(1, 3),
    st.booleans(),
)
ends = st.builds(
    EndOf,
    st.integers(0, 200),
    st.sampled_from(["settle", "release", "renew"]),
    st.integers(0, 300),
)
waits = st.builds(Wait, st.integers(1, 4_000))
follows = st.builds(Follow, shares, amounts)
steps = st.lists(st.one_of(asks, asks, ends, waits, follows), max_size=60)


@dataclass
class Story:
    """A world, what was done to it, and every id it gave."""

    world: World = field(default_factory=lambda: World(pool(headroom_slots=1)))
    ids: list[str] = field(default_factory=list)
    firsts: dict[str, int] = field(default_factory=dict)
    tick: int = 0
    told: list[str] = field(default_factory=list)

    def take(self, step: Step) -> None:
        self.told.append(str(step))
        match step:
            case Ask():
                self.ask(step)
            case EndOf(which, how, output_tokens) if self.ids:
                self.end(self.ids[which % len(self.ids)], how, output_tokens)
            case Wait(ms):
                self.world.pass_us(ms * 1_000)
            case Follow(new, common):
                self.follow(new, common)
            case _:
                pass

    def follow(self, new: dict[str, Resources], common: Resources, *, settle_s: int = 0) -> None:
        self.tick += 1
        self.world.share(new, common=common, tick=self.tick, settle_s=settle_s)

    def ask(self, step: Ask) -> None:
        world = self.world
        desk = world.gate.desks[POOL]
        account = desk.accounts[step.uid]
        body = ReserveBody(
            pool=POOL,
            entitlement=step.uid,
            input_tokens=step.input_tokens,
            max_tokens=step.max_tokens,
            n=step.n,
            allow_demotion=step.demote,
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
        above = Held(0, desk.kv_bytes_above, desk.slots_above)
        answer = world.gate.reserve(body, now=world.now)
        if isinstance(answer, Refused):
            assert not (inside and answer.refusal.reason in CONTENTION), self.told  # law 3
            assert desk.accounts[step.uid].held == account.held
            return
        assert isinstance(answer, Admitted | AdmittedDemoted)
        self.ids.append(answer.reservation.reservation_id)
        common = desk.outlook.common  # law 2: whoever draws on the common part finds it there
        if desk.slots_above > above.slots:
            assert desk.slots_above <= common.slots, self.told
        if desk.kv_bytes_above > above.kv_bytes:
            assert desk.kv_bytes_above <= common.kv_bytes, self.told

    def end(self, reservation_id: str, how: str, output_tokens: int) -> None:
        gate, now = self.world.gate, self.world.now
        if how == "renew":
            gate.renew(reservation_id, output_tokens=output_tokens, now=now)
            return
        body = SettleBody(output_tokens=output_tokens)
        settles = how == "settle"
        answer = (
            gate.settle(reservation_id, body, now=now)
            if settles
            else gate.release(reservation_id, now=now)
        )
        assert isinstance(answer, Closed)
        if answer.result.first:
            self.firsts[reservation_id] = self.firsts.get(reservation_id, 0) + 1

    def check(self) -> None:
        """Law 7, and that the sums are those of the open reservations."""
        gate = self.world.gate
        desk = gate.desks[POOL]
        totals = dict.fromkeys(CLASSES, NOTHING_HELD)
        for item in gate.reservations:
            totals[item.entitlement] += Held(item.tokens, item.kv_bytes, item.slots)
        assert {uid: each.held for uid, each in desk.accounts.items()} == totals, self.told
        assert desk.slots_above == sum(each.slots_above for each in desk.accounts.values())
        assert desk.kv_bytes_above == sum(each.kv_bytes_above for each in desk.accounts.values())
        counters = [each.counters for each in desk.accounts.values()]
        ended = sum(each.settled + each.released + each.expired for each in counters)
        assert sum(each.admitted for each in counters) == len(self.ids)
        assert ended + len(gate.reservations) == len(self.ids), self.told
        assert all(count == 1 for count in self.firsts.values()), self.told


@settings(max_examples=150, deadline=None)
@given(first=shares, common=amounts, steps=steps)
def test_laws_2_3_and_7_hold_for_any_sequence(
    first: dict[str, Resources], common: Resources, steps: list[Step]
) -> None:
    story = Story()
    story.follow(first, common, settle_s=60)
    for step in steps:
        story.take(step)
        story.check()


@settings(max_examples=150, deadline=None)
@given(
    first=shares,
    common=amounts,
    steps=st.lists(st.one_of(asks, asks, ends), max_size=60),
)
def test_held_never_exceeds_the_shares_plus_the_common_part(
    first: dict[str, Resources], common: Resources, steps: list[Step]
) -> None:
    story = Story()
    story.follow(first, common, settle_s=60)
    desk = story.world.gate.desks[POOL]
    for step in steps:
        story.take(step)
        used = [each.held for each in desk.accounts.values()]
        usable = [each.room.usable for each in desk.accounts.values()]

        assert sum(each.slots for each in used) <= sum(each.slots for each in usable) + common.slots
        assert (
            sum(each.kv_bytes for each in used)
            <= sum(each.kv_bytes for each in usable) + common.kv_bytes
        )


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
