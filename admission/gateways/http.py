"""HTTP: one exchange with one admitter.  It either answers or is unavailable; nothing is decided.

The one place of the client that knows aiohttp.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import aiohttp
import msgspec

from admission.gateways.limits import GatewayLimits
from schemas.errors import UnavailableError
from schemas.units import MS_PER_S
from schemas.wire import encode


class UnansweredError(UnavailableError):
    """The admitter gave no answer that is worth reading, but may have acted on the call."""


@dataclass(frozen=True, slots=True)
class Reply:
    """What an admitter answered."""

    url: str
    status: int
    body: bytes


class AdmitterHttp:
    """A session for all admitters of one client."""

    def __init__(self, limits: GatewayLimits, *, api_key: str | None) -> None:
        self._headers = {"Authorization": f"Bearer {api_key}"} if api_key else {}
        self._limits = limits
        self._session: aiohttp.ClientSession | None = None

    async def start(self) -> None:
        """Open the session."""
        timeout = aiohttp.ClientTimeout(
            total=self._limits.answer_ms / MS_PER_S, sock_connect=self._limits.connect_ms / MS_PER_S
        )
        connector = aiohttp.TCPConnector(limit=self._limits.connections_max)
        self._session = aiohttp.ClientSession(
            headers=self._headers, timeout=timeout, connector=connector
        )

    async def stop(self) -> None:
        """Close the session."""
        if self._session is not None:
            await self._session.close()
            self._session = None

    async def exchange(
        self,
        url: str,
        *,
        method: str,
        path: str,
        body: msgspec.Struct | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Reply:
        """Return the answer; raise ``UnavailableError`` when the call cannot have arrived, and
        ``UnansweredError`` when it may have.

        A status of 500 or more counts as none, except 503: that is an admitter without state.
        """
        assert self._session is not None, "start() comes first"
        data = None if body is None else encode(body)
        sent = {"Content-Type": "application/json", **(headers or {})}
        try:
            async with self._session.request(
                method, f"{url.rstrip('/')}{path}", data=data, headers=sent, allow_redirects=False
            ) as response:
                content = await response.read()
                status = response.status
        except aiohttp.ClientConnectorError as error:
            raise UnavailableError(f"admitter {url} is not there: {error!r}") from error
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise UnansweredError(f"admitter {url} does not answer: {error!r}") from error
        if status >= 500 and status != 503:
            raise UnansweredError(f"admitter {url} answered {status}")
        return Reply(url, status, content)
