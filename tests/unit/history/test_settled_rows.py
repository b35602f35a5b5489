"""What admitters say was settled becomes one row per entitlement, source and minute."""

from __future__ import annotations

from schemas.reports import AdmitterReport, EntitlementReport
from schemas.topics import ADMITTER_REPORTS
from schemas.units import US_PER_MINUTE
from schemas.wire import encode
from streams.history.batch import Batch
from streams.history.settled_rows import SettledRow, settled_rows
from tests.integration.history.records import STORED_MS, Stored

REPORT = AdmitterReport(
    pool="chat",
    incarnation="admitter-1",
    url="http://127.0.0.1:1",
    sequence=7,
    entitlements=(
        EntitlementReport(entitlement="gold", settled_by_source={"gw/1": 10, "gw/2": 20}),
        EntitlementReport(entitlement="idle", settled=3),
    ),
)


def test_every_source_of_a_report_is_a_row_of_the_brokers_minute() -> None:
    rows = settled_rows(REPORT, stored_ms=STORED_MS)
    minute = STORED_MS * 1_000 // US_PER_MINUTE * US_PER_MINUTE

    assert rows == [
        SettledRow("chat", "gold", "gw/1", "admitter-1", minute, 10, 7),
        SettledRow("chat", "gold", "gw/2", "admitter-1", minute, 20, 7),
    ]


def test_a_report_on_kafka_gives_these_rows() -> None:
    batch = Batch(epoch=1)
    batch.add(ADMITTER_REPORTS, 0, [Stored(0, encode(REPORT))])

    assert batch.rows["settled"] == settled_rows(REPORT, stored_ms=STORED_MS)
