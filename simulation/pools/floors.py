"""Floors: was a refused request inside its entitlement's whole floor?  Known to the judge alone.

An admitter sees its own part; the truth is what all of them hold, the dead included.  Throughput
has no holdings: there it is what the buckets of all admitters have not drained, against the depth
of the whole floor's bucket.
"""

from __future__ import annotations

from collections.abc import Sequence

from schemas.pools import Pool
from schemas.reservations import ReserveBody
from schemas.units import Dimension
from simulation.pools.door import Door
from simulation.pools.graves import Graves


def is_inside_floor(
    body: ReserveBody,
    *,
    pool: Pool,
    asked: Door,
    doors: Sequence[Door],
    graves: Graves,
    dimension: Dimension | None,
    now_us: int,
) -> bool:
    """Say whether the entitlement holds, with this request, no more than its floor as published."""
    desk = asked.desk
    entitlement = pool.entitlements.get(body.entitlement)
    if desk is None or entitlement is None or not entitlement.service_class.is_reserved:
        return False
    floor = entitlement.floor
    states = () if desk.state is None else desk.state.entitlements
    published = next((s.floor for s in states if s.entitlement == body.entitlement), floor)
    floor = floor.at_most(published)
    need = desk.offer(desk.accounts[body.entitlement], body).need
    lost = graves.held(body.entitlement, now_us=now_us)
    slots, kv_bytes = need.slots + lost.slots, need.kv_bytes + lost.kv_bytes
    level_tokens = 0
    for door in doors:
        account = None if door.desk is None else door.desk.accounts.get(body.entitlement)
        if account is not None:
            slots, kv_bytes = slots + account.slots, kv_bytes + account.kv_bytes
            level_tokens += account.share.level_tokens(door.moment(now_us).mono_us)
    if dimension is Dimension.THROUGHPUT and level_tokens >= floor.tokens_per_s * pool.bucket_s:
        return False
    return slots <= floor.slots and kv_bytes <= floor.kv_bytes
