"""How does the whole loop run on one machine?  Two servers, then our own processes, supervised.

Order: Kafka and ClickHouse (unless the team has its own), then ``prepare`` (topics, tables, specs),
then streams, history, autoscaler and admitters.  Every child is configured through its environment
alone, so no secret and no address shows in a process list.
"""

from __future__ import annotations

import asyncio
import os
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from deploy.local.broker import Broker
from deploy.local.broker_settings import BrokerConfig
from deploy.local.clickhouse.process import ClickHouseProcess, kept_password
from deploy.local.jars import default_cache_dir, ensure_jars
from deploy.local.ports import free_ports, require_free
from deploy.local.state_dir import remember, reservation_key_file
from deploy.local.supervisor import ProcessEvent, ProcessSpec, Supervisor
from schemas.errors import TokenpoolsError

SERVER_READY_S_MAX: Final = 90.0
ADMITTER_READY_S_MAX: Final = 60.0
READY_POLL_S: Final = 0.1
LOOPBACK: Final = "127.0.0.1"
DATABASE: Final = "tokenpools"

STREAMS_SETTINGS: Final = {"TOKENPOOLS_SESSION_TIMEOUT_MS": "6000"}
"""On one machine no network delays a heartbeat: a killed worker's pools tick again sooner."""

WORKERS_STAGE: Final = 1
ADMISSION_STAGE: Final = 2
"""Stopped first, so that streams hears the admitters leave; the servers (0) are stopped last."""
ADMITTERS_MAX: Final = 64
WORKERS_MAX: Final = 64


@dataclass(frozen=True, kw_only=True)
class Ports:
    """TCP ports on loopback; 0: a free one."""

    kafka: int = 0
    kafka_controller: int = 0
    clickhouse: int = 0
    admission: int = 0
    """The first admitter's; the others follow."""


@dataclass(frozen=True, kw_only=True)
class LoopPlan:
    """What to run.  ``kafka`` and ``clickhouse`` name servers that the team already has."""

    state_dir: Path
    admitters: int = 2
    workers: int = 1
    kafka: str | None = None
    clickhouse: str | None = None
    ports: Ports = Ports()
    environment: Mapping[str, str] = field(default_factory=dict)
    """Given to every child on top of ours."""


@dataclass(frozen=True, kw_only=True)
class Addresses:
    """Where the running loop is reached."""

    kafka: str
    clickhouse: str
    admitters: tuple[str, ...]

    def environment(self) -> dict[str, str]:
        """The two variables by which every process finds the servers."""
        return {"KAFKA_BOOTSTRAP_SERVERS": self.kafka, "CLICKHOUSE_DSN": self.clickhouse}


class LoopFailedError(TokenpoolsError):
    """The loop did not come up; the text names the process and its log."""


Prepare = Callable[[Addresses], Awaitable[None]]
"""Called when both servers answer and before any process of ours starts."""

Say = Callable[[str], None]


class Loop:
    """The running loop: start it, ask where it is, stop it."""

    def __init__(self, plan: LoopPlan, *, say: Say) -> None:
        self._plan = plan
        self._say = say
        self._supervisor = Supervisor(notice=self._notice)
        self._addresses: Addresses | None = None

    @property
    def supervisor(self) -> Supervisor:
        """The supervisor, for views that show process ids and restarts."""
        return self._supervisor

    @property
    def addresses(self) -> Addresses:
        """Where the loop is reached, once it was started."""
        assert self._addresses is not None
        return self._addresses

    async def start(self, prepare: Prepare) -> Addresses:
        """Start everything in order; return when every admitter is ready."""
        self._plan.state_dir.mkdir(parents=True, exist_ok=True)
        kafka, clickhouse = await asyncio.gather(self._kafka(), self._clickhouse())
        urls = self._admitter_urls()
        self._addresses = Addresses(kafka=kafka, clickhouse=clickhouse, admitters=urls)
        await prepare(self._addresses)
        await self._processes(urls)
        await asyncio.gather(*(self._admitter_ready(url) for url in urls))
        return self._addresses

    async def stop(self) -> None:
        """Stop everything, gateways' side first, servers last."""
        await self._supervisor.stop()
        remember(self._plan.state_dir, {})

    async def _kafka(self) -> str:
        if self._plan.kafka is not None:
            return self._plan.kafka
        ports = self._plan.ports
        free = free_ports(2)
        config = BrokerConfig(
            state_dir=self._plan.state_dir / "kafka",
            port=ports.kafka or free[0],
            controller_port=ports.kafka_controller or free[1],
        )
        cache = default_cache_dir({**os.environ, **self._plan.environment})
        jars = await asyncio.to_thread(ensure_jars, cache, self._say)
        broker = Broker(config, jars=jars, progress=self._say)
        await asyncio.to_thread(broker.prepare)
        spec = ProcessSpec(
            name="kafka",
            command=broker.command(),
            environment=broker.environment(),
            log_path=self._log("kafka"),
            stop_s_max=30.0,
        )
        await self._supervisor.start(spec)
        await self._ready(broker.wait_ready, "kafka")
        self._say(f"Kafka is ready at {config.bootstrap_servers}")
        return config.bootstrap_servers

    async def _clickhouse(self) -> str:
        if self._plan.clickhouse is not None:
            return self._plan.clickhouse
        port = self._plan.ports.clickhouse or free_ports(1)[0]
        require_free(port, option="--clickhouse-port")
        server = ClickHouseProcess(
            data_dir=self._plan.state_dir / "clickhouse",
            port=port,
            log_path=self._log("clickhouse"),
            password=kept_password(self._plan.state_dir / "secrets" / "clickhouse.password"),
        )
        spec = ProcessSpec(
            name="clickhouse",
            command=server.command(),
            environment=server.environment(),
            log_path=self._log("clickhouse"),
            stop_s_max=30.0,
        )
        await self._supervisor.start(spec)
        await self._ready(server.wait_ready, "clickhouse")
        self._say(f"ClickHouse is ready at {LOOPBACK}:{port}")
        return server.dsn(DATABASE)

    async def _ready(self, wait: Callable[..., None], name: str) -> None:
        """Wait for a server; one that ends at its start is not waited for."""
        child = self._supervisor.children[name]

        def has_ended() -> bool:
            return child.restarts > 0

        await asyncio.to_thread(wait, SERVER_READY_S_MAX, has_ended=has_ended)

    def _admitter_urls(self) -> tuple[str, ...]:
        first = self._plan.ports.admission
        count = self._plan.admitters
        ports = [first + index for index in range(count)] if first else free_ports(count)
        for port in ports:
            require_free(port, option="--admission-port")
        return tuple(f"http://{LOOPBACK}:{port}" for port in ports)

    async def _processes(self, urls: tuple[str, ...]) -> None:
        for index in range(self._plan.workers):
            await self._supervisor.start(self._ours("streams", index, STREAMS_SETTINGS))
        await self._supervisor.start(self._ours("history", None, {}))
        await self._supervisor.start(self._ours("autoscaler", None, {}))
        for index, url in enumerate(urls):
            settings = {
                "TOKENPOOLS_ADMISSION_HOST": LOOPBACK,
                "TOKENPOOLS_ADMISSION_PORT": url.rpartition(":")[2],
                "TOKENPOOLS_ADMISSION_URL": url,
                "TOKENPOOLS_ADMISSION_NAME": f"admitter-{index + 1}",
                "TOKENPOOLS_RESERVATION_KEY_FILE": str(reservation_key_file(self._plan.state_dir)),
            }
            await self._supervisor.start(self._ours("admission", index, settings))

    def _ours(self, command: str, index: int | None, settings: Mapping[str, str]) -> ProcessSpec:
        name = command if index is None else f"{command}-{index + 1}"
        return ProcessSpec(
            name=name,
            # -P: our packages have plain names, and the folder that a user stands in may too.
            command=[sys.executable, "-P", "-m", "console", command],
            environment={
                **self.addresses.environment(),
                **self._plan.environment,
                **settings,
                "PYTHONUNBUFFERED": "1",
            },
            log_path=self._log(name),
            stage=ADMISSION_STAGE if command == "admission" else WORKERS_STAGE,
        )

    def _remember(self) -> None:
        children = self._supervisor.children
        remember(self._plan.state_dir, {name: child.pid for name, child in children.items()})

    async def _admitter_ready(self, url: str) -> None:
        deadline_s = time.monotonic() + ADMITTER_READY_S_MAX
        while not await asyncio.to_thread(_answers, f"{url}/readyz"):
            if time.monotonic() > deadline_s:
                raise LoopFailedError(
                    f"the admitter at {url} was not ready within {ADMITTER_READY_S_MAX:g} s; "
                    f"see {self._plan.state_dir / 'logs'}"
                )
            await asyncio.sleep(READY_POLL_S)

    def _log(self, name: str) -> Path:
        return self._plan.state_dir / "logs" / f"{name}.log"

    def _notice(self, name: str, event: ProcessEvent, details: str) -> None:
        if event is ProcessEvent.STARTED:
            self._remember()
        if event in (ProcessEvent.DIED, ProcessEvent.RESTARTING, ProcessEvent.KILLED):
            self._say(f"{name} {event} ({details})")


def _answers(url: str) -> bool:
    """Whether a GET is answered with 200."""
    try:
        with urllib.request.urlopen(url, timeout=2.0) as answer:
            return bool(answer.status == 200)
    except (urllib.error.URLError, OSError):
        return False
