"""One full sample of every message: what the golden files were written from."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from schemas.capacity import PoolCapacity, WriterRank
from schemas.decisions import Decision, DecisionKind, RefusalReason
from schemas.ledger import (
    AdmitterRecord,
    DebtRecord,
    LineEntry,
    Mark,
    MarksEntry,
    NumberedEntry,
    NumberedRun,
    PartitionEntry,
    ReplayedEntry,
    ShareRecord,
    TickRecord,
    TotalsEntry,
    WindowEntry,
    WindowTotals,
)
from schemas.positions import Position, Version
from schemas.prices import Price, PriceBook, PricesPerMillion
from schemas.reports import AdmitterReport, Adoption, EntitlementReport
from schemas.reservations import (
    ErrorBody,
    Evicting,
    Misdirected,
    Refusal,
    RefusalBody,
    Renewal,
    RenewBody,
    Reservation,
    ReserveBody,
    SettleBody,
    SettlementResult,
)
from schemas.rollups import Rollup
from schemas.scaling import DemandSource, ScaleDecision, ScaleDirection
from schemas.specs import (
    Amounts,
    EntitlementSpec,
    EpochRecord,
    Leases,
    PoolRecord,
    PoolRef,
    PoolSpec,
    Qos,
    Replicas,
    ServiceClass,
)
from schemas.state import (
    AdmissionState,
    AdmitterView,
    EntitlementState,
    EntitlementStatus,
    Share,
)
from schemas.ticks import EntitlementInput, EntitlementOutput, ReportPosition, Tick, TickInputs
from schemas.units import Dimension, Held, Resources, TokenCounts
from schemas.usage import CloudEvent, UsageData, UsageEvent, envelope
from schemas.verdicts import JudgedThrough, Verdict, VerdictCounts, VerdictKind

AT_US = 1_790_000_000_123_456
SOME = Resources(tokens_per_s=90, kv_bytes=1 << 30, slots=6)
VERSION = Version(epoch=3, generation=2, tick=41)
POSITION = Position(epoch=1, partition=4, offset=1_234, index=2)
TOKENS = TokenCounts(120, 30, 10, 64, 16)
TOTALS = WindowTotals(tokens=TOKENS, events=3, requests=2, demoted_tokens=8)
HELD = Held(tokens=224, kv_bytes=33_030_144, slots=1)

USAGE = UsageData(
    pool="chat",
    entitlement="acme-chat",
    tenant="acme",
    model="example/model-8b",
    reservation_id="v1.payload.mac",
    served_class=ServiceClass.GUARANTEED,
    input_tokens=120,
    cache_read_tokens=30,
    cache_write_tokens=10,
    output_tokens=64,
    reasoning_tokens=16,
    start_us=AT_US - 4_000_000,
    end_us=AT_US,
    requested_us=AT_US - 4_100_000,
    first_token_us=AT_US - 3_900_000,
    attributes={"application": "search", "region": "eu"},
)
EVENT = UsageEvent(source="gateway/1/run", id="run-17", sequence=17, data=USAGE)

POOL = PoolRecord(
    pool=PoolSpec(
        name="chat",
        model="example/model-8b",
        replicas=Replicas(min=1, max=3),
        per_replica=Amounts(
            tokens_per_second=Decimal(240), kv_cache_gib=Decimal("2.5"), concurrency=16
        ),
        kv_bytes_per_token=147_456,
        leases=Leases(split_slots=8),
    ),
    entitlements=(
        EntitlementSpec(
            uid="acme-chat",
            tenant_id="acme",
            pool_ref=PoolRef(name="chat"),
            qos=Qos(service_class=ServiceClass.GUARANTEED, slo_target_ms=200),
            resources=Amounts(
                tokens_per_second=Decimal(90), kv_cache_gib=Decimal(1), concurrency=6
            ),
            keys=("sha256:" + "0" * 64,),
            labels={"team": "search"},
        ),
    ),
    applied_us=AT_US,
    digest="d" * 64,
)

STATE = AdmissionState(
    pool="chat",
    version=VERSION,
    at_us=AT_US,
    spec_version=7,
    capacity=Resources(240, 5 << 29, 16),
    replicas_ready=1,
    replicas_starting=1,
    common=Resources(60, 1 << 29, 4),
    contended=True,
    overshoot_bound=Resources(0, 0, 2),
    admitters=(
        AdmitterView(
            incarnation="admitter-1-0a1b2c3d",
            url="http://127.0.0.1:8081",
            sequence=55,
            applied=VERSION,
            common=Resources(30, 1 << 28, 2),
        ),
    ),
    entitlements=(
        EntitlementState(
            entitlement="acme-chat",
            service_class=ServiceClass.GUARANTEED,
            floor=SOME,
            grant=SOME,
            demand=SOME,
            served_tokens_per_s=60,
            debt_ppm=-50_000,
            burst_ppm=10_000,
            weight_ppm=900_000,
            home="admitter-1-0a1b2c3d",
            shares=(Share(admitter="admitter-1-0a1b2c3d", floor=SOME, grant=SOME),),
        ),
    ),
)

MESSAGES: dict[str, list[Any]] = {
    "usage-cloudevent": [envelope(EVENT), CloudEvent(id="1", source="s", data=USAGE)],
    "usage-data": [USAGE],
    "verdicts": [
        Verdict(
            position=POSITION,
            verdict=VerdictKind.DEAD,
            reason="malformed",
            error="Expected `int`, got `str` - at `$.data.input_tokens`",
            stored_us=AT_US,
            original=b"\x00not json\xff",
            original_key=b"chat",
            original_headers=(("content-type", b"application/json"),),
        ),
        Verdict(
            position=POSITION,
            verdict=VerdictKind.DUPLICATE,
            source="gateway/1/run",
            id="run-17",
            pool="chat",
            entitlement="acme-chat",
            stored_us=AT_US,
            event_us=AT_US - 1,
            first=Position(epoch=1, partition=4, offset=1_200),
        ),
        JudgedThrough(
            epoch=1,
            partition=4,
            offset=1_240,
            generation=2,
            counts=VerdictCounts(accepted=1_200, duplicate=30, late=1, dead=2, forwarded=8),
            floor_us=AT_US - 86_400_000_000,
        ),
    ],
    "rollups": [
        Rollup(
            pool="chat",
            entitlement="acme-chat",
            tenant="acme",
            model="example/model-8b",
            window_start_us=AT_US // 60_000_000 * 60_000_000,
            window_us=60_000_000,
            tokens=TOKENS,
            events=3,
            requests=2,
            demoted_tokens=8,
            version=POSITION,
        )
    ],
    "pools": [POOL, EpochRecord(epoch=2, created_us=AT_US, reason="topic re-created")],
    "pool-capacity": [
        PoolCapacity(
            pool="chat",
            writer="replayer",
            rank=WriterRank.REPLAYER,
            ready=2,
            starting=1,
            draining=1,
            per_replica=SOME,
            at_us=AT_US,
            ttl_ms=15_000,
        )
    ],
    "admission-state": [STATE],
    "admitter-reports": [
        AdmitterReport(
            pool="chat",
            incarnation="admitter-1-0a1b2c3d",
            url="http://127.0.0.1:8081",
            sequence=56,
            applied=VERSION,
            expires_in_ms=15_000,
            state_age_ms=250,
            entitlements=(
                EntitlementReport(
                    entitlement="acme-chat",
                    held=HELD,
                    pending=SOME,
                    expected_duration_ms=4_000,
                    held_duration_ms=6_000,
                    largest_request_tokens=300,
                    level_tokens=100,
                    admitted=10,
                    settled=8,
                    expired=1,
                    reserved_tokens=2_240,
                    settled_tokens=TOKENS,
                    refused={"contended": 2},
                    attempts={"contended": 5},
                ),
            ),
            adoptions=(
                Adoption(incarnation="admitter-2-ffff0000", entitlement="acme-chat", adopted=HELD),
            ),
        ),
        AdmitterReport(
            pool="chat",
            incarnation="admitter-1-0a1b2c3d",
            url="http://127.0.0.1:8081",
            sequence=57,
            entitlements=(
                EntitlementReport(
                    entitlement="acme-chat",
                    settled=8,
                    settled_tokens=TOKENS,
                    settled_by_source={"gateway/1/run": 200, "(other)": 24},
                ),
            ),
        ),
    ],
    "ticks": [
        Tick(
            pool="chat",
            model="example/model-8b",
            version=VERSION,
            inputs=TickInputs(
                at_us=AT_US,
                elapsed_us=1_000_000,
                spec_version=7,
                spec_digest="d" * 64,
                capacity_writer="replayer",
                replicas_ready=1,
                per_replica=SOME,
                ledger=POSITION,
                reports=(ReportPosition(incarnation="admitter-1-0a1b2c3d", sequence=55),),
                entitlements=(
                    EntitlementInput(
                        entitlement="acme-chat",
                        served_tokens_per_s=60,
                        held=HELD,
                        pending=SOME,
                        expected_duration_ms=4_000,
                        demand=SOME,
                        debt_ppm=-60_000,
                    ),
                ),
            ),
            capacity=SOME,
            common=SOME,
            headroom_slots=1,
            contended=True,
            overshoot_bound=Resources(0, 0, 2),
            held=HELD,
            outputs=(
                EntitlementOutput(
                    entitlement="acme-chat",
                    tenant="acme",
                    service_class=ServiceClass.GUARANTEED,
                    status=EntitlementStatus.BOUND,
                    floor=SOME,
                    grant=SOME,
                    gap_ppm=10,
                    debt_ppm=-50_000,
                    weight_ppm=900_000,
                ),
            ),
            state=(STATE,),
        )
    ],
    "decisions": [
        Decision(
            id="admitter-1-0a1b2c3d/99",
            at_us=AT_US,
            incarnation="admitter-1-0a1b2c3d",
            pool="chat",
            entitlement="acme-chat",
            tenant="acme",
            kind=DecisionKind.REFUSED,
            reason=RefusalReason.CONTENDED,
            dimension=Dimension.CONCURRENCY,
            served_class=ServiceClass.SPOT,
            request_id="r-1",
            tokens=224,
            kv_bytes=33_030_144,
            slots=1,
            retry_after_ms=700,
            state_version=VERSION,
            state_age_ms=250,
            dropped=1,
        )
    ],
    "scale-decisions": [
        ScaleDecision(
            id="autoscaler-1/5",
            pool="chat",
            at_us=AT_US,
            direction=ScaleDirection.UP,
            current=1,
            ready=1,
            starting=0,
            desired=2,
            raw_desired=2,
            reason="elastic demand below baseline",
            dimension="concurrency",
            demand=SOME,
            floors=SOME,
            per_replica=SOME,
            source=DemandSource.TICKS,
            window_start_us=AT_US - 60_000_000,
            window_end_us=AT_US,
            quantile_ppm=900_000,
            ticks_seen=60,
            spec_version=7,
        )
    ],
    "changelog-consumption": [
        TotalsEntry(pool="chat", entitlement="acme-chat", position=POSITION, totals=TOTALS),
        WindowEntry(
            pool="chat",
            entitlement="acme-chat",
            tenant="acme",
            model="example/model-8b",
            start_us=AT_US // 60_000_000 * 60_000_000,
            position=POSITION,
            totals=TOTALS,
        ),
        MarksEntry(
            partition=4,
            position=POSITION,
            stored_us=AT_US,
            marks=(Mark(identity="aWQ", body="Ym9keQ", offset=1_234, index=2),),
        ),
        PartitionEntry(
            partition=4,
            position=POSITION,
            stored_us=AT_US,
            counts=VerdictCounts(accepted=10),
            verdicts_offset=3,
            watermark_us=AT_US,
        ),
        WindowEntry(
            pool="chat",
            entitlement="acme-chat",
            start_us=AT_US // 1_000_000 * 1_000_000,
            window_us=1_000_000,
            position=POSITION,
            totals=TOTALS,
        ),
        MarksEntry(
            partition=4,
            position=POSITION,
            stored_us=AT_US,
            event_us_max=AT_US,
            digests=b"12345678",
            bodies=b"1234",
            places=b"12345678",
        ),
        NumberedEntry(
            partition=4,
            position=POSITION,
            first_offset=1_234,
            runs=(NumberedRun("gateway/1", "chat", 17, b"12345678"),),
        ),
        LineEntry(
            source="gateway/1",
            pool="chat",
            partition=4,
            position=POSITION,
            stored_us=AT_US,
            event_us_max=AT_US,
            next=19,
            gaps=((0, 1), (4, 6)),
            closed_below=3,
        ),
        ReplayedEntry(partition=4, position=POSITION, replays=Position(1, 2, 3, 4)),
        PartitionEntry(
            partition=4,
            position=POSITION,
            stored_us=AT_US,
            counts=VerdictCounts(accepted=10),
            clock_us=AT_US,
            rolled=(POSITION, POSITION, POSITION),
        ),
    ],
    "changelog-debt": [
        TickRecord(
            pool="chat",
            version=VERSION,
            at_us=AT_US,
            debts=(DebtRecord(entitlement="acme-chat", debt_ppm=-50_000, burst_ppm=10_000),),
            shares=(
                ShareRecord(
                    entitlement="acme-chat",
                    admitter="admitter-1-0a1b2c3d",
                    version=VERSION,
                    floor=SOME,
                    grant=SOME,
                ),
            ),
            admitters=(
                AdmitterRecord(
                    incarnation="admitter-1-0a1b2c3d",
                    url="http://127.0.0.1:8081",
                    sequence=55,
                    applied=VERSION,
                    received_us=AT_US,
                    held={"acme-chat": HELD},
                ),
            ),
            homes={"acme-chat": "admitter-1-0a1b2c3d"},
            common={"admitter-1-0a1b2c3d": SOME},
            state=(STATE,),
        )
    ],
    "reserve-request": [
        ReserveBody(
            pool="chat", entitlement="acme-chat", request_id="r-1", input_tokens=160, max_tokens=64
        )
    ],
    "reserve-response": [
        Reservation(
            reservation_id="v1.payload.mac",
            pool="chat",
            entitlement="acme-chat",
            tenant="acme",
            model="example/model-8b",
            service_class=ServiceClass.GUARANTEED,
            served_class=ServiceClass.GUARANTEED,
            reserved_tokens=224,
            kv_bytes=33_030_144,
            slots=1,
            max_tokens=64,
            renew_in_ms=5_000,
            expires_in_ms=15_000,
            admitter_url="http://127.0.0.1:8081",
            state_version="3.2.41",
            state_age_ms=250,
        )
    ],
    "refusal": [
        RefusalBody(
            error=Refusal(
                message="the pool has no free slot for class spot",
                code="contended",
                reason="contended",
                dimension=Dimension.CONCURRENCY,
                pool="chat",
                entitlement="acme-batch",
                service_class=ServiceClass.SPOT,
                limit=4,
                retry_after_ms=700,
                ticket="v1.ticket.mac",
                home_url="http://127.0.0.1:8082",
                evicting=Evicting(requests=1, slots=1, kv_bytes=1_048_576),
            )
        )
    ],
    "renewal-request": [RenewBody(output_tokens=20)],
    "renewal-response": [
        Renewal(
            verdict="evict",
            reservation_id="v1.payload.mac",
            renew_in_ms=5_000,
            expires_in_ms=15_000,
            evict_in_ms=2_000,
            evict_reason="called_back",
        )
    ],
    "settlement-request": [
        SettleBody(
            input_tokens=120,
            cache_read_tokens=30,
            cache_write_tokens=10,
            output_tokens=64,
            reasoning_tokens=16,
        ),
        SettleBody(input_tokens=120, output_tokens=64, source="gateway/1/run"),
    ],
    "settlement-response": [
        SettlementResult(
            reservation_id="v1.payload.mac", first=True, ended="settled", charged_tokens=224
        )
    ],
    "misdirected": [Misdirected(message="another owner", owner_url="http://127.0.0.1:8082")],
    "error": [ErrorBody(message="must be positive", field="input_tokens", code="malformed")],
    "prices": [
        PriceBook(
            prices=(
                Price(
                    currency="EUR",
                    effective_from="2026-01-01",
                    per_million=PricesPerMillion(input=Decimal("0.15"), output=Decimal("0.60")),
                ),
            )
        )
    ],
}
