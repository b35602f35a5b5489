"""The admission API: status, headers and body of every answer."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal

import pytest

from admission.admitter import Admitter
from admission.app import build_app
from admission.auth import digest_of, new_key
from admission.core.gate import Gate
from admission.core.moment import Moment
from admission.core.reporting import reports_of
from admission.core.tokens import Signer
from schemas.pools import KEY_PATTERN
from schemas.specs import (
    Amounts,
    EntitlementSpec,
    PoolRecord,
    PoolRef,
    PoolSpec,
    Qos,
    ServiceClass,
)
from schemas.units import BYTES_PER_GIB, Resources
from schemas.wire import encode
from tests.component.admission.asgi import Answer, Caller
from tests.unit.admission.pools import HERE, KEY, state

FLOOR = Resources(1_000, 10 * BYTES_PER_GIB, 2)
AMOUNTS = Amounts(tokens_per_second=Decimal(1_000), kv_cache_gib=Decimal(10), concurrency=2)
ASK = {"pool": "chat", "entitlement": "acme", "input_tokens": 100, "max_tokens": 50}
RESERVATIONS = "/v1/reservations"


def record(pool: str = "chat", *, keys: Mapping[str, tuple[str, ...]] | None = None) -> PoolRecord:
    """A pool with two guaranteed entitlements."""
    half = Amounts(tokens_per_second=Decimal(2_000), kv_cache_gib=Decimal(20), concurrency=4)
    return PoolRecord(
        pool=PoolSpec(name=pool, model=f"model-of-{pool}", per_replica=half, kv_bytes_per_token=10),
        entitlements=tuple(
            EntitlementSpec(
                uid=uid,
                tenant_id=uid,
                pool_ref=PoolRef(name=pool),
                qos=Qos(service_class=ServiceClass.GUARANTEED),
                resources=AMOUNTS,
                keys=(keys or {}).get(uid, ()),
            )
            for uid in ("acme", "other")
        ),
    )


@dataclass
class Process:
    """An admitter whose topics are read from a test, and its API."""

    lines: list[tuple[str, dict[str, object]]] = field(default_factory=list)
    now_us: int = 1_000_000_000
    tick: int = 0
    required: bool = False
    admitter: Admitter = field(init=False)
    call: Caller = field(init=False)

    def __post_init__(self) -> None:
        self.admitter = Admitter(
            gate=Gate(HERE, f"http://{HERE}", Signer(KEY)),
            clock=lambda: Moment(self.now_us, self.now_us),
            new_incarnation=lambda: "a-2",
            log=lambda event, **fields: self.lines.append((event, fields)),
            keys_required=self.required,
        )
        self.call = Caller(build_app(self.admitter, body_bytes_max=2_000))

    def apply(self, new: PoolRecord) -> None:
        """Read one record of ``pools``, and its end."""
        self.admitter.apply_pools(new.pool.name.encode(), encode(new), offset=self.tick)
        self.admitter.pools_read = True

    def share(self, *, pool: str = "chat", slots: int = 2, alive: bool = True) -> None:
        """Follow a state for a minute, so that its buckets have drained, then a fresh one."""
        self.follow(pool=pool, slots=slots, alive=alive)
        self.now_us += 60_000_000
        self.follow(pool=pool, slots=slots, alive=alive)

    def follow(self, *, pool: str, slots: int, alive: bool) -> None:
        """Send a report and read the state that echoes it."""
        gate = self.admitter.gate
        desk = gate.desks[pool]
        (report,) = reports_of(
            desk, gate.reservations, url=gate.url, leaving=False, now_us=self.now_us
        )
        self.tick += 1
        new = state(
            desk.spec,
            shares={"acme": {HERE: Resources(1_000, 10 * BYTES_PER_GIB, slots)}},
            sequences={HERE: report.sequence},
            alive={HERE: alive, "b-1": True},
            home="b-1",
            tick=self.tick,
        )
        self.admitter.apply_state(encode(new))

    async def reserve(self, **more: object) -> Answer:
        """Ask for a request of acme."""
        return await self.call("POST", RESERVATIONS, {**ASK, **more})


@pytest.fixture
def process() -> Process:
    """An admitter that has a state of its pool."""
    ready = Process()
    ready.apply(record())
    ready.share()
    return ready


async def test_201_says_what_was_reserved(process: Process) -> None:
    answer = await process.reserve()

    assert answer.status == 201
    assert answer.headers["content-type"] == "application/json"
    assert (answer.json["reserved_tokens"], answer.json["kv_bytes"]) == (150, 1_500)
    assert (answer.json["model"], answer.json["admitter_url"]) == ("model-of-chat", "http://a-1")


async def test_429_says_why_when_to_come_back_and_where_else(process: Process) -> None:
    process.share(slots=1)
    await process.reserve()
    answer = await process.reserve()
    error = answer.json["error"]

    assert answer.status == 429
    assert answer.headers["x-refusal-reason"] == "share_exhausted" == error["reason"]
    assert error["code"] == error["reason"]
    assert error["dimension"] == "concurrency"
    assert int(answer.headers["retry-after-ms"]) == error["retry_after_ms"] > 1_000
    assert answer.headers["retry-after"] == "2"
    assert answer.headers["x-tokenpools-ticket"] == error["ticket"] != ""
    assert answer.headers["x-tokenpools-home"] == error["home_url"] == "http://b-1"


async def test_400_for_what_can_never_fit(process: Process) -> None:
    answer = await process.reserve(n=3)

    assert (answer.status, answer.json["error"]["reason"]) == (400, "impossible")
    assert "retry-after" not in answer.headers


async def test_503_before_pools_were_read() -> None:
    answer = await Process().reserve()

    assert (answer.status, answer.json["error"]["reason"]) == (503, "no_state")
    assert answer.headers["retry-after"] == "1"


async def test_503_until_a_state_has_echoed_a_report() -> None:
    process = Process()
    process.apply(record())
    answer = await process.reserve()

    assert (answer.status, answer.json["error"]["reason"]) == (503, "no_state")
    assert int(answer.headers["retry-after"]) >= 2


@pytest.mark.parametrize(
    ("body", "status", "field"),
    [
        pytest.param(b"{", 400, "", id="not JSON"),
        pytest.param(b"\xff", 400, "", id="not UTF-8"),
        pytest.param(b"x" * 3_000, 413, "", id="too large"),
        pytest.param({}, 422, "", id="no input_tokens"),
        pytest.param({**ASK, "input_tokens": "many"}, 422, "input_tokens", id="no number"),
        pytest.param({**ASK, "input_tokens": -1}, 422, "input_tokens", id="negative"),
        pytest.param({**ASK, "n": 0}, 422, "n", id="no choice"),
        pytest.param({**ASK, "max_tokens": 0}, 422, "max_tokens", id="no output"),
        pytest.param({**ASK, "request_id": "x" * 300}, 422, "request_id", id="an endless id"),
        pytest.param(
            {**ASK, "cached_input_tokens": 101}, 422, "cached_input_tokens", id="more than all"
        ),
        pytest.param({**ASK, "pool": "none"}, 404, "pool", id="an unknown pool"),
        pytest.param({**ASK, "entitlement": "none"}, 404, "pool", id="an unknown entitlement"),
        pytest.param({**ASK, "entitlement": ""}, 422, "entitlement", id="no entitlement"),
    ],
)
async def test_a_wrong_body_is_named(
    process: Process, body: object, status: int, field: str
) -> None:
    answer = await process.call("POST", RESERVATIONS, body)

    assert (answer.status, answer.json["field"]) == (status, field)
    assert answer.json["message"]


async def test_a_body_that_lies_about_its_length_is_bounded_too(process: Process) -> None:
    lying = await process.call("POST", RESERVATIONS, b"x" * 3_000, content_length="10")
    honest = await process.call("POST", RESERVATIONS, b"{}", content_length="99999")

    assert (lying.status, honest.status) == (413, 413)


async def test_the_pool_is_found_by_the_entitlement_or_the_model(process: Process) -> None:
    alone = await process.reserve(pool="")
    process.apply(record("second"))
    process.share(pool="second")
    ambiguous = await process.reserve(pool="")
    by_model = await process.reserve(pool="", model="model-of-second")

    assert alone.json["pool"] == "chat"
    assert (ambiguous.status, ambiguous.json["field"]) == (422, "pool")
    assert by_model.json["pool"] == "second"


async def test_the_idempotency_key_wins_over_the_body(process: Process) -> None:
    body = {**ASK, "request_id": "other"}
    first = await process.call("POST", RESERVATIONS, body, idempotency_key="r")
    again = await process.call("POST", RESERVATIONS, ASK, idempotency_key="r")

    assert again.json["reservation_id"] == first.json["reservation_id"]


async def test_a_reservation_is_renewed_and_settled_once(process: Process) -> None:
    call = f"{RESERVATIONS}/{(await process.reserve()).json['reservation_id']}"
    renewed = await process.call("POST", f"{call}/renewal")
    first = await process.call("POST", f"{call}/settlement", {"output_tokens": 7})
    again = await process.call("POST", f"{call}/settlement", {"output_tokens": 8})
    late = await process.call("POST", f"{call}/renewal", {"output_tokens": 9})

    assert (renewed.status, renewed.json["verdict"]) == (200, "continue")
    assert (first.status, first.json["first"], first.json["charged_tokens"]) == (200, True, 7)
    assert (again.status, again.json["first"], again.json["charged_tokens"]) == (200, False, 7)
    assert late.status == 404


async def test_a_reservation_is_released(process: Process) -> None:
    call = f"{RESERVATIONS}/{(await process.reserve()).json['reservation_id']}"
    answer = await process.call("DELETE", call)

    assert (answer.status, answer.json["ended"]) == (200, "released")


async def test_an_unknown_reservation_is_404(process: Process) -> None:
    answer = await process.call("POST", f"{RESERVATIONS}/v1.x.y/settlement", {})

    assert (answer.status, answer.json["code"]) == (404, "not_found")


@pytest.mark.parametrize(
    ("body", "field"),
    [
        pytest.param({"output_tokens": -1}, "output_tokens", id="negative"),
        pytest.param({"reasoning_tokens": 1}, "reasoning_tokens", id="more than the output"),
        pytest.param({"outcome": "x" * 65}, "outcome", id="an endless outcome"),
    ],
)
async def test_a_wrong_settlement_is_named(process: Process, body: object, field: str) -> None:
    call = f"{RESERVATIONS}/{(await process.reserve()).json['reservation_id']}"
    answer = await process.call("POST", f"{call}/settlement", body)

    assert (answer.status, answer.json["field"]) == (422, field)


async def test_a_key_names_the_entitlement_and_nothing_else() -> None:
    process = Process()
    process.apply(record(keys={"acme": (digest_of("one"),), "other": (digest_of("two"),)}))
    process.share()
    mine, theirs = {"authorization": "Bearer one"}, {"authorization": "Bearer two"}
    ask = {"input_tokens": 100, "max_tokens": 50}
    without = await process.call("POST", RESERVATIONS, ask)
    wrong = await process.call("POST", RESERVATIONS, ask, authorization="Bearer three")
    stolen = await process.call("POST", RESERVATIONS, {**ASK, "entitlement": "other"}, **mine)
    admitted = await process.call("POST", RESERVATIONS, ask, **mine)
    call = f"{RESERVATIONS}/{admitted.json['reservation_id']}"
    touched = await process.call("DELETE", call, **theirs)
    ended = await process.call("DELETE", call, **mine)
    seen = await process.call("GET", "/v1/pools", **theirs)
    unseen = await process.call("GET", "/v1/pools")

    assert [without.status, wrong.status, unseen.status] == [401, 401, 401]
    assert without.headers["www-authenticate"] == "Bearer"
    assert (stolen.status, stolen.json["field"]) == (403, "entitlement")
    assert (admitted.status, admitted.json["entitlement"]) == (201, "acme")
    assert [touched.status, ended.status] == [403, 200]
    assert [each["entitlement"] for each in seen.json["pools"][0]["entitlements"]] == ["other"]


async def test_where_keys_are_required_nobody_asks_without_one() -> None:
    process = Process(required=True)
    process.apply(record())
    process.share()

    assert (await process.reserve()).status == 401


def test_a_new_key_has_a_digest_that_a_spec_accepts() -> None:
    first, second = new_key(), new_key()

    assert first != second
    assert KEY_PATTERN.fullmatch(digest_of(first))


async def test_readyz_says_what_is_missing_until_nothing_is() -> None:
    process = Process()
    unread = await process.call("GET", "/readyz")
    process.apply(record())
    stateless = await process.call("GET", "/readyz")
    process.share()
    ready = await process.call("GET", "/readyz")
    process.admitter.gate.leaving = True
    leaving = await process.call("GET", "/readyz")
    alive = await process.call("GET", "/healthz")

    assert [unread.status, stateless.status, ready.status, leaving.status] == [503, 503, 200, 503]
    assert "state of pool chat" in stateless.json["message"]
    assert alive.status == 200


async def test_pools_shows_shares_and_usage_here(process: Process) -> None:
    await process.reserve()
    (pool,) = (await process.call("GET", "/v1/pools")).json["pools"]
    acme = pool["entitlements"][0]

    assert (pool["pool"], pool["state_version"], pool["freshness"]) == ("chat", "1.1.2", "fresh")
    assert (acme["usable"]["slots"], acme["held"]["slots"], acme["admitted"]) == (2, 1, 1)


async def test_metrics_count_admits_and_refusals_by_pool_and_class_never_by_tenant(
    process: Process,
) -> None:
    for _ in range(3):
        await process.reserve()
    text = (await process.call("GET", "/metrics")).body.decode()

    labels = '{class="guaranteed",pool="chat"}'
    assert f"tokenpools_admission_admitted_requests_total{labels} 2.0" in text
    assert f"tokenpools_admission_held_slots{labels} 2.0" in text
    refused = '{class="guaranteed",pool="chat",reason="limit_reached"}'
    assert f"tokenpools_admission_refused_requests_total{refused} 1.0" in text
    assert "acme" not in text


async def test_openapi_describes_every_route(process: Process) -> None:
    described = (await process.call("GET", "/openapi.json")).json
    routes = {
        (method, path)
        for route in process.call.app.routes
        for path in [getattr(route, "path", "")]
        for method in getattr(route, "methods", ())
        if method != "HEAD" and path != "/openapi.json"
    }

    assert routes == {
        (method.upper(), path) for path, methods in described["paths"].items() for method in methods
    }
    assert "RefusalBody" in described["components"]["schemas"]


async def test_a_record_that_cannot_be_used_is_counted_and_named(process: Process) -> None:
    process.admitter.apply_pools(b"bad", b"{", offset=9)
    process.admitter.apply_state(b"{")

    assert process.admitter.rejected == 2
    assert [event for event, _ in process.lines] == ["record_rejected", "record_rejected"]
    assert (await process.reserve()).status == 201


async def test_a_tombstone_removes_its_pool(process: Process) -> None:
    process.admitter.apply_pools(b"chat", None, offset=9)

    assert (await process.reserve()).status == 404


async def test_a_state_that_came_before_its_pool_waits_for_it() -> None:
    source = Process()
    source.apply(record())
    source.share()
    whole = source.admitter.parts.whole("chat")
    assert whole is not None
    process = Process()
    process.admitter.apply_state(encode(whole))
    process.apply(record())

    assert process.admitter.gate.desks["chat"].state == whole


async def test_an_admitter_declared_dead_goes_on_as_a_new_incarnation(process: Process) -> None:
    await process.reserve()
    process.share(alive=False)

    assert process.admitter.gate.incarnation == "a-2"
    assert [event for event, _ in process.lines] == ["declared_dead"]
    assert (await process.reserve()).status == 503
