"""Helpers: a provisioned set of topics, a gateway that emits usage, worker processes to kill."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import Final

from aiohttp import ClientConnectorError, ClientSession
from aiokafka import AIOKafkaProducer

from deploy.local.ports import free_ports
from deploy.local.provision import provision
from schemas.connections import KafkaOptions
from schemas.partitioning import partition_of
from schemas.specs import (
    Amounts,
    EntitlementSpec,
    PoolRecord,
    PoolRef,
    PoolSpec,
    Qos,
    Replicas,
    ServiceClass,
)
from schemas.topics import CONSUMPTION_TABLE, POOLS, USAGE, changelog_topic
from schemas.units import US_PER_MS, US_PER_S
from schemas.usage import UsageData, UsageEvent, encode_structured
from schemas.verdicts import VerdictCounts
from schemas.wire import encode
from streams.changelog import read_progress, read_totals
from streams.kafka import client_kwargs
from streams.topic_logs import Record, log_bounds, read_whole

ROOT: Final = Path(__file__).parents[3]
POOL_NAMES: Final = ("alpha", "beta", "gamma", "delta")
ENTITLEMENTS: Final = 3
POLL_S: Final = 0.1
SCRIPT: Final = """
import os, sys
from streams.settings import from_env
from streams.worker import run
sys.exit(run(from_env(os.environ, read_text=lambda path: open(path).read())))
"""


async def until(condition: Callable[[], Awaitable[bool]], *, what: str, deadline_s: float) -> None:
    """Return once the condition holds; fail naming ``what`` when the deadline has passed."""
    ends_s = time.monotonic() + deadline_s
    while not await condition():
        assert time.monotonic() < ends_s, f"{what}: not within {deadline_s} s"
        await asyncio.sleep(POLL_S)


def pool_record(name: str) -> PoolRecord:
    """Return a pool with three entitlements."""
    return PoolRecord(
        pool=PoolSpec(
            name=name,
            model="model",
            replicas=Replicas(min=1, max=2),
            per_replica=Amounts(
                tokens_per_second=Decimal(1_000), kv_cache_gib=Decimal(8), concurrency=16
            ),
            kv_bytes_per_token=1_000,
        ),
        entitlements=tuple(
            EntitlementSpec(
                uid=f"e{number}",
                tenant_id=f"tenant-{number}",
                pool_ref=PoolRef(name=name),
                qos=Qos(service_class=ServiceClass.SPOT),
            )
            for number in range(ENTITLEMENTS)
        ),
    )


@dataclass
class Gateway:
    """Emits usage and knows what the ledger must hold in the end."""

    options: KafkaOptions
    producer: AIOKafkaProducer
    expected: dict[tuple[str, str], int] = field(default_factory=dict)
    sent: int = 0
    began_us: int = field(default_factory=lambda: time.time_ns() // 1_000)
    """Events are a millisecond apart, so that one that is repeated is the same to the byte."""

    async def emit(self, events: int, *, copies: int = 1, misplaced: bool = False) -> None:
        """Send numbered events over all pools, each ``copies`` times, and wait for the acks."""
        pending = []
        for number in range(self.sent, self.sent + events):
            event = self._event(number)
            key = (event.data.pool, event.data.entitlement)
            self.expected[key] = self.expected.get(key, 0) + event.data.counts.total
            home = partition_of(event.data.pool, self.options.partitions)
            partition = (home + misplaced) % self.options.partitions
            for _ in range(copies):
                pending.append(await self._send(event, partition))
        self.sent += events
        await asyncio.gather(*pending)

    async def repeat(self, events: int) -> None:
        """Send the first events again, which must change nothing."""
        pending = []
        for number in range(events):
            event = self._event(number)
            home = partition_of(event.data.pool, self.options.partitions)
            pending.append(await self._send(event, home))
        await asyncio.gather(*pending)

    async def send_raw(self, value: bytes | None) -> None:
        """Send something that is no usage event."""
        await self.producer.send_and_wait(self.options.topic(USAGE), value, key=b"raw", partition=0)

    async def _send(self, event: UsageEvent, partition: int) -> asyncio.Future[object]:
        value, headers = encode_structured(event)
        sent: asyncio.Future[object] = await self.producer.send(
            self.options.topic(USAGE),
            value,
            key=event.data.pool.encode(),
            headers=headers,
            partition=partition,
        )
        return sent

    def _event(self, number: int) -> UsageEvent:
        end_us = self.began_us + number * US_PER_MS
        return UsageEvent(
            source="test",
            id=str(number),
            sequence=number // len(POOL_NAMES),
            data=UsageData(
                pool=POOL_NAMES[number % len(POOL_NAMES)],
                entitlement=f"e{number % ENTITLEMENTS}",
                input_tokens=number % 7,
                output_tokens=number % 11,
                start_us=end_us - US_PER_S,
                end_us=end_us,
            ),
        )

    async def ledger_agrees(self, *, deadline_s: float = 60.0) -> None:
        """Wait until the changelog's totals are exactly what was sent."""

        async def agrees() -> bool:
            found = await read_totals(self.options)
            return {key: each.tokens.total for key, each in found.items()} == self.expected

        await until(agrees, what="ledger totals equal what was emitted", deadline_s=deadline_s)

    async def counts(self) -> VerdictCounts:
        """Return the verdicts of all partitions, as the changelog has them."""
        total = VerdictCounts()
        for _, counts in (await read_progress(self.options)).values():
            total += counts
        return total


@dataclass
class Worker:
    """One streams process."""

    options: KafkaOptions
    log: Path
    process: subprocess.Popen[bytes]
    metrics_port: int

    @classmethod
    def start(cls, options: KafkaOptions, log: Path, **settings: str) -> Worker:
        """Start it; its log goes to a file, its metrics to a free port."""
        (port,) = free_ports(1)
        environ = {
            **os.environ,
            "PYTHONPATH": str(ROOT),
            **environment(options),
            "TOKENPOOLS_METRICS_PORT": str(port),
            **settings,
        }
        with log.open("ab") as output:
            process = subprocess.Popen(
                [sys.executable, "-c", SCRIPT], env=environ, stdout=output, stderr=output
            )
        return cls(options, log, process, port)

    def kill(self) -> None:
        """End it as kill -9 does."""
        self.process.kill()
        self.process.wait()

    def stop(self) -> int:
        """Ask it to end and return its exit status."""
        self.process.terminate()
        return self.process.wait(20)

    async def exit_status(self, *, deadline_s: float = 30.0) -> int:
        """Wait until it has ended by itself."""

        async def ended() -> bool:
            return self.process.poll() is not None

        await until(ended, what=f"{self.log.name} has ended", deadline_s=deadline_s)
        return self.process.wait()

    async def metric(self, name: str) -> dict[str, float]:
        """Return the values of a metric by what stands between its braces; none as it starts."""
        url = f"http://127.0.0.1:{self.metrics_port}/metrics"
        try:
            async with ClientSession() as session, session.get(url) as response:
                text = await response.text()
        except ClientConnectorError:
            return {}
        pattern = re.compile(rf"^{name}(?:{{(.*)}})? (\S+)$", re.MULTILINE)
        return {labels: float(value) for labels, value in pattern.findall(text)}

    async def partitions_held(self) -> dict[int, int]:
        """Return how many records of the ledger it holds, by partition, standbys included."""
        held: dict[int, int] = {}
        for labels, value in (await self.metric("tokenpools_table_records")).items():
            if 'table="consumption"' in labels:
                held[int(labels.split('partition="')[1].split('"')[0])] = int(value)
        return held

    def takeovers(self) -> list[dict[str, int]]:
        """Return what its log says of each partition of the ledger that it took over."""
        lines = re.findall(r"event=table_taken_over table=consumption (.*)", self.log.read_text())
        return [
            {name: int(value) for name, value in (pair.split("=") for pair in line.split())}
            for line in lines
        ]

    def pause(self) -> None:
        """Stop it in its tracks; ``resume`` wakes it."""
        self.process.send_signal(signal.SIGSTOP)

    def resume(self) -> None:
        """Wake it."""
        self.process.send_signal(signal.SIGCONT)

    async def wrote(self, text: str, *, deadline_s: float = 30.0) -> None:
        """Wait until its log has a line with ``text``."""

        async def has() -> bool:
            return text in self.log.read_text()

        await until(has, what=f"{text!r} in {self.log.name}", deadline_s=deadline_s)


def environment(options: KafkaOptions) -> dict[str, str]:
    """Return the variables from which a process reads these options."""
    return {
        "KAFKA_BOOTSTRAP_SERVERS": options.bootstrap,
        "KAFKA_SECURITY_PROTOCOL": options.security_protocol,
        "KAFKA_SASL_MECHANISM": options.sasl_mechanism,
        "KAFKA_SASL_USERNAME": options.sasl_username,
        "KAFKA_SASL_PASSWORD": options.sasl_password,
        "KAFKA_SSL_CA_FILE": options.ssl_ca_file,
        "KAFKA_SSL_CERT_FILE": options.ssl_cert_file,
        "KAFKA_SSL_KEY_FILE": options.ssl_key_file,
        "KAFKA_SSL_KEY_PASSWORD": options.ssl_key_password,
        "TOKENPOOLS_TOPIC_PREFIX": options.topic_prefix,
        "TOKENPOOLS_GROUP_PREFIX": options.group_prefix,
        "TOKENPOOLS_PARTITIONS": str(options.partitions),
        "TOKENPOOLS_SESSION_TIMEOUT_MS": "6000",
        "TOKENPOOLS_HEARTBEAT_MS": "1000",
    }


async def provisioned(options: KafkaOptions) -> None:
    """Create the topics and apply the pools."""
    await provision(options, client=client_kwargs(options))
    producer = AIOKafkaProducer(**client_kwargs(options), acks="all")
    await producer.start()
    try:
        for name in POOL_NAMES:
            await producer.send_and_wait(
                options.topic(POOLS),
                encode(pool_record(name)),
                key=name.encode(),
                partition=partition_of(name, options.partitions),
            )
    finally:
        await producer.stop()


async def messages(options: KafkaOptions, topic: str) -> list[bytes]:
    """Return the values that a topic holds now."""
    return [each.value for each in await _records(options, topic) if each.value is not None]


async def changelog_records(options: KafkaOptions) -> list[Record]:
    """Return the records that the ledger's changelog holds now."""
    return await _records(options, changelog_topic(CONSUMPTION_TABLE))


async def write_changelog(gateway: Gateway, records: Sequence[Record]) -> None:
    """Write the records to the ledger's changelog again, as a zombie would."""
    topic = gateway.options.topic(changelog_topic(CONSUMPTION_TABLE))
    for each in records:
        await gateway.producer.send_and_wait(
            topic, each.value, key=each.key, partition=each.partition
        )


async def _records(options: KafkaOptions, topic: str) -> list[Record]:
    name = options.topic(topic)
    return [each async for each in read_whole(options, name, range(options.partitions))]


async def stored_in(options: KafkaOptions, topic: str, partition: int) -> int:
    """Return the end of a partition's log."""
    bounds = await log_bounds(options, options.topic(topic), [partition])
    return bounds[partition][1]


async def end_in_markers(options: KafkaOptions, topic: str) -> None:
    """Let every partition of a topic end in a transaction marker, which is no record."""
    producer = AIOKafkaProducer(**client_kwargs(options), transactional_id=options.topic("marker"))
    await producer.start()
    try:
        async with producer.transaction():
            for partition in range(options.partitions):
                key = b"p|%d|0" % partition
                await producer.send_and_wait(
                    options.topic(topic), None, key=key, partition=partition
                )
    finally:
        await producer.stop()
