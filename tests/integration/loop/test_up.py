"""``tokenpools up``: a loop for real gateways, one at a time per state directory."""

from __future__ import annotations

import json
import os
import time
import urllib.request
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka import Producer

from deploy.local.ports import free_ports
from tests.integration.loop.command import POLL_S, Command

POOLS = """
pools:
  - name: chat
    model: sim-8b
    replicas: {min: 1, max: 2}
    perReplica: {tokensPerSecond: 1600, kvCacheGiB: 4, concurrency: 16}
    kvBytesPerToken: 147456
entitlements:
  - uid: assistant
    tenantId: acme
    poolRef: {name: chat}
    qos: {serviceClass: elastic}
    resources: {tokensPerSecond: 700, kvCacheGiB: 1, concurrency: 7}
"""
USAGE_S_MAX = 20.0


def post(url: str, body: dict[str, Any]) -> dict[str, Any]:
    request = urllib.request.Request(url, json.dumps(body).encode(), method="POST")
    with urllib.request.urlopen(request, timeout=10) as answer:
        parsed: dict[str, Any] = json.load(answer)
    return parsed


def usage(environ: dict[str, str], cwd: Path) -> list[dict[str, Any]]:
    with Command(["usage", "--by", "tenant", "--json"], cwd=cwd, environ=environ) as asked:
        assert asked.ended() == 0, asked.text
    rows: list[dict[str, Any]] = json.loads(asked.text)
    return rows


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_one_request_by_hand_shows_in_the_tenants_usage(tmp_path: Path) -> None:
    (tmp_path / "pools.yaml").write_text(POOLS, encoding="utf-8")
    kafka, controller, clickhouse, admission = free_ports(4)
    arguments = ["up", "--config", "pools.yaml", "--state-dir", "state", "--admitters", "1"]
    arguments += ["--kafka-port", str(kafka), "--kafka-controller-port", str(controller)]
    arguments += ["--clickhouse-port", str(clickhouse), "--admission-port", str(admission)]
    with Command(arguments, cwd=tmp_path) as up:
        up.line("^ready: admitters")
        with Command(arguments, cwd=tmp_path) as second:
            refused = second.line("belongs to a loop that runs")
            assert second.ended() == 2

        url = f"http://127.0.0.1:{admission}/v1/reservations"
        asked = {"pool": "chat", "entitlement": "assistant", "input_tokens": 120, "max_tokens": 64}
        reservation = post(url, asked)
        settled = post(
            f"{url}/{reservation['reservation_id']}/settlement",
            {"input_tokens": 120, "output_tokens": 42},
        )
        emit(f"127.0.0.1:{kafka}", reservation["reservation_id"])
        password = (tmp_path / "state/secrets/clickhouse.password").read_text().strip()
        dsn = f"clickhouse://default:{password}@127.0.0.1:{clickhouse}/tokenpools"
        rows = usage_of(dsn, tmp_path)

    assert "choose another --state-dir" in refused
    assert settled["first"] is True
    assert settled["charged_tokens"] == 162
    assert [(row["tenant"], row["tokens"]) for row in rows] == [("acme", 162)]


def emit(bootstrap: str, reservation_id: str) -> None:
    """Send the request's usage as any Kafka client would, with that client's own partitioner."""
    now_us = time.time_ns() // 1_000
    data: dict[str, Any] = {"pool": "chat", "entitlement": "assistant"}
    data["reservation_id"] = reservation_id
    data |= {"tenant": "acme", "input_tokens": 120, "output_tokens": 42}
    times = {"start_us": now_us - 1_000_000, "end_us": now_us}
    event = {
        "specversion": "1.0",
        "id": "by-hand-1",
        "source": "my-gateway",
        "type": "tokenpools.usage.v1",
        "data": {**data, **times},
    }
    producer = Producer({"bootstrap.servers": bootstrap})
    producer.produce("usage", key="chat", value=json.dumps(event))
    assert producer.flush(20) == 0


def usage_of(dsn: str, cwd: Path) -> list[dict[str, Any]]:
    """Return the usage once there is any; fail after ``USAGE_S_MAX``."""
    deadline_s = time.monotonic() + USAGE_S_MAX
    while not (rows := usage({**os.environ, "CLICKHOUSE_DSN": dsn}, cwd)):
        assert time.monotonic() < deadline_s, "the usage did not show"
        time.sleep(POLL_S)
    return rows
