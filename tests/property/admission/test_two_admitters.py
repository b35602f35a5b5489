"""Two admitters on one pool: together they never hold more than the pool has (law 2).

The states here are what streams promises: per dimension the parts of the shares and of the common
share sum to no more than capacity, and do not change; states may reach the admitters late or not
at all, reports are echoed whenever a state arrives.
"""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from admission.core.answers import Admitted, Refused
from schemas.reservations import SettleBody
from schemas.specs import ServiceClass
from schemas.units import Resources
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


@settings(max_examples=100, deadline=None)
@given(steps=steps)
def test_slots_and_kv_held_never_exceed_capacity(steps: list[tuple[str, str, int]]) -> None:
    worlds = {name: World(SPEC, name) for name in (HERE, THERE)}
    ids: dict[str, list[str]] = {HERE: [], THERE: []}
    for world in worlds.values():
        follow(world, 1)
        world.pass_s(60)
        follow(world, 2)
    for tick, (name, what, amount) in enumerate(steps, start=3):
        world = worlds[name]
        if what == "wait":
            for each in worlds.values():
                each.pass_s(amount)
        elif what == "state":
            follow(world, tick)
        elif what == "settle" and ids[name]:
            world.gate.settle(ids[name].pop(), SettleBody(), now=world.now)
        elif what in SPEC.entitlements:
            answer = world.reserve(what, input_tokens=10 * amount)
            if isinstance(answer, Admitted):
                ids[name].append(answer.reservation.reservation_id)
            else:
                assert isinstance(answer, Refused)
        held = [
            account.held
            for each in worlds.values()
            for account in each.gate.desks[POOL].accounts.values()
        ]

        assert sum(each.slots for each in held) <= CAPACITY.slots
        assert sum(each.kv_bytes for each in held) <= CAPACITY.kv_bytes
