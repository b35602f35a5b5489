"""Three ways to log in: SCRAM and PLAIN over TLS, and a client certificate with a locked key."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from cryptography.hazmat.primitives import serialization

from console.environment import read_text
from deploy.local.broker_settings import BrokerConfig
from schemas.connections import KafkaOptions, kafka_options
from tests.integration.secured_broker import PLAIN_USERS, SCRAM_USERS, Certificates

CERTIFIED: Final = "CERTIFIED"
KEY_PASSWORD: Final = "opens-the-client-key"
WAYS: Final = ("SCRAM", "PLAIN", "certificate")


@dataclass(frozen=True)
class Login:
    """What a process is given to log in, and what must be seen nowhere."""

    environ: Mapping[str, str]
    secret: str

    @property
    def options(self) -> KafkaOptions:
        return kafka_options(self.environ, read_text=read_text)


def mutual_tls_properties(certificates: Certificates) -> dict[str, str]:
    """Kafka's properties of the listener ``CERTIFIED``: it knows clients by their certificate."""
    listener = f"listener.name.{CERTIFIED.lower()}"
    return {
        f"{listener}.ssl.keystore.type": "PEM",
        f"{listener}.ssl.keystore.key": certificates.broker.key,
        f"{listener}.ssl.keystore.certificate.chain": certificates.broker.certificate,
        f"{listener}.ssl.truststore.type": "PEM",
        f"{listener}.ssl.truststore.certificates": certificates.authority,
        f"{listener}.ssl.client.auth": "required",
    }


def logins(
    config: BrokerConfig, certificates: Certificates, folder: Path, *, prefix: str
) -> dict[str, Login]:
    """Return each way to log in by its name; passwords and keys lie in files of ``folder``."""
    passwords, certified = (listener.port for listener in config.extra_listeners)
    authority = _written(folder / "authority.pem", certificates.authority)
    shared = {
        "KAFKA_SSL_CA_FILE": authority,
        "TOKENPOOLS_TOPIC_PREFIX": prefix,
        "TOKENPOOLS_GROUP_PREFIX": f"group-{prefix}",
        "TOKENPOOLS_PARTITIONS": "2",
    }
    ((plain_user, plain_password),) = PLAIN_USERS.items()
    ((scram_user, scram_password),) = SCRAM_USERS.items()
    by_password = {
        **shared,
        "KAFKA_BOOTSTRAP_SERVERS": f"127.0.0.1:{passwords}",
        "KAFKA_SECURITY_PROTOCOL": "SASL_SSL",
    }
    scram = {
        **by_password,
        "KAFKA_SASL_MECHANISM": "SCRAM-SHA-512",
        "KAFKA_SASL_USERNAME": scram_user,
        "KAFKA_SASL_PASSWORD_FILE": _written(folder / "scram.password", f"{scram_password}\n"),
    }
    plain = {
        **by_password,
        "KAFKA_SASL_MECHANISM": "PLAIN",
        "KAFKA_SASL_USERNAME": plain_user,
        "KAFKA_SASL_PASSWORD": plain_password,
    }
    certificate = {
        **shared,
        "KAFKA_BOOTSTRAP_SERVERS": f"127.0.0.1:{certified}",
        "KAFKA_SECURITY_PROTOCOL": "SSL",
        "KAFKA_SSL_CERT_FILE": _written(folder / "client.pem", certificates.client.certificate),
        "KAFKA_SSL_KEY_FILE": _written(folder / "client.key", locked(certificates.client.key)),
        "KAFKA_SSL_KEY_PASSWORD": KEY_PASSWORD,
    }
    return {
        "SCRAM": Login(scram, scram_password),
        "PLAIN": Login(plain, plain_password),
        "certificate": Login(certificate, KEY_PASSWORD),
    }


def locked(key: str) -> str:
    """Return a PEM key encrypted with ``KEY_PASSWORD``."""
    private = serialization.load_pem_private_key(key.encode(), password=None)
    return private.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.BestAvailableEncryption(KEY_PASSWORD.encode()),
    ).decode()


def _written(path: Path, text: str) -> str:
    path.touch(mode=0o600)
    path.write_text(text)
    return str(path)
