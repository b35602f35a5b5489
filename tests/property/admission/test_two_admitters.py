"""Two admitters on one pool: together they never hold more than the pool has (law 2).

The states here are what streams promises: per dimension the parts of the shares and of the common
share sum to no more than capacity, and do not change; states may reach the admitters late or not
at all, reports are echoed whenever a state arrives.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from hypothesis import given
from hypothesis import strategies as st

from admission.core.answers import Admitted
from schemas.reservations import SettleBody
from schemas.specs import ServiceClass
from schemas.units import NOTHING_HELD, Held, Resources
from tests.property.examples import examples
from tests.unit.admission.pools import FLOOR, HERE, POOL, THERE, World, entitlement, pool, state

CAPACITY = Resources(2_000, 200_000, 20)
SPEC = pool(
    entitlement("guaranteed", ServiceClass.GUARANTEED, baseline=FLOOR),
    entitlement("spot", ServiceClass.SPOT),
)
SHARES = {"guaranteed": {HERE: FLOOR}}
COMMON = {HERE: Resources(500, 60_000, 6), THERE: Resources(500, 40_000, 4)}
steps = st.lists(
    st.tuples(
        st.sampled_from([HERE, THERE]),
        st.sampled_from(["guaranteed", "spot", "state", "settle", "wait"]),
        st.integers(0, 40),
    ),
    max_size=80,
)


def follow(world: World, tick: int) -> None:
    sequences = {world.incarnation: world.report().sequence}
    alive = {HERE: True, THERE: True}
    new = state(
        SPEC, shares=SHARES, common=COMMON, sequences=sequences, alive=alive, tick=tick, home=HERE
    )
    assert world.follow(new)


@dataclass
class Pair:
    """Both admitters, their buckets drained, on one clock."""

    worlds: dict[str, World] = field(
        default_factory=lambda: {name: World(SPEC, name) for name in (HERE, THERE)}
    )
    ids: dict[str, list[str]] = field(default_factory=lambda: {HERE: [], THERE: []})

    def __post_init__(self) -> None:
        for world in self.worlds.values():
            follow(world, 1)
            world.pass_s(60)
            follow(world, 2)

    def take(self, tick: int, name: str, what: str, amount: int) -> None:
        world = self.worlds[name]
        if what == "wait":
            for each in self.worlds.values():
                each.pass_s(amount)
        elif what == "state":
            follow(world, tick)
        elif what in SPEC.entitlements:
            self.ask(name, what, amount)
        elif self.ids[name]:
            world.gate.settle(self.ids[name].pop(), SettleBody(), now=world.now)

    def ask(self, name: str, uid: str, amount: int) -> None:
        answer = self.worlds[name].reserve(uid, input_tokens=10 * amount)
        if isinstance(answer, Admitted):
            self.ids[name].append(answer.reservation.reservation_id)

    def held(self) -> Held:
        total = NOTHING_HELD
        for world in self.worlds.values():
            for account in world.gate.desks[POOL].accounts.values():
                total += account.held
        return total


@examples(100)
@given(steps=steps)
def test_slots_and_kv_held_never_exceed_capacity(steps: list[tuple[str, str, int]]) -> None:
    pair = Pair()
    for tick, (name, what, amount) in enumerate(steps, start=3):
        pair.take(tick, name, what, amount)

        assert pair.held().slots <= CAPACITY.slots
        assert pair.held().kv_bytes <= CAPACITY.kv_bytes
