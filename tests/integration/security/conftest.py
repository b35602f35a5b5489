"""One secured broker for these tests, the ways to log in to it, and files that hold secrets."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Final

import pytest

from deploy.local.broker import Broker
from deploy.local.broker_settings import BrokerConfig, Listener
from deploy.local.ports import free_ports
from tests.integration.secured_broker import (
    SCRAM_USERS,
    SECURED,
    Certificates,
    make_certificates,
    secured_properties,
)
from tests.integration.security.logins import CERTIFIED, Login, logins, mutual_tls_properties


@pytest.fixture(scope="package")
def certificates() -> Certificates:
    return make_certificates()


@pytest.fixture(scope="package")
def secured_broker(
    certificates: Certificates,
    tmp_path_factory: pytest.TempPathFactory,
    kafka_jars: Sequence[Path],
) -> Iterator[Broker]:
    """A broker with a door for passwords over TLS and one for client certificates."""
    port, controller_port, password_port, certificate_port = free_ports(4)
    config = BrokerConfig(
        state_dir=tmp_path_factory.mktemp("secured"),
        port=port,
        controller_port=controller_port,
        extra_listeners=(
            Listener(name=SECURED, protocol="SASL_SSL", port=password_port),
            Listener(name=CERTIFIED, protocol="SSL", port=certificate_port),
        ),
        extra_properties={
            **secured_properties(certificates),
            **mutual_tls_properties(certificates),
        },
        scram_users=SCRAM_USERS,
    )
    broker = Broker(config, jars=kafka_jars)
    broker.start()
    try:
        yield broker
    finally:
        broker.stop()


@pytest.fixture
def login(
    secured_broker: Broker, certificates: Certificates, tmp_path: Path, topic_prefix: str
) -> Callable[[str], Login]:
    """Return the way to log in that is asked for, with names of this test's own."""
    known: Final = logins(secured_broker.config, certificates, tmp_path, prefix=topic_prefix)
    return known.__getitem__
