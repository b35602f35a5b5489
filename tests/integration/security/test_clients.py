"""Each way to log in works for the command line, for publishing and for both followers."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from decimal import Decimal

import pytest

from admission.kafka import Follower as AdmissionFollower
from console.publish import publish_pools
from deploy.local.provision import provisioned_topics
from schemas.specs import Amounts, EntitlementSpec, PoolRecord, PoolRef, PoolSpec, Qos, ServiceClass
from schemas.topics import POOLS
from streams.kafka import client_kwargs
from streams.topic_logs import Follower, Record
from tests.integration.security.logins import WAYS, Login
from tests.integration.security.processes import base_environment, tokenpools

POOL = PoolRecord(
    pool=PoolSpec(
        name="chat",
        model="model",
        per_replica=Amounts(
            tokens_per_second=Decimal(1_000), kv_cache_gib=Decimal(8), concurrency=8
        ),
        kv_bytes_per_token=1_000,
    ),
    entitlements=(
        EntitlementSpec(
            uid="batch",
            tenant_id="acme",
            pool_ref=PoolRef(name="chat"),
            qos=Qos(service_class=ServiceClass.SPOT),
        ),
    ),
)


def now_us() -> int:
    return time.time_ns() // 1_000


@pytest.mark.parametrize("way", WAYS)
async def test_topics_are_created_and_specs_travel(login: Callable[[str], Login], way: str) -> None:
    known = login(way)
    options = known.options
    created = tokenpools("topics", environ={**base_environment(os.environ), **known.environ})
    await publish_pools([POOL], options, client=client_kwargs(options), now_us=now_us())

    keys: list[bytes | None] = []
    problems: list[str] = []
    follower = Follower(options, POOLS, handler=lambda record: keys.append(_key(record)))
    admitters = AdmissionFollower(
        options, POOLS, lambda record: keys.append(record.key), say=problems.append
    )
    await follower.start()
    await admitters.start()
    try:
        await follower.caught_up()
        await admitters.caught_up()
    finally:
        await follower.stop()
        await admitters.stop()

    assert created.returncode == 0, created.stdout
    assert f"created {len(provisioned_topics())} topics" in created.stdout
    assert known.secret not in created.stdout
    assert keys == [b"chat", b"chat"]
    assert problems == []


def _key(record: Record) -> bytes | None:
    return record.key


@pytest.mark.parametrize(
    ("way", "changed"),
    [
        pytest.param("PLAIN", {"KAFKA_SASL_PASSWORD": "not-the-password"}, id="a wrong password"),
        pytest.param("PLAIN", {"KAFKA_SASL_USERNAME": "mallory"}, id="an unknown user"),
        pytest.param("PLAIN", {"KAFKA_SSL_CA_FILE": ""}, id="an authority that is not trusted"),
        pytest.param(
            "certificate",
            {"KAFKA_SSL_CERT_FILE": "", "KAFKA_SSL_KEY_FILE": "", "KAFKA_SSL_KEY_PASSWORD": ""},
            id="no certificate",
        ),
    ],
)
def test_who_cannot_log_in_is_told_which_settings_to_check(
    login: Callable[[str], Login], way: str, changed: dict[str, str]
) -> None:
    environ = {**base_environment(os.environ), **login(way).environ, **changed}

    refused = tokenpools("topics", environ=environ)

    assert refused.returncode == 2
    (said,) = [line for line in refused.stdout.splitlines() if line.startswith("tokenpools: ")]
    assert environ["KAFKA_BOOTSTRAP_SERVERS"] in said
    assert "check KAFKA_BOOTSTRAP_SERVERS and the KAFKA_* security settings" in said
    assert [
        value
        for name, value in environ.items()
        if value and "PASSWORD" in name and value in refused.stdout
    ] == []
    assert "Traceback" not in refused.stdout


@pytest.mark.parametrize(
    ("changed", "named"),
    [
        pytest.param({"KAFKA_SSL_CA_FILE": "/no/such.pem"}, "KAFKA_SSL_CA_FILE", id="authority"),
        pytest.param({"KAFKA_SSL_KEY_FILE": "/no/such.key"}, "KAFKA_SSL_KEY_FILE", id="key"),
        pytest.param({"KAFKA_SSL_KEY_PASSWORD": "wrong"}, "KAFKA_SSL_KEY_PASSWORD", id="password"),
        pytest.param({"KAFKA_SSL_KEY_PASSWORD": ""}, "KAFKA_SSL_KEY_PASSWORD", id="no password"),
    ],
)
def test_a_file_that_cannot_be_used_is_named_with_its_setting(
    login: Callable[[str], Login], changed: dict[str, str], named: str
) -> None:
    environ = {**base_environment(os.environ), **login("certificate").environ, **changed}

    refused = tokenpools("topics", environ=environ)

    assert refused.returncode == 2
    assert named in refused.stdout
    assert "Traceback" not in refused.stdout
