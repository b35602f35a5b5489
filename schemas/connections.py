"""Connections: how to reach Kafka and ClickHouse, parsed once from the environment.

Plain options: each process builds its own client from them.  Secrets never show in ``repr``; a
secret may also stand in a file (``<NAME>_FILE``), which the caller's ``read_text`` reads.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Final
from urllib.parse import parse_qs, unquote, urlsplit

from schemas.errors import SettingsError

ReadText = Callable[[str], str]

SECURITY_PROTOCOLS: Final = ("PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL")
SASL_MECHANISMS: Final = ("PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512")
PARTITIONS_MAX: Final = 1_024
_PREFIX: Final = re.compile(r"[A-Za-z0-9._-]{0,64}")


@dataclass(frozen=True)
class KafkaOptions:
    """How to reach the brokers, and what our topics and groups are called there."""

    bootstrap: str
    security_protocol: str = "PLAINTEXT"
    sasl_mechanism: str = ""
    sasl_username: str = ""
    sasl_password: str = field(default="", repr=False)
    ssl_ca_file: str = ""
    ssl_cert_file: str = ""
    ssl_key_file: str = ""
    ssl_key_password: str = field(default="", repr=False)
    ssl_check_hostname: bool = True
    topic_prefix: str = ""
    group_prefix: str = ""
    partitions: int = 8
    replication_factor: int = 1
    min_insync: int = 1
    provision: bool = True

    def topic(self, name: str) -> str:
        """Return a topic's name on the broker."""
        return f"{self.topic_prefix}{name}"

    def group(self, name: str) -> str:
        """Return a consumer group's (or Faust application's) name on the broker."""
        return f"{self.group_prefix}{name}"

    @property
    def uses_tls(self) -> bool:
        """Whether the connection is encrypted."""
        return self.security_protocol.endswith("SSL")

    @property
    def uses_sasl(self) -> bool:
        """Whether the connection authenticates with user and password."""
        return self.security_protocol.startswith("SASL")


@dataclass(frozen=True)
class ClickHouseOptions:
    """How to reach ClickHouse's HTTP interface."""

    host: str
    port: int
    database: str
    username: str = "default"
    password: str = field(default="", repr=False)
    secure: bool = False
    verify: bool = True
    ca_file: str = ""
    cluster: str = ""
    """Tables become replicated ON CLUSTER when named."""

    @property
    def dsn(self) -> str:
        """The address without secrets."""
        scheme = "clickhouses" if self.secure else "clickhouse"
        return f"{scheme}://{self.host}:{self.port}/{self.database}"


def kafka_options(environ: Mapping[str, str], *, read_text: ReadText) -> KafkaOptions:
    """Return the Kafka options; raise ``SettingsError`` naming the variables that contradict."""
    options = KafkaOptions(
        bootstrap=_required(environ, "KAFKA_BOOTSTRAP_SERVERS"),
        security_protocol=_one_of(environ, "KAFKA_SECURITY_PROTOCOL", SECURITY_PROTOCOLS),
        sasl_mechanism=_one_of(environ, "KAFKA_SASL_MECHANISM", ("", *SASL_MECHANISMS)),
        sasl_username=environ.get("KAFKA_SASL_USERNAME", ""),
        sasl_password=_secret(environ, "KAFKA_SASL_PASSWORD", read_text=read_text),
        ssl_ca_file=environ.get("KAFKA_SSL_CA_FILE", ""),
        ssl_cert_file=environ.get("KAFKA_SSL_CERT_FILE", ""),
        ssl_key_file=environ.get("KAFKA_SSL_KEY_FILE", ""),
        ssl_key_password=_secret(environ, "KAFKA_SSL_KEY_PASSWORD", read_text=read_text),
        ssl_check_hostname=boolean(environ, "KAFKA_SSL_CHECK_HOSTNAME", default=True),
        topic_prefix=_prefix(environ, "TOKENPOOLS_TOPIC_PREFIX"),
        group_prefix=_prefix(environ, "TOKENPOOLS_GROUP_PREFIX"),
        partitions=integer(environ, "TOKENPOOLS_PARTITIONS", default=8, low=1, high=PARTITIONS_MAX),
        replication_factor=integer(
            environ, "TOKENPOOLS_REPLICATION_FACTOR", default=1, low=1, high=32
        ),
        min_insync=integer(environ, "TOKENPOOLS_MIN_INSYNC", default=1, low=1, high=32),
        provision=boolean(environ, "TOKENPOOLS_PROVISION", default=True),
    )
    _check_kafka(options)
    return options


def clickhouse_options(environ: Mapping[str, str], *, read_text: ReadText) -> ClickHouseOptions:
    """Return the ClickHouse options from ``CLICKHOUSE_DSN`` and ``CLICKHOUSE_PASSWORD[_FILE]``.

    ``clickhouse://[user[:password]@]host[:port]/database`` speaks HTTP (8123),
    ``clickhouses://`` HTTPS (8443); query parameters: ``verify=0``, ``ca_file=...``.
    """
    dsn = _required(environ, "CLICKHOUSE_DSN")
    parts = urlsplit(dsn)
    if parts.scheme not in ("clickhouse", "clickhouses") or not parts.hostname:
        raise SettingsError("CLICKHOUSE_DSN must look like clickhouse://host:port/database")
    secure = parts.scheme == "clickhouses"
    query = {name: values[-1] for name, values in parse_qs(parts.query).items()}
    password = _secret(environ, "CLICKHOUSE_PASSWORD", read_text=read_text)
    return ClickHouseOptions(
        host=parts.hostname,
        port=_port(parts.netloc, parts.port, default=8443 if secure else 8123),
        database=_database(parts.path),
        username=unquote(parts.username or "") or environ.get("CLICKHOUSE_USER", "") or "default",
        password=password or unquote(parts.password or ""),
        secure=secure,
        verify=query.get("verify", "1") not in ("0", "false"),
        ca_file=query.get("ca_file", ""),
        cluster=environ.get("TOKENPOOLS_CLICKHOUSE_CLUSTER", ""),
    )


def integer(environ: Mapping[str, str], name: str, *, default: int, low: int, high: int) -> int:
    """Return a whole number between ``low`` and ``high``; the error names the variable."""
    text = environ.get(name, "")
    if not text:
        return default
    if not (text.isascii() and text.isdigit() and low <= int(text) <= high):
        raise SettingsError(f"{name}={text!r} must be a whole number from {low} to {high}")
    return int(text)


def boolean(environ: Mapping[str, str], name: str, *, default: bool) -> bool:
    """Return a switch; the error names the variable."""
    text = environ.get(name, "").lower()
    if not text:
        return default
    if text in ("1", "true", "yes", "on"):
        return True
    if text in ("0", "false", "no", "off"):
        return False
    raise SettingsError(f"{name}={text!r} must be true or false")


def secret(environ: Mapping[str, str], name: str, *, read_text: ReadText) -> str:
    """Return the secret in variable ``name``, or in the file that ``<name>_FILE`` names."""
    return _secret(environ, name, read_text=read_text)


def _secret(environ: Mapping[str, str], name: str, *, read_text: ReadText) -> str:
    value, path = environ.get(name, ""), environ.get(f"{name}_FILE", "")
    if value and path:
        raise SettingsError(f"{name} and {name}_FILE are both set; keep one")
    if not path:
        return value
    try:
        return read_text(path).strip()
    except OSError as error:
        raise SettingsError(f"{name}_FILE={path!r} cannot be read: {error.strerror}") from error


def _required(environ: Mapping[str, str], name: str) -> str:
    value = environ.get(name, "").strip()
    if not value:
        raise SettingsError(f"{name} is not set")
    return value


def _one_of(environ: Mapping[str, str], name: str, allowed: tuple[str, ...]) -> str:
    value = environ.get(name, "").upper() or allowed[0]
    if value not in allowed:
        raise SettingsError(f"{name}={value!r} must be one of {', '.join(filter(None, allowed))}")
    return value


def _prefix(environ: Mapping[str, str], name: str) -> str:
    value = environ.get(name, "")
    if not _PREFIX.fullmatch(value):
        raise SettingsError(f"{name}={value!r} must match {_PREFIX.pattern}")
    return value


def _port(netloc: str, port: int | None, *, default: int) -> int:
    if port is None and netloc.rpartition("@")[2].endswith(":"):
        raise SettingsError("CLICKHOUSE_DSN has an empty port")
    return default if port is None else port


def _database(path: str) -> str:
    database = path.strip("/") or "tokenpools"
    if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]{0,63}", database):
        raise SettingsError(f"CLICKHOUSE_DSN: database {database!r} must be a plain identifier")
    return database


def _check_kafka(options: KafkaOptions) -> None:
    if options.uses_sasl and not (
        options.sasl_mechanism and options.sasl_username and options.sasl_password
    ):
        raise SettingsError(
            f"KAFKA_SECURITY_PROTOCOL={options.security_protocol} needs KAFKA_SASL_MECHANISM, "
            "KAFKA_SASL_USERNAME and KAFKA_SASL_PASSWORD (or KAFKA_SASL_PASSWORD_FILE)"
        )
    if options.sasl_mechanism and not options.uses_sasl:
        raise SettingsError(
            "KAFKA_SASL_MECHANISM needs KAFKA_SECURITY_PROTOCOL=SASL_SSL (or SASL_PLAINTEXT)"
        )
    if bool(options.ssl_cert_file) != bool(options.ssl_key_file):
        raise SettingsError("KAFKA_SSL_CERT_FILE and KAFKA_SSL_KEY_FILE go together")
    if options.ssl_ca_file and not options.uses_tls:
        raise SettingsError("KAFKA_SSL_CA_FILE needs KAFKA_SECURITY_PROTOCOL=SSL or SASL_SSL")
    if options.min_insync > options.replication_factor:
        raise SettingsError("TOKENPOOLS_MIN_INSYNC is larger than TOKENPOOLS_REPLICATION_FACTOR")
