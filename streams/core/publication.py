"""Publication: when is a new state worth publishing, and how is it cut into parts?

A state is published when something changed that an admitter acts on, or when half of its lease
has passed.  What is only shown to people (demand, debt, weight) does not count as a change.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from schemas.positions import NO_VERSION
from schemas.state import (
    PART_BYTES_MAX,
    AdmissionState,
    AdmitterView,
    EntitlementState,
)
from schemas.units import US_PER_MS
from schemas.wire import encode


def is_due(before: Sequence[AdmissionState], state: AdmissionState) -> bool:
    """Say whether the whole ``state`` must be published after ``before`` (parts; may be empty)."""
    if not before:
        return True
    age_us = state.at_us - before[0].at_us
    half_lease_us = state.lease_ms * US_PER_MS // 2
    return not 0 <= age_us < half_lease_us or not _acts_alike(whole(before), state)


def whole(parts: Sequence[AdmissionState]) -> AdmissionState:
    """Return the parts of one state put together."""
    entitlements = tuple(item for part in parts for item in part.entitlements)
    return msgspec.structs.replace(parts[0], part=0, parts=1, entitlements=entitlements)


def in_parts(
    state: AdmissionState, *, bytes_max: int = PART_BYTES_MAX
) -> tuple[AdmissionState, ...]:
    """Return the state in numbered parts whose encodings stay within ``bytes_max``.

    The first part carries the admitters, every part the pool's own fields.
    """
    head = msgspec.structs.replace(state, entitlements=(), part=_MANY, parts=_MANY)
    bare = msgspec.structs.replace(head, admitters=())
    groups: list[list[EntitlementState]] = [[]]
    left = bytes_max - len(encode(head))
    for item in state.entitlements:
        size = len(encode(item)) + 1
        if groups[-1] and size > left:
            groups.append([])
            left = bytes_max - len(encode(bare))
        groups[-1].append(item)
        left -= size
    return tuple(
        msgspec.structs.replace(
            bare,
            part=number,
            parts=len(groups),
            admitters=state.admitters if number == 0 else (),
            entitlements=tuple(group),
        )
        for number, group in enumerate(groups)
    )


_MANY = 1_000_000
"""A part number as wide as any."""


def _acts_alike(before: AdmissionState, state: AdmissionState) -> bool:
    """Say whether an admitter would do the same after both."""
    return (
        _acted_on(before) == _acted_on(state)
        and len(before.entitlements) == len(state.entitlements)
        and all(map(_act_alike, before.entitlements, state.entitlements))
    )


def _acted_on(state: AdmissionState) -> AdmissionState:
    """Return the pool's own part without what changes every tick and changes nobody's behaviour."""
    return msgspec.structs.replace(
        state,
        version=NO_VERSION,
        at_us=0,
        overshoot_bound=state.capacity,
        contended=False,
        admitters=tuple(_acted_on_view(view) for view in state.admitters),
        entitlements=(),
    )


def _acted_on_view(view: AdmitterView) -> AdmitterView:
    return msgspec.structs.replace(view, sequence=0, applied=NO_VERSION)


def _act_alike(before: EntitlementState, item: EntitlementState) -> bool:
    return (
        before.grant == item.grant
        and before.shares == item.shares
        and before.floor == item.floor
        and before.home == item.home
        and before.status == item.status
        and before.status_reason == item.status_reason
        and before.service_class == item.service_class
        and before.entitlement == item.entitlement
    )
