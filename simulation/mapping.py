"""Mapping: whose entitlement a recorded request is charged to, by a rule that can be said aloud.

A trace knows tenants by its own names, or none at all.  The rule turns each arrival into an
entitlement; it looks at the arrivals so far and at nothing else, so the same trace is always
mapped alike.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final

from schemas.errors import SpecError
from simulation.arrivals import Arrival

TENANTS_MAX: Final = 100_000
"""Tenants that round robin remembers; those that come later are dealt out request by request."""


class MappingRule(StrEnum):
    """How tenants become entitlements."""

    BY_NAME = "by_name"
    BY_SHARE = "by_share"
    ROUND_ROBIN = "round_robin"


@dataclass(frozen=True, kw_only=True)
class TenantMapping:
    """The rule and what it needs; ``replay.mapping`` of a pools file."""

    rule: MappingRule = MappingRule.BY_NAME
    names: Mapping[str, str] = field(default_factory=dict)
    """by_name: tenant of the trace -> entitlement; one that is not named maps to its own name."""
    default: str = ""
    """by_name: who gets the requests of tenants that match nothing; empty: they are left out."""
    weights: Mapping[str, int] = field(default_factory=dict)
    """by_share: entitlement -> its part of the requests."""


def check_mapping(mapping: TenantMapping, *, entitlements: Sequence[str]) -> None:
    """Raise ``SpecError`` when the rule names an entitlement that does not exist."""
    if mapping.rule is MappingRule.BY_SHARE and not mapping.weights:
        raise SpecError("replay.mapping.weights", "by_share needs a weight for each entitlement")
    named = [
        *((f"replay.mapping.names.{tenant}", uid) for tenant, uid in mapping.names.items()),
        *((f"replay.mapping.weights.{uid}", uid) for uid in mapping.weights),
    ]
    if mapping.default:
        named.append(("replay.mapping.default", mapping.default))
    for path, uid in named:
        if uid not in entitlements:
            raise SpecError(path, f"no entitlement {uid!r} in this file")
    for uid, weight in mapping.weights.items():
        if weight < 1:
            raise SpecError(f"replay.mapping.weights.{uid}", "must be at least 1")


def sentence(mapping: TenantMapping) -> str:
    """Return the rule in words, for the screen."""
    match mapping.rule:
        case MappingRule.BY_NAME:
            rest = f"go to {mapping.default}" if mapping.default else "are left out"
            return f"tenants map to the entitlement of their name; unknown ones {rest}"
        case MappingRule.BY_SHARE:
            parts = ", ".join(f"{uid} {weight}" for uid, weight in mapping.weights.items())
            return f"requests are dealt out by share, whoever sent them: {parts}"
        case MappingRule.ROUND_ROBIN:
            return (
                "tenants are dealt to the entitlements in turn as they appear; "
                "requests without a tenant one by one"
            )


class Mapper:
    """Maps arrivals in order.  ``entitlements`` are (uid, tenant) pairs in the file's order."""

    def __init__(self, mapping: TenantMapping, entitlements: Sequence[tuple[str, str]]) -> None:
        self._mapping = mapping
        self._uids = [uid for uid, _ in entitlements]
        self._by_name = {tenant: uid for uid, tenant in reversed(entitlements)}
        self._by_name.update({uid: uid for uid in self._uids})
        self._by_name.update(mapping.names)
        self._credit = dict.fromkeys(mapping.weights, 0)
        self._dealt: dict[str, str] = {}
        self._turn = 0

    def entitlement_of(self, arrival: Arrival) -> str | None:
        """Return the entitlement that the arrival is charged to; None: it is left out."""
        match self._mapping.rule:
            case MappingRule.BY_NAME:
                return self._by_name.get(arrival.tenant, self._mapping.default or None)
            case MappingRule.BY_SHARE:
                return self._by_share()
            case MappingRule.ROUND_ROBIN:
                return self._round_robin(arrival.tenant)

    def _by_share(self) -> str:
        """Smooth weighted round robin: every prefix of the requests is close to the weights."""
        for uid, weight in self._mapping.weights.items():
            self._credit[uid] += weight
        chosen = max(self._credit, key=lambda uid: self._credit[uid])
        self._credit[chosen] -= sum(self._mapping.weights.values())
        return chosen

    def _round_robin(self, tenant: str) -> str:
        if tenant in self._dealt:
            return self._dealt[tenant]
        uid = self._uids[self._turn % len(self._uids)]
        self._turn += 1
        if tenant and len(self._dealt) < TENANTS_MAX:
            self._dealt[tenant] = uid
        return uid
