"""What ``curl`` would do: one request with a body, headers and parameters, nothing in between."""

from __future__ import annotations

import http.client
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from urllib.parse import urlencode, urlsplit

from tests.integration.engine_fixtures import ANSWER_S_MAX, basic_auth


@dataclass(frozen=True, slots=True)
class Reply:
    """A whole response.  ``cut`` says that its end never came."""

    status: int
    headers: Mapping[str, str]
    body: bytes
    cut: bool = False

    @property
    def text(self) -> str:
        return self.body.decode()


@dataclass(frozen=True, slots=True)
class Http:
    """Requests to one server; ``database`` is the DSN's."""

    dsn: str
    login: Mapping[str, str] = field(default_factory=dict)

    @property
    def database(self) -> str:
        return urlsplit(self.dsn).path.lstrip("/")

    def post(
        self,
        sql: str | bytes | Iterable[bytes] = b"",
        *,
        headers: Mapping[str, str] | None = None,
        **params: str,
    ) -> Reply:
        """POST a body, with the DSN's login and database unless ``params`` say otherwise."""
        return self.request("POST", sql, headers or {}, params)

    def get(self, path: str = "/", **params: str) -> Reply:
        return self.request("GET", b"", {}, params, path=path)

    def request(
        self,
        method: str,
        sql: str | bytes | Iterable[bytes],
        headers: Mapping[str, str],
        params: Mapping[str, str],
        *,
        path: str = "/",
    ) -> Reply:
        parts = urlsplit(self.dsn)
        query = urlencode({"database": self.database, **params})
        connection = http.client.HTTPConnection(
            parts.hostname or "", parts.port or 8123, timeout=ANSWER_S_MAX
        )
        login = self.login or {"Authorization": basic_auth(parts)}
        body = sql.encode() if isinstance(sql, str) else sql
        try:
            connection.request(method, f"{path}?{query}", body, {**login, **headers})
            return _reply(connection.getresponse())
        finally:
            connection.close()


def _reply(response: http.client.HTTPResponse) -> Reply:
    cut = False
    try:
        body = response.read()
    except http.client.IncompleteRead as failure:
        body, cut = failure.partial, True
    headers = {name.lower(): value for name, value in response.getheaders()}
    return Reply(response.status, headers, body, cut)
