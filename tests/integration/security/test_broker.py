"""The local broker with secured listeners: whom it lets in, and what it shows of its secrets."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import KafkaConnectionError

from deploy.local.broker import Broker, BrokerRunningError
from deploy.local.ports import PortTakenError
from tests.integration.secured_broker import PLAIN_USERS, SCRAM_USERS, Certificates


def test_a_second_start_on_the_same_directory_names_the_process_that_has_it(
    secured_broker: Broker, kafka_jars: Sequence[Path]
) -> None:
    second = Broker(secured_broker.config, jars=kafka_jars)

    with pytest.raises(BrokerRunningError, match=str(secured_broker.config.state_dir)) as refused:
        second.start()

    assert refused.value.pid == secured_broker.pid


def test_a_port_that_is_taken_is_named_with_its_option(
    secured_broker: Broker, tmp_path: Path, kafka_jars: Sequence[Path]
) -> None:
    config = replace(secured_broker.config, state_dir=tmp_path, port_option="--kafka-port")

    with pytest.raises(PortTakenError, match=f"{config.port}.*--kafka-port"):
        Broker(config, jars=kafka_jars).start()


def test_only_its_owner_can_read_the_brokers_settings(secured_broker: Broker) -> None:
    assert secured_broker.config.properties_file.stat().st_mode & 0o077 == 0


def test_the_brokers_own_command_line_shows_no_password(secured_broker: Broker) -> None:
    shown = " ".join(secured_broker.command())

    assert [word for word in ("alice-password", "bob-password") if word in shown] == []


@pytest.mark.parametrize(
    ("mechanism", "users"),
    [
        pytest.param("PLAIN", PLAIN_USERS, id="PLAIN"),
        pytest.param("SCRAM-SHA-512", SCRAM_USERS, id="SCRAM"),
    ],
)
async def test_a_secured_listener_lets_in_only_who_has_the_password(
    secured_broker: Broker,
    certificates: Certificates,
    tmp_path: Path,
    mechanism: str,
    users: Mapping[str, str],
) -> None:
    ((user, password),) = users.items()

    async def lets_in(given: str) -> bool:
        admin = AIOKafkaAdminClient(
            bootstrap_servers=f"127.0.0.1:{secured_broker.config.extra_listeners[0].port}",
            security_protocol="SASL_SSL",
            ssl_context=certificates.client_context(tmp_path),
            sasl_mechanism=mechanism,
            sasl_plain_username=user,
            sasl_plain_password=given,
        )
        try:
            await admin.start()
            await admin.list_topics()
        except KafkaConnectionError:
            return False
        finally:
            await admin.close()
        return True

    assert await lets_in(password)
    assert not await lets_in("wrong")
