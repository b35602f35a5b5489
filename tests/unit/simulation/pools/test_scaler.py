"""The autoscaler of the simulated product: the production rule on the ticks of the window."""

from __future__ import annotations

from schemas.units import US_PER_S
from simulation.pools.tokenpools import TokenPools
from tests.unit.simulation.pools.small_world import SmallWorld, small_pool


def test_the_floors_ask_for_replicas_before_anybody_comes() -> None:
    pools = TokenPools(small_pool(replicas=1), seed="idle")

    assert pools.replicas_wanted(now_us=0) is None

    pools.resize(ready=1, starting=0, draining=0, now_us=0)

    assert pools.replicas_wanted(now_us=0) == 1


def test_demand_of_baselines_asks_for_one_more() -> None:
    world = SmallWorld("busy", pool=small_pool(replicas=1), rate_per_s=40)

    world.run(30, arrivals_until_s=30)

    assert world.pools.replicas_wanted(now_us=30 * US_PER_S) == 2
