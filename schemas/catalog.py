"""The catalog: every message by its public name, and the JSON Schema of each.

``json_schemas`` is what ``tokenpools schemas`` writes out for people who speak to our topics from
other languages; the golden files of the contract tests use the same names.
"""

from __future__ import annotations

from typing import Any, Final

import msgspec

from schemas.capacity import PoolCapacity
from schemas.decisions import Decision
from schemas.ledger import LedgerEntry, TickRecord
from schemas.prices import PriceBook
from schemas.reports import AdmitterReport
from schemas.reservations import (
    ErrorBody,
    Misdirected,
    RefusalBody,
    Renewal,
    RenewBody,
    Reservation,
    ReserveBody,
    SettleBody,
    SettlementResult,
)
from schemas.rollups import Rollup
from schemas.scaling import ScaleDecision
from schemas.specs import PoolsMessage
from schemas.state import AdmissionState
from schemas.ticks import Tick
from schemas.usage import CloudEvent, UsageData
from schemas.verdicts import VerdictsMessage

MESSAGES: Final[dict[str, Any]] = {
    "usage-cloudevent": CloudEvent,
    "usage-data": UsageData,
    "verdicts": VerdictsMessage,
    "rollups": Rollup,
    "pools": PoolsMessage,
    "pool-capacity": PoolCapacity,
    "admission-state": AdmissionState,
    "admitter-reports": AdmitterReport,
    "ticks": Tick,
    "decisions": Decision,
    "scale-decisions": ScaleDecision,
    "changelog-consumption": LedgerEntry,
    "changelog-debt": TickRecord,
    "reserve-request": ReserveBody,
    "reserve-response": Reservation,
    "refusal": RefusalBody,
    "renewal-request": RenewBody,
    "renewal-response": Renewal,
    "settlement-request": SettleBody,
    "settlement-response": SettlementResult,
    "misdirected": Misdirected,
    "error": ErrorBody,
    "prices": PriceBook,
}


def json_schemas() -> dict[str, dict[str, Any]]:
    """Return the JSON Schema (draft 2020-12) of every message by name."""
    return {name: msgspec.json.schema(kind) for name, kind in MESSAGES.items()}
