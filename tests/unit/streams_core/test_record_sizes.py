"""The largest pool that a spec may describe fits into the records that carry it."""

from __future__ import annotations

import gzip
import random

import msgspec
import pytest

from schemas.pools import ENTITLEMENTS_PER_POOL_MAX
from schemas.reports import AdmitterReport, EntitlementReport
from schemas.specs import Leases, PoolRecord, PoolRef, PoolSpec, ServiceClass
from schemas.state import PART_BYTES_MAX
from schemas.topics import (
    ADMITTER_REPORTS,
    CHANGELOGS,
    LARGE_PLAIN_BYTES_MAX,
    POOLS,
    TICKS,
    TOPICS,
    Topic,
)
from schemas.units import Held, Resources
from schemas.wire import encode
from streams.core.tick import TickOutcome, advance
from tests.unit.streams_core.pools import (
    GIB,
    REPLICA,
    SECOND_US,
    START_US,
    entitlement,
    pool_of,
    reported,
    sources,
)

SAMPLE = 200
"""Entitlements that are really ticked; their bytes are multiplied."""
ADMITTERS = Leases().admitters_max
TABLE = {topic.name: topic for topic in (*TOPICS, *CHANGELOGS)}
DEBT = CHANGELOGS[1].name
GZIP_LEVEL = 9
"""What aiokafka compresses with."""


def uid_of(number: int) -> str:
    """Return a uid of a usual length."""
    return f"tenant-{number:05d}-production"


def busy(rng: random.Random, uid: str) -> EntitlementReport:
    """Return a report on an entitlement in full use: every number has all its digits."""
    slots = rng.randint(1, 9)
    return EntitlementReport(
        entitlement=uid,
        held=Held(rng.randint(1_000, 99_999), rng.randint(GIB, 9 * GIB), slots),
        pending=Resources(rng.randint(100, 999), rng.randint(GIB, 9 * GIB), rng.randint(0, 9)),
        expected_duration_ms=rng.randint(1_000, 9_999),
    )


def ticked() -> TickOutcome:
    """Return the third tick of a pool of which every entitlement is busy at every admitter."""
    rng = random.Random(5)
    classes = [rng.choice(list(ServiceClass)) for _ in range(SAMPLE)]
    pool = pool_of(
        *(
            entitlement(uid_of(i), kind, rng.randint(1, 5) if kind.has_baseline else 0)
            for i, kind in enumerate(classes)
        ),
        replicas=64,
    )
    record = None
    for number in range(3):
        reports = [
            reported(
                f"admitter-{i}-0a1b2c3d",
                report=AdmitterReport(
                    pool="chat",
                    incarnation=f"admitter-{i}-0a1b2c3d",
                    url=f"http://admitter-{i}:8080",
                    sequence=number + 1,
                    entitlements=tuple(busy(rng, uid) for uid in pool.entitlements),
                ),
                received_us=START_US + number * SECOND_US,
            )
            for i in range(ADMITTERS)
        ]
        outcome = advance(
            record,
            sources(
                pool,
                reports,
                now_us=START_US + number * SECOND_US,
                replicas=SAMPLE // 4,
                served_tokens={uid: rng.randint(100, 999) for uid in pool.entitlements},
            ),
        )
        record = outcome.record
    return outcome


def pools_record() -> PoolRecord:
    """Return the spec of the largest pool."""
    spec = PoolSpec(name="chat", model="llm", per_replica=REPLICA, kv_bytes_per_token=147_456)
    keys = random.Random(7)
    return PoolRecord(
        pool=spec,
        entitlements=tuple(
            msgspec.structs.replace(
                entitlement(uid_of(i), ServiceClass.ELASTIC, 1 + i % 9),
                keys=(f"sha256:{keys.getrandbits(256):064x}",),
                labels={"team": f"team-{i % 100}", "costCentre": f"{i % 1_000:04d}"},
                pool_ref=PoolRef(name="chat"),
            )
            for i in range(ENTITLEMENTS_PER_POOL_MAX)
        ),
    )


def full_report() -> AdmitterReport:
    """Return a new admitter's first report on the largest pool."""
    rng = random.Random(11)
    return AdmitterReport(
        pool="chat",
        incarnation="admitter-1-0a1b2c3d",
        url="http://admitter-1:8080",
        sequence=1,
        entitlements=tuple(busy(rng, uid_of(i)) for i in range(ENTITLEMENTS_PER_POOL_MAX)),
    )


def assert_fits(raw: bytes, topic: Topic, *, times: int = 1) -> None:
    """Check both limits: the writer's before and the broker's after compression."""
    assert times * len(raw) <= LARGE_PLAIN_BYTES_MAX
    assert times * len(gzip.compress(raw, GZIP_LEVEL)) <= topic.record_bytes_max


def test_a_tick_of_the_largest_pool_fits_its_topic_and_its_record_the_changelog() -> None:
    outcome = ticked()
    times = ENTITLEMENTS_PER_POOL_MAX // SAMPLE

    assert_fits(encode(outcome.tick), TABLE[TICKS], times=times)
    assert_fits(encode(outcome.record), TABLE[DEBT], times=times)
    assert all(len(encode(part)) <= PART_BYTES_MAX for part in outcome.record.state)


@pytest.mark.parametrize(
    ("topic", "build"),
    [
        pytest.param(POOLS, pools_record, id="its spec"),
        pytest.param(ADMITTER_REPORTS, full_report, id="a whole report"),
    ],
)
def test_what_else_speaks_of_a_whole_pool_fits(topic: str, build: type[msgspec.Struct]) -> None:
    assert_fits(encode(build()), TABLE[topic])
