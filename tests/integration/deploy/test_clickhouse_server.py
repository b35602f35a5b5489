"""The local ClickHouse server as a process: starts, refusals, stops, and kill -9."""

from __future__ import annotations

import http.client
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

import psutil
import pytest

from deploy.local.clickhouse.process import ClickHouseProcess
from tests.integration.clickhouse_http.http_client import Http
from tests.integration.engine_fixtures import basic_auth, process_in, started, stopped

RESIDENT_BYTES_MAX: Final = 500_000_000
CONDITION_S_MAX: Final = 20.0
POLL_S: Final = 0.02
BLOCK: Final = "".join(f"{n}\n" for n in range(10_000))
NUMBERS: Final = "CREATE TABLE default.numbers (n UInt64) ENGINE = MergeTree ORDER BY n"


@pytest.fixture
def server(tmp_path: Path) -> Iterator[ClickHouseProcess]:
    """A server of this test's own; the test may kill it."""
    process = process_in(tmp_path)
    running = started(process)
    try:
        yield process
    finally:
        if running.poll() is None and process.answers():
            stopped(running)


def eventually(condition: Callable[[], bool]) -> None:
    """Return once ``condition`` holds; fail after ``CONDITION_S_MAX``."""
    until = time.monotonic() + CONDITION_S_MAX
    while not condition():
        assert time.monotonic() < until, "the condition did not come true in time"
        time.sleep(POLL_S)


def running_queries(http_client: Http) -> list[str]:
    reply = http_client.post(
        "SELECT query FROM system.processes WHERE query NOT LIKE '%processes%'"
    )
    return reply.text.splitlines()


def refused_start(*arguments: str) -> str:
    """Run the server with ``arguments``, which it must refuse, and return what it says."""
    ended = subprocess.run(
        [sys.executable, "-m", "deploy.local.clickhouse", *arguments],
        capture_output=True,
        text=True,
        timeout=CONDITION_S_MAX,
        check=False,
    )
    assert ended.returncode == 1
    return ended.stderr


def test_a_second_server_on_the_same_data_is_refused(server: ClickHouseProcess) -> None:
    said = refused_start("--data-dir", str(server.data_dir), "--port", "0")

    assert "in use by process" in said
    assert "--data-dir" in said


def test_a_taken_port_is_named(server: ClickHouseProcess, tmp_path: Path) -> None:
    said = refused_start("--data-dir", str(tmp_path / "other"), "--port", str(server.port))

    assert f"port {server.port}" in said
    assert "--port" in said


def test_an_open_server_without_a_password_is_refused(tmp_path: Path) -> None:
    said = refused_start("--data-dir", str(tmp_path / "data"), "--host", "0.0.0.0")

    assert "--password-env" in said


def test_an_idle_server_is_small(server: ClickHouseProcess) -> None:
    Http(server.dsn()).post("SELECT 1")
    holder = psutil.Process(int((server.data_dir / "lock").read_text()))

    assert holder.memory_info().rss < RESIDENT_BYTES_MAX


@pytest.mark.parametrize(
    "statement",
    [
        "SELECT * FROM file('/etc/passwd', 'LineAsString')",
        "SELECT * FROM `/etc/passwd`",
        "SELECT * FROM url('http://127.0.0.1:1/', 'LineAsString')",
        "INSERT INTO FUNCTION file('/tmp/x.csv') SELECT 1",
        "CREATE TABLE default.f (a String) ENGINE = File(CSV, '/etc/passwd')",
        "CREATE DICTIONARY default.d (a UInt64) PRIMARY KEY a "
        "SOURCE(FILE(path '/etc/passwd' format 'CSV')) LAYOUT(FLAT()) LIFETIME(0)",
        "BACKUP DATABASE default TO File('/tmp/backup')",
        "SELECT 1 INTO OUTFILE '/tmp/x.csv'",
        "INSERT INTO numbers FROM INFILE '/etc/passwd' FORMAT CSV",
    ],
)
def test_files_and_other_hosts_are_out_of_reach(local_clickhouse_dsn: str, statement: str) -> None:
    reply = Http(local_clickhouse_dsn).post(statement)

    assert reply.status >= 400, reply.text
    assert "root:" not in reply.text


def test_the_servers_zone_is_utc_wherever_it_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TZ", "America/New_York")
    process = process_in(tmp_path)
    running = started(process)
    said = Http(process.dsn()).post("SELECT timezone(), toDateTime(0)").text
    stopped(running)

    assert said == "UTC\t1970-01-01 00:00:00\n"


@pytest.mark.parametrize("end", ["terminate", "kill"])
def test_data_of_another_database_outlives_a_stop_while_default_is_empty(
    tmp_path: Path, end: str
) -> None:
    """Every process of ours uses a database of its own, so ``default`` never gets a table."""
    process = process_in(tmp_path)
    running = started(process)
    try:
        http_client = Http(process.dsn())
        http_client.post("CREATE DATABASE other")
        http_client.post("CREATE TABLE other.n (n UInt64) ENGINE = MergeTree ORDER BY n")
        http_client.post("INSERT INTO other.n VALUES (1)")
        getattr(running, end)()
        running.wait()
        running = started(process)

        count = http_client.post("SELECT count() FROM other.n").text
    finally:
        stopped(running)

    assert count == "1\n"


def test_data_outlives_an_orderly_stop(tmp_path: Path) -> None:
    process = process_in(tmp_path)
    for attempt in range(2):
        running = started(process)
        client = Http(process.dsn())
        if attempt == 0:
            client.post(NUMBERS)
            client.post(f"INSERT INTO numbers FORMAT TSV\n{BLOCK}")
        counted = client.post("SELECT count() FROM numbers").text

        assert counted == "10000\n"
        assert stopped(running) == 0


def test_a_running_query_is_finished_before_the_server_stops(tmp_path: Path) -> None:
    process = process_in(tmp_path)
    running = started(process)
    client = Http(process.dsn())
    answers: list[str] = []
    asking = threading.Thread(target=lambda: answers.append(client.post("SELECT sleep(2)").text))
    asking.start()
    eventually(lambda: len(running_queries(client)) == 1)

    status = stopped(running)
    asking.join()

    assert (status, answers) == (0, ["0\n"])


@pytest.mark.slow
def test_acknowledged_rows_outlive_kill_9_in_mid_insert(tmp_path: Path) -> None:
    process = process_in(tmp_path)
    running = started(process)
    client = Http(process.dsn())
    client.post(NUMBERS)
    acknowledged = 0
    inserted = threading.Event()

    def insert() -> None:
        nonlocal acknowledged
        while True:
            try:
                reply = client.post(f"INSERT INTO numbers FORMAT TSV\n{BLOCK}")
            except (OSError, http.client.HTTPException):
                return
            assert reply.status == 200, reply.text
            acknowledged += 10_000
            if acknowledged >= 200_000:
                inserted.set()

    inserting = threading.Thread(target=insert)
    inserting.start()
    assert inserted.wait(CONDITION_S_MAX)
    running.kill()
    running.wait()
    inserting.join()
    begun = time.monotonic()
    running = started(process)
    took_s = time.monotonic() - begun
    stored = int(client.post("SELECT count() FROM numbers").text)
    stopped(running)

    assert acknowledged <= stored <= acknowledged + 10_000
    assert took_s < 10


@pytest.mark.parametrize("selected", ["count()", "number"])
def test_a_client_that_leaves_ends_its_query(local_clickhouse_dsn: str, selected: str) -> None:
    client = Http(local_clickhouse_dsn)
    parts = urlsplit(local_clickhouse_dsn)
    query = f"SELECT {selected} FROM numbers(1000000000000)"

    def runs() -> bool:
        return any(query in each for each in running_queries(client))

    leaving = http.client.HTTPConnection(parts.hostname or "", parts.port or 0)
    leaving.request("POST", "/", f"{query} FORMAT JSON", {"Authorization": basic_auth(parts)})
    eventually(runs)
    leaving.close()

    eventually(lambda: not runs())


def test_a_client_that_leaves_in_mid_insert_stores_nothing(server: ClickHouseProcess) -> None:
    client = Http(server.dsn())
    client.post(NUMBERS)
    parts = urlsplit(server.dsn())
    leaving = http.client.HTTPConnection(parts.hostname or "", parts.port or 0)
    leaving.putrequest("POST", "/?query=INSERT+INTO+numbers+FORMAT+TSV")
    leaving.putheader("Authorization", basic_auth(parts))
    leaving.putheader("Content-Length", str(100 * len(BLOCK)))
    leaving.endheaders()
    for _ in range(10):
        leaving.send(BLOCK.encode())
    eventually(lambda: len(running_queries(client)) == 1)
    leaving.close()

    eventually(lambda: running_queries(client) == [])
    assert client.post("SELECT count() FROM numbers").text == "0\n"


@pytest.mark.slow
def test_an_answer_is_streamed_in_bounded_memory(server: ClickHouseProcess) -> None:
    holder = psutil.Process(int((server.data_dir / "lock").read_text()))
    parts = urlsplit(server.dsn())
    reading = http.client.HTTPConnection(parts.hostname or "", parts.port or 0)
    query = "SELECT number, hex(number) FROM numbers(12000000) FORMAT JSONEachRow"
    reading.request("POST", "/", query, {"Authorization": basic_auth(parts)})
    response = reading.getresponse()
    before = holder.memory_info().rss
    size, peak = 0, before
    while piece := response.read(4_194_304):
        size += len(piece)
        peak = max(peak, holder.memory_info().rss)
    reading.close()

    assert size > 450_000_000
    assert peak - before < 200_000_000


def test_descriptors_are_given_back(server: ClickHouseProcess) -> None:
    client = Http(server.dsn())
    holder = psutil.Process(int((server.data_dir / "lock").read_text()))
    for _ in range(5):
        client.post("SELECT 1")
        client.post("SELECT nothing")  # the first error opens the binaries, to name their frames
    before = holder.num_fds()
    for _ in range(200):
        client.post("SELECT 1")
        client.post("SELECT nothing")

    # A leak of one per request would be 400; threads of the pool may open a few of their own.
    assert holder.num_fds() <= before + 20


def test_more_statements_than_may_wait_are_told_to_come_again(server: ClickHouseProcess) -> None:
    client = Http(server.dsn())
    with ThreadPoolExecutor(100) as pool:
        replies = list(pool.map(lambda _: client.post("SELECT sleep(0.5)"), range(100)))
    refused = [reply for reply in replies if reply.status != 200]

    assert {(reply.status, reply.headers["x-clickhouse-exception-code"]) for reply in refused} == {
        (503, "202")
    }
    assert len(refused) < 40
