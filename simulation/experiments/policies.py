"""Policies: the names that ``--policy`` accepts and the policies that they stand for.

Token pools come in variants: how many slots are kept free of spot, spot served as preemptible
(evicted at once when a reserved request needs the slot), or reserved requests above their own
limit served as spot.  The others are models, each labelled as such where it is defined.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

import msgspec

from schemas.errors import SpecError
from schemas.pools import Entitlement, Pool
from schemas.specs import ServiceClass


class Kind(StrEnum):
    """Which policy decides."""

    TOKEN_POOLS = "token-pools"
    NONE = "none"
    WINDOWED = "windowed"
    PAPER_RULE = "paper-rule"
    CENTRAL = "central"


@dataclass(frozen=True, kw_only=True)
class Choice:
    """One name of ``--policy``."""

    name: str
    about: str
    kind: Kind
    headroom_slots: int | None = None
    """None: what the experiment or the pool says."""
    spot_is_preemptible: bool = False
    allow_demotion: bool = False
    """Reserved requests above their own limit may be served as spot."""

    def adapted(self, pool: Pool) -> Pool:
        """Return the pool as this variant runs it."""
        if self.headroom_slots is not None:
            pool = msgspec.structs.replace(pool, headroom_slots=self.headroom_slots)
        if not self.spot_is_preemptible:
            return pool
        entitlements = {uid: _preemptible(each) for uid, each in pool.entitlements.items()}
        leases = msgspec.structs.replace(pool.leases, renew_seconds=1, evict_grace_seconds=1)
        return msgspec.structs.replace(pool, entitlements=entitlements, leases=leases)


def _preemptible(entitlement: Entitlement) -> Entitlement:
    if entitlement.service_class is not ServiceClass.SPOT:
        return entitlement
    return msgspec.structs.replace(entitlement, service_class=ServiceClass.PREEMPTIBLE)


def _choices(*choices: Choice) -> Mapping[str, Choice]:
    return {choice.name: choice for choice in choices}


POLICIES: Final[Mapping[str, Choice]] = _choices(
    Choice(
        name="token-pools",
        about="token pools: the production functions under a virtual clock",
        kind=Kind.TOKEN_POOLS,
    ),
    Choice(
        name="none",
        about="no admission control: every request goes to the engine's queue",
        kind=Kind.NONE,
    ),
    Choice(
        name="windowed",
        about="windowed reserve (model): estimates in fixed windows of 60 s, corrected at the end",
        kind=Kind.WINDOWED,
    ),
    Choice(
        name="paper-rule",
        about="the paper's rule (model): five checks, weight above the lowest admitted one",
        kind=Kind.PAPER_RULE,
    ),
    Choice(
        name="central",
        about="a yardstick (model): one counter that knows everything at once; slots alone",
        kind=Kind.CENTRAL,
    ),
    *(
        Choice(
            name=f"central/headroom-{slots}",
            about=f"the yardstick, with {slots} slots kept free of spot",
            kind=Kind.CENTRAL,
            headroom_slots=slots,
        )
        for slots in range(5)
    ),
    *(
        Choice(
            name=f"token-pools/headroom-{slots}",
            about=f"token pools that keep {slots} slots free of spot",
            kind=Kind.TOKEN_POOLS,
            headroom_slots=slots,
        )
        for slots in range(5)
    ),
    Choice(
        name="token-pools/preemption",
        about="token pools, no headroom; spot is preemptible, told every second, gone in one",
        kind=Kind.TOKEN_POOLS,
        headroom_slots=0,
        spot_is_preemptible=True,
    ),
    Choice(
        name="token-pools/demotion",
        about="token pools; reserved requests above their own limit may be served as spot",
        kind=Kind.TOKEN_POOLS,
        allow_demotion=True,
    ),
)
"""What can be compared, by name."""


def chosen(names: Sequence[str]) -> tuple[Choice, ...]:
    """Return the policies of these names; raise ``SpecError`` for one that does not exist."""
    for name in names:
        if name not in POLICIES:
            raise SpecError("policy", f"{name!r} is none of {', '.join(POLICIES)}")
    return tuple(POLICIES[name] for name in dict.fromkeys(names))
