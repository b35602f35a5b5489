"""Floors: was what a rival refused inside the entitlement's floor?

The judge of law 3 for policies that know no floors.  It follows what each reserved entitlement
holds over all doors (sequences, KV cache, and a bucket that drains at the floor's rate) and says
whether one more request would still have been inside in all three dimensions.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from admission.core.bucket import Bucket
from schemas.pools import Entitlement, Pool
from schemas.units import TokenCounts
from simulation.policy import Ask


@dataclass(slots=True)
class _Watched:
    slots: int = 0
    kv_bytes: int = 0
    bucket: Bucket = field(default_factory=Bucket)


class FloorWatch:
    """What reserved entitlements hold."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool
        self._watched = {
            uid: _Watched(bucket=Bucket(rate=each.floor.tokens_per_s, depth_s=pool.bucket_s))
            for uid, each in pool.entitlements.items()
            if each.service_class.is_reserved
        }

    def is_inside(self, ask: Ask, *, now_us: int) -> bool:
        """Say whether the request would be inside the floor; False for classes without one."""
        watched = self._watched.get(ask.entitlement)
        if watched is None:
            return False
        floor = self._entitlement(ask).floor
        return (
            watched.slots + ask.n <= floor.slots
            and watched.kv_bytes + self._kv_bytes(ask) <= floor.kv_bytes
            and watched.bucket.admits(now_us)
        )

    def admitted(self, ask: Ask, *, now_us: int) -> None:
        """Count a request that started."""
        watched = self._watched.get(ask.entitlement)
        if watched is None:
            return
        watched.slots += ask.n
        watched.kv_bytes += self._kv_bytes(ask)
        watched.bucket.charge(estimate_tokens(ask), now_us=now_us)

    def ended(self, ask: Ask, used: TokenCounts, *, now_us: int) -> None:
        """Count a request that ended, and charge what it really used."""
        watched = self._watched.get(ask.entitlement)
        if watched is None:
            return
        watched.slots -= ask.n
        watched.kv_bytes -= self._kv_bytes(ask)
        excess = self._pool.weights.cost_tokens(used) - estimate_tokens(ask)
        watched.bucket.charge(excess, now_us=now_us)

    def _entitlement(self, ask: Ask) -> Entitlement:
        return self._pool.entitlements[ask.entitlement]

    def _kv_bytes(self, ask: Ask) -> int:
        return kv_bytes(ask, self._pool)


def estimate_tokens(ask: Ask) -> int:
    """Return uncached input and all the output that was asked for: what rivals reserve."""
    return ask.input_tokens - ask.cached_input_tokens + ask.n * ask.max_tokens


def kv_bytes(ask: Ask, pool: Pool) -> int:
    """Return the KV cache that the request can come to need."""
    return (ask.input_tokens + ask.n * ask.max_tokens) * pool.kv_bytes_per_token
