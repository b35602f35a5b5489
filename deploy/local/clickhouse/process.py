"""How is the local ClickHouse server started as a process of its own, and when is it ready?

For the supervisor and the tests: the command line, the environment that carries the password, the
address that every other process is given, and a wait with a deadline.
"""

from __future__ import annotations

import http.client
import secrets
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final
from urllib.parse import quote

from schemas.errors import TokenpoolsError

PASSWORD_VARIABLE: Final = "TOKENPOOLS_CLICKHOUSE_PASSWORD"
PASSWORD_BYTES: Final = 24
POLL_S: Final = 0.05
PING_TIMEOUT_S: Final = 1.0


class NotReadyError(TokenpoolsError):
    """The server did not answer in time or ended; the text names its log."""


@dataclass(frozen=True, slots=True)
class ClickHouseProcess:
    """One local server: where its data and log are, and how it is reached."""

    data_dir: Path
    port: int
    log_path: Path
    password: str = field(repr=False)
    user: str = "default"
    host: str = "127.0.0.1"
    memory_mib: int = 1_536

    def command(self) -> list[str]:
        """Return the command line; it holds no secret."""
        return [
            sys.executable,
            "-P",  # not from a folder of that name where the user stands
            "-m",
            "deploy.local.clickhouse",
            *("--data-dir", str(self.data_dir)),
            *("--host", self.host),
            *("--port", str(self.port)),
            *("--user", self.user),
            *("--password-env", PASSWORD_VARIABLE),
            *("--memory-mib", str(self.memory_mib)),
            *("--query-memory-mib", str(self.memory_mib * 2 // 3)),
        ]

    def environment(self) -> dict[str, str]:
        """Return what the command needs besides the parent's environment."""
        return {PASSWORD_VARIABLE: self.password}

    def dsn(self, database: str = "default") -> str:
        """Return the address for CLICKHOUSE_DSN."""
        login = f"{quote(self.user, safe='')}:{quote(self.password, safe='')}"
        return f"clickhouse://{login}@{self.host}:{self.port}/{quote(database, safe='')}"

    def wait_ready(self, deadline_s: float, *, has_ended: Callable[[], bool] | None = None) -> None:
        """Return once the server answers; raise ``NotReadyError`` after ``deadline_s`` seconds.

        ``has_ended`` lets the caller say that the process is gone, so that nobody waits for it.
        """
        until = time.monotonic() + deadline_s
        while not self.answers():
            if has_ended is not None and has_ended():
                raise NotReadyError(
                    f"the ClickHouse server ended at its start: see {self.log_path}"
                )
            if time.monotonic() > until:
                raise NotReadyError(
                    f"the ClickHouse server on port {self.port} did not answer within "
                    f"{deadline_s:.0f} s: see {self.log_path}"
                )
            time.sleep(POLL_S)

    def answers(self) -> bool:
        """Whether the server answers /ping now."""
        connection = http.client.HTTPConnection(self.host, self.port, timeout=PING_TIMEOUT_S)
        try:
            connection.request("GET", "/ping")
            return connection.getresponse().status == 200
        except (OSError, http.client.HTTPException):
            return False
        finally:
            connection.close()


def kept_password(path: Path) -> str:
    """Return the password kept in ``path``, which is made for its owner alone if missing."""
    try:
        return path.read_text().strip()
    except FileNotFoundError:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch(mode=0o600)
        path.write_text(secrets.token_urlsafe(PASSWORD_BYTES) + "\n")
        return path.read_text().strip()
