"""Settings of the admission process, parsed once at its start from its environment."""

from __future__ import annotations

import base64
import binascii
import ipaddress
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from admission.core.gate import Limits
from admission.core.journal import QUEUE_MAX
from admission.core.reservations import ENDED_MAX, OPEN_MAX
from admission.core.tokens import KEY_BYTES_MIN
from schemas.connections import KafkaOptions, ReadText, boolean, integer, kafka_options, secret
from schemas.errors import SettingsError

HOST: Final = "TOKENPOOLS_ADMISSION_HOST"
PORT: Final = "TOKENPOOLS_ADMISSION_PORT"
URL: Final = "TOKENPOOLS_ADMISSION_URL"
NAME: Final = "TOKENPOOLS_ADMISSION_NAME"
RESERVATION_KEY: Final = "TOKENPOOLS_RESERVATION_KEY"
BODY_BYTES_MAX: Final = "TOKENPOOLS_ADMISSION_BODY_BYTES_MAX"
OPEN: Final = "TOKENPOOLS_ADMISSION_OPEN_MAX"
ENDED: Final = "TOKENPOOLS_ADMISSION_ENDED_MAX"
SHADOW: Final = "TOKENPOOLS_ADMISSION_SHADOW"
DECISIONS: Final = "TOKENPOOLS_ADMISSION_DECISIONS_MAX"

PORT_DEFAULT: Final = 8080


@dataclass(frozen=True)
class Settings:
    """What one admitter needs to know."""

    kafka: KafkaOptions
    reservation_key: bytes = field(repr=False)
    """Signs reservation ids; the same at all admitters."""
    host: str = "127.0.0.1"
    port: int = PORT_DEFAULT
    """0 takes any free port."""
    url: str = ""
    """Where gateways and other admitters' clients reach this one; empty: from host and port."""
    name: str = "admission"
    """The readable part of the incarnation's id."""
    body_bytes_max: int = 65_536
    limits: Limits = field(default_factory=Limits)
    shadow: bool = False
    """Decide and report, but refuse, demote and evict nothing."""

    @classmethod
    def from_env(cls, environ: Mapping[str, str], *, read_text: ReadText) -> Settings:
        """Return the settings; ``SettingsError`` names the variable that must change."""
        host = environ.get(HOST, "") or "127.0.0.1"
        return cls(
            kafka=kafka_options(environ, read_text=read_text),
            reservation_key=reservation_key(secret(environ, RESERVATION_KEY, read_text=read_text)),
            host=host,
            port=integer(environ, PORT, default=PORT_DEFAULT, low=0, high=65_535),
            url=_url(environ.get(URL, ""), host=host),
            name=_name(environ.get(NAME, "") or "admission"),
            body_bytes_max=integer(
                environ, BODY_BYTES_MAX, default=65_536, low=1_024, high=16_777_216
            ),
            shadow=boolean(environ, SHADOW, default=False),
            limits=Limits(
                open_max=integer(environ, OPEN, default=OPEN_MAX, low=1, high=10_000_000),
                ended_max=integer(environ, ENDED, default=ENDED_MAX, low=1, high=10_000_000),
                decisions_max=integer(environ, DECISIONS, default=QUEUE_MAX, low=1, high=1_000_000),
            ),
        )

    @property
    def is_loopback(self) -> bool:
        """Whether only this machine can reach the server."""
        return is_loopback(self.host)


def is_loopback(host: str) -> bool:
    """Say whether a host name or address is this machine's own."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def reservation_key(text: str) -> bytes:
    """Return the key that hexadecimal digits or base64 spell."""
    if not text:
        raise SettingsError(f"{RESERVATION_KEY} is not set (try: openssl rand -hex 32)")
    try:
        key = bytes.fromhex(text)
    except ValueError:
        key = _from_base64(text)
    if len(key) < KEY_BYTES_MIN:
        raise SettingsError(f"{RESERVATION_KEY} must be at least {KEY_BYTES_MIN} bytes long")
    return key


def _from_base64(text: str) -> bytes:
    try:
        padded = text + "=" * (-len(text) % 4)
        return base64.b64decode(padded, altchars=b"-_" if set(text) & set("-_") else None)
    except (binascii.Error, ValueError) as error:
        raise SettingsError(f"{RESERVATION_KEY} is neither hexadecimal nor base64") from error


def _url(url: str, *, host: str) -> str:
    if url and not url.startswith(("http://", "https://")):
        raise SettingsError(f"{URL}={url!r} must begin with http:// or https://")
    if not url and host in ("0.0.0.0", "::"):
        raise SettingsError(f"{HOST}={host} needs {URL}: the address that others reach this by")
    return url.rstrip("/")


def _name(name: str) -> str:
    if not (name.isascii() and name.replace("-", "").replace(".", "").isalnum() and len(name) < 64):
        raise SettingsError(f"{NAME}={name!r} must be letters, digits, '-' and '.', at most 63")
    return name
