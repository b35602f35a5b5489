"""A streams worker on a secured listener: our own clients and Faust's log in alike."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.integration.security.logins import Login
from tests.integration.streams.loop import Gateway, Worker, provisioned
from tests.integration.verification.operator import producing


@pytest.mark.parametrize("way", ["SCRAM", "certificate"])
async def test_a_worker_meters_and_logs_no_secret(
    login: Callable[[str], Login], way: str, tmp_path: Path
) -> None:
    known = login(way)
    await provisioned(known.options)
    log = tmp_path / "worker.log"
    async with producing(known.options) as producer:
        gateway = Gateway(known.options, producer)
        worker = Worker.start(known.options, log)
        try:
            await gateway.emit(200)

            await gateway.ledger_agrees()
        finally:
            worker.stop()
            print(log.read_text())

    assert known.secret not in log.read_text()
