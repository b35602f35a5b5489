"""Admitters as processes: from a spec on Kafka to reservations over HTTP, and through a kill -9."""

from __future__ import annotations

import signal
import socket
from typing import Any

import aiohttp

from admission.auth import digest_of
from schemas.decisions import DecisionKind
from tests.integration.admission.http import post, ready
from tests.integration.admission.processes import admitter, environment
from tests.integration.admission.streams_side import StreamsSide, spec, streams_side
from tests.integration.admission.waiting import START_S_MAX, STOP_S_MAX, eventually

ASK = {"pool": "chat", "entitlement": "acme", "input_tokens": 100, "max_tokens": 50}
USED = {"input_tokens": 100, "output_tokens": 20}


async def test_a_reservation_is_admitted_settled_and_reported(
    kafka_bootstrap: str, topic_prefix: str
) -> None:
    async with streams_side(kafka_bootstrap, topic_prefix) as side, aiohttp.ClientSession() as http:
        with admitter(environment(kafka_bootstrap, topic_prefix)) as process:
            url = await process.url()
            await side.apply(spec())
            await ready(http, url)
            status, admitted = await post(http, f"{url}/v1/reservations", ASK)
            held = await _reported(side, lambda line: line.held.slots == 1)
            call = f"{url}/v1/reservations/{admitted['reservation_id']}"
            renewed = await post(http, f"{call}/renewal", {})
            first = await post(http, f"{call}/settlement", USED)
            again = await post(http, f"{call}/settlement", USED)
            settled = await _reported(side, lambda line: line.settled == 1)
            kinds = {DecisionKind.ADMITTED, DecisionKind.SETTLED}
            await eventually(
                lambda: kinds <= {each.kind for each in side.decisions}, within_s=START_S_MAX
            )

        assert status == 201
        assert admitted["reserved_tokens"] == 150
        assert held.held.tokens == 150
        assert renewed[1]["verdict"] == "continue"
        assert (first[1]["first"], first[1]["charged_tokens"]) == (True, 120)
        assert (again[1]["first"], again[1]["charged_tokens"]) == (False, 120)
        assert (settled.held.slots, settled.settled_tokens.output_tokens) == (0, 20)


async def test_sigterm_reports_leaving_and_ends_with_status_0(
    kafka_bootstrap: str, topic_prefix: str
) -> None:
    async with streams_side(kafka_bootstrap, topic_prefix) as side, aiohttp.ClientSession() as http:
        await side.apply(spec())
        with admitter(environment(kafka_bootstrap, topic_prefix)) as process:
            await ready(http, await process.url())
            process.popen.terminate()
            status = process.popen.wait(timeout=STOP_S_MAX)
            await eventually(
                lambda: any(report.leaving for report in side.reports.values()),
                within_s=START_S_MAX,
            )

        assert status == 0


async def test_the_home_adopts_what_a_killed_admitter_held(
    kafka_bootstrap: str, topic_prefix: str
) -> None:
    async with streams_side(kafka_bootstrap, topic_prefix) as side, aiohttp.ClientSession() as http:
        await side.apply(spec())
        environ = environment(kafka_bootstrap, topic_prefix)
        with admitter(environ) as doomed:
            doomed_url = await doomed.url()
            await ready(http, doomed_url)
            with admitter(environ) as survivor:
                url = await survivor.url()
                await ready(http, url)
                _, admitted = await post(http, f"{doomed_url}/v1/reservations", ASK)
                _, done = await post(http, f"{doomed_url}/v1/reservations", ASK)
                done_call = f"v1/reservations/{done['reservation_id']}/settlement"
                await post(http, f"{doomed_url}/{done_call}", USED)
                call = f"{url}/v1/reservations/{admitted['reservation_id']}"
                misdirected = await post(http, f"{call}/renewal", {})
                doomed.popen.send_signal(signal.SIGKILL)
                doomed.popen.wait(timeout=STOP_S_MAX)
                by_url = {report.url: name for name, report in side.reports.items()}
                side.dead.add(by_url[doomed_url])
                side.home = by_url[url]

                async def adopted() -> dict[str, Any] | None:
                    status, answer = await post(http, f"{call}/renewal", {})
                    return answer if status == 200 else None

                renewal = await eventually(adopted, within_s=START_S_MAX)
                await eventually(
                    lambda: bool(side.reports[by_url[url]].adoptions), within_s=START_S_MAX
                )
                new = f"{url}/v1/reservations/{renewal['reservation_id']}/settlement"
                settled = await post(http, new, USED)
                old = await post(http, f"{call}/settlement", USED)
                again = await post(http, f"{url}/{done_call}", {**USED, "repeated": True})
                heir = by_url[url]
                await eventually(
                    lambda: [line.settled for line in side.reports[heir].entitlements] == [1],
                    within_s=START_S_MAX,
                )
                (line,) = side.reports[heir].entitlements

        assert (misdirected[0], misdirected[1]["owner_url"]) == (421, doomed_url)
        assert renewal["adopted"] is True
        assert settled[1]["first"] is True
        assert (old[0], old[1]["first"]) == (200, False)
        assert (again[0], again[1]["first"]) == (200, False)
        assert line.settled_tokens.output_tokens == USED["output_tokens"]


async def test_without_a_broker_it_serves_503_and_names_the_setting(topic_prefix: str) -> None:
    environ = environment("127.0.0.1:1", topic_prefix)
    with admitter(environ) as process:
        url = await process.url()
        line = await eventually(lambda: process.event("broker_away"), within_s=START_S_MAX)
        async with aiohttp.ClientSession() as http, http.get(f"{url}/readyz") as answer:
            ready = answer.status
            async with http.post(f"{url}/v1/reservations", json=ASK) as refused:
                refusal = (await refused.json())["error"]
                retry_after = refused.headers["Retry-After"]

    assert ready == 503
    assert (refused.status, refusal["reason"], retry_after) == (503, "no_state", "1")
    assert "KAFKA_BOOTSTRAP_SERVERS=127.0.0.1:1" in str(line["error"])


async def test_a_taken_port_is_named_with_its_setting(topic_prefix: str) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        environ = environment("127.0.0.1:1", topic_prefix, TOKENPOOLS_ADMISSION_PORT=port)
        with admitter(environ) as process:
            status = process.popen.wait(timeout=START_S_MAX)
            line = process.event("cannot_start")

    assert status == 2
    assert line is not None
    assert f"TOKENPOOLS_ADMISSION_PORT={port}" in str(line["error"])


async def test_with_keys_in_the_spec_a_key_names_the_entitlement(
    kafka_bootstrap: str, topic_prefix: str
) -> None:
    async with streams_side(kafka_bootstrap, topic_prefix) as side, aiohttp.ClientSession() as http:
        await side.apply(spec(keys=(digest_of("secret"),)))
        with admitter(environment(kafka_bootstrap, topic_prefix)) as process:
            url = await process.url()
            await ready(http, url)
            ask = {"input_tokens": 100, "max_tokens": 50}
            stranger = await post(http, f"{url}/v1/reservations", ask)
            headers = {"Authorization": "Bearer secret"}
            known = await post(http, f"{url}/v1/reservations", ask, headers=headers)
            log = process.stderr.read_text()

    assert stranger[0] == 401
    assert (known[0], known[1]["entitlement"]) == (201, "acme")
    assert "secret" not in log


async def test_a_host_that_others_can_reach_needs_keys(
    kafka_bootstrap: str, topic_prefix: str
) -> None:
    async with streams_side(kafka_bootstrap, topic_prefix) as side:
        await side.apply(spec())
        environ = environment(
            kafka_bootstrap,
            topic_prefix,
            TOKENPOOLS_ADMISSION_HOST="0.0.0.0",
            TOKENPOOLS_ADMISSION_URL="http://admission.test",
        )
        with admitter(environ) as process:
            line = await eventually(lambda: process.event("cannot_start"), within_s=START_S_MAX)
            status = process.popen.wait(timeout=STOP_S_MAX)

    assert status == 2
    assert "TOKENPOOLS_ADMISSION_HOST=0.0.0.0" in str(line["error"])


async def _reported(side: StreamsSide, fits: Any) -> Any:
    def look() -> object:
        lines = [line for report in side.reports.values() for line in report.entitlements]
        return next((line for line in lines if fits(line)), None)

    return await eventually(look, within_s=START_S_MAX)
