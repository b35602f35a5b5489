"""Publication: what is worth sending, and parts that fit."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from schemas.positions import Version
from schemas.specs import ServiceClass
from schemas.state import (
    AdmissionState,
    AdmitterView,
    EntitlementState,
    EntitlementStatus,
    Share,
)
from schemas.units import Resources
from schemas.wire import encode
from streams.core.publication import in_parts, is_due, whole

LEASE_MS = 5_000
VIEW = AdmitterView(incarnation="a-1", url="http://a", sequence=7, common=Resources(1, 2, 3))
ITEM = EntitlementState(
    entitlement="e",
    service_class=ServiceClass.ELASTIC,
    grant=Resources(1, 2, 3),
    shares=(Share(admitter="a-1", grant=Resources(1, 2, 3)),),
)
STATE = AdmissionState(
    pool="chat",
    version=Version(1, 1, 1),
    at_us=0,
    lease_ms=LEASE_MS,
    capacity=Resources(240, 16, 16),
    admitters=(VIEW,),
    entitlements=(ITEM,),
)


def later(at_ms: int = 1_000, **changes: object) -> AdmissionState:
    """Return the state of a later tick."""
    return msgspec.structs.replace(STATE, at_us=at_ms * 1_000, **changes)


@pytest.mark.parametrize(
    "change",
    [
        pytest.param({"entitlement": "other"}, id="another entitlement"),
        pytest.param({"service_class": ServiceClass.SPOT}, id="class"),
        pytest.param({"status": EntitlementStatus.DEGRADED}, id="status"),
        pytest.param({"status_reason": "floors"}, id="the status's reason"),
        pytest.param({"floor": Resources(3, 2, 1)}, id="floor"),
        pytest.param({"grant": Resources(3, 2, 1)}, id="grant"),
        pytest.param({"home": "b-1"}, id="home"),
    ],
)
def test_what_an_admitter_acts_on_is_published_at_once(change: dict[str, Any]) -> None:
    changed = later(entitlements=(msgspec.structs.replace(ITEM, **change),))

    assert is_due((STATE,), changed)


def test_an_entitlement_more_or_less_is_published_at_once() -> None:
    assert is_due((STATE,), later(entitlements=()))
    assert is_due((STATE,), later(entitlements=(ITEM, ITEM)))


@pytest.mark.parametrize(
    ("state", "expected"),
    [
        pytest.param(later(), False, id="nothing changed"),
        pytest.param(later(LEASE_MS // 2 - 1), False, id="before half the lease"),
        pytest.param(later(LEASE_MS // 2), True, id="half the lease has passed"),
        pytest.param(later(-1), True, id="the clock stepped back"),
        pytest.param(later(version=Version(1, 1, 2)), False, id="a tick number is no change"),
        pytest.param(
            later(admitters=(msgspec.structs.replace(VIEW, sequence=8),)),
            False,
            id="an echo is no change",
        ),
        pytest.param(
            later(entitlements=(msgspec.structs.replace(ITEM, debt_ppm=9),)),
            False,
            id="debt is for people",
        ),
        pytest.param(
            later(entitlements=(msgspec.structs.replace(ITEM, shares=()),)), True, id="a share"
        ),
        pytest.param(
            later(admitters=(msgspec.structs.replace(VIEW, common=Resources()),)),
            True,
            id="a common part",
        ),
        pytest.param(
            later(admitters=(msgspec.structs.replace(VIEW, alive=False),)), True, id="a death"
        ),
        pytest.param(later(replicas_ready=2), True, id="replicas"),
        pytest.param(later(spec_version=2), True, id="a new spec"),
    ],
)
def test_when_a_state_is_due(state: AdmissionState, expected: bool) -> None:
    assert is_due((STATE,), state) is expected


def test_the_first_state_is_due() -> None:
    assert is_due((), STATE)


def test_a_small_state_is_one_part() -> None:
    assert in_parts(STATE) == (STATE,)


def test_a_large_state_is_cut_into_numbered_parts_that_fit_and_go_together_again() -> None:
    many = tuple(msgspec.structs.replace(ITEM, entitlement=f"e-{number}") for number in range(300))
    state = msgspec.structs.replace(STATE, entitlements=many)

    parts = in_parts(state, bytes_max=8_192)

    assert len(parts) > 10
    assert [part.part for part in parts] == list(range(len(parts)))
    assert {part.parts for part in parts} == {len(parts)}
    assert max(len(encode(part)) for part in parts) <= 8_192
    assert whole(parts) == state


def test_a_pool_without_entitlements_is_one_part() -> None:
    assert len(in_parts(msgspec.structs.replace(STATE, entitlements=()))) == 1
