"""The Faust application: two tables, two agents, and our driver under them.

Faust keeps group membership, the co-partitioned assignment, the tables and their recovery, the
commit loop and rebalancing.  What is written to Kafka is written by ``streams.meter`` and
``streams.agents.tick``; the tables mirror what was acknowledged.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import faust
from faust.auth import SASLCredentials, SSLCredentials
from faust.stores.memory import Store
from faust.types import TP
from faust.types.auth import CredentialsT

from schemas.connections import KafkaOptions
from schemas.topics import (
    ADMITTER_REPORTS,
    CONSUMPTION_TABLE,
    DEBT_TABLE,
    STREAMS_APP,
    USAGE,
    changelog_topic,
)
from streams.agents import reports, usage
from streams.agents.guard import Guard
from streams.agents.reports import Admitters
from streams.agents.tick import Ticker
from streams.core.restore import latest_ticks
from streams.driver import Delivery, Transport
from streams.fetching import can_take_whole_batches
from streams.kafka import ssl_context
from streams.meter import Meter
from streams.mirror import Changes, Mirror
from streams.settings import Settings

RECOVERY_BUFFER_MESSAGES: Final = 16
"""Each stands for what one poll brought; one alone would let Faust read on after recovery."""
REBALANCE_TIMEOUT_S: Final = 60.0
RELEASE_S_MAX: Final = 5.0
"""How long partitions are held back for what is under way: their next owner folds less again."""


class RawSchema(faust.Schema[Any, Any]):
    """Hands over keys and values as they are: bytes, or a whole batch."""

    def loads_key(self, app: Any, message: Any, **options: Any) -> Any:
        """Return the key as it is."""
        return message.key

    def loads_value(self, app: Any, message: Any, **options: Any) -> Any:
        """Return the value as it is."""
        return message.value


class StreamsApp(faust.App):
    """A Faust application whose transport delivers batches."""

    delivery: Delivery
    mirrors: Mapping[str, Mirror]
    """By changelog topic."""

    def _new_transport(self) -> Any:
        return Transport(self.conf.broker_consumer, self, delivery=self.delivery)


def build(settings: Settings, *, meter: Meter) -> StreamsApp:
    """Return the application; ``tables`` and ``connect`` complete it."""
    options = settings.kafka
    app = StreamsApp(
        options.group(STREAMS_APP),
        broker=[f"kafka://{server.strip()}" for server in options.bootstrap.split(",")],
        broker_credentials=_credentials(options),
        broker_client_id="tokenpools-streams",
        broker_max_poll_records=None,
        broker_commit_interval=settings.commit_interval_ms / 1_000,
        broker_session_timeout=settings.session_timeout_ms / 1_000,
        broker_heartbeat_interval=settings.heartbeat_ms / 1_000,
        broker_rebalance_timeout=REBALANCE_TIMEOUT_S,
        consumer_auto_offset_reset="earliest",
        store="memory://",
        datadir=Path(tempfile.gettempdir()) / "tokenpools-faust",
        key_serializer="raw",
        value_serializer="raw",
        topic_partitions=options.partitions,
        topic_replication_factor=options.replication_factor,
        topic_allow_declare=False,
        topic_disable_leader=True,
        table_standby_replicas=settings.standby_replicas,
        stream_buffer_maxsize=settings.queued_batches_max,
        stream_wait_empty=False,
        web_enabled=False,
        autodiscover=False,
    )
    app.mirrors = {
        options.topic(changelog_topic(table)): Mirror(table)
        for table in (CONSUMPTION_TABLE, DEBT_TABLE)
    }
    app.delivery = _delivery(settings, meter=meter, mirrors=app.mirrors)
    return app


def _delivery(settings: Settings, *, meter: Meter, mirrors: Mapping[str, Mirror]) -> Delivery:
    options = settings.kafka

    def changelog(topic: str, partition: int, records: Sequence[Any], before: int) -> None:
        mirrors[topic].read(partition, records, before=before)

    return Delivery(
        batched=frozenset((options.topic(USAGE), options.topic(ADMITTER_REPORTS))),
        from_latest=frozenset((options.topic(ADMITTER_REPORTS),)),
        changelog=changelog,
        resume_at=meter.resume_at,
        pace_s=settings.poll_pace_ms / 1_000,
        poll_wait_ms=settings.poll_wait_ms,
        poll_bytes_min=settings.poll_bytes_min,
        poll_bytes_max=settings.poll_bytes_max,
        partition_bytes_max=settings.partition_bytes_max,
        queued_bytes_max=settings.queued_bytes_max,
        whole_batches=settings.whole_batches and can_take_whole_batches(),
    )


def _credentials(options: KafkaOptions) -> CredentialsT | None:
    context = ssl_context(options) if options.uses_tls else None
    if options.uses_sasl:
        return SASLCredentials(
            username=options.sasl_username,
            password=options.sasl_password,
            ssl_context=context,
            mechanism=options.sasl_mechanism,
        )
    return None if context is None else SSLCredentials(context)


class MirrorStore(Store[Any, Any]):
    """Faust's view of a mirror: where recovery begins, and when it has ended.

    The records do not come through Faust; the driver gives them to the mirror.
    """

    mirror: Mirror

    def persisted_offset(self, tp: TP) -> int | None:
        """Return the offset through which the mirror has the partition; asked when assigned."""
        return self.mirror.assign(tp.partition)

    def apply_changelog_batch(self, batch: Any, to_key: Any, to_value: Any) -> None:
        """Do nothing: what these messages stand for is in the mirror."""

    async def on_recovery_completed(self, active_tps: set[TP], standby_tps: set[TP]) -> None:
        """Give back what is neither owned nor stood by for."""
        self.mirror.keep({tp.partition for tp in active_tps}, {tp.partition for tp in standby_tps})


class MirrorTable(faust.Table[Any, Any]):
    """A table whose store is a mirror."""

    mirror: Mirror

    def _new_store(self) -> Any:
        store = MirrorStore("memory://", self.app, self, table_name=self.name)
        store.mirror = self.mirror
        return store


class Tables:
    """The two tables, as mirrors of what their changelogs hold."""

    def __init__(self, app: StreamsApp, options: KafkaOptions) -> None:
        self._app = app
        self._options = options
        self.consumption = self._table(CONSUMPTION_TABLE)
        self.debt = self._table(DEBT_TABLE)

    def _table(self, name: str) -> MirrorTable:
        changelog = self._options.topic(changelog_topic(name))
        topic = self._app.topic(
            changelog,
            schema=RawSchema(key_type=bytes, value_type=bytes, allow_empty=True),
            partitions=self._options.partitions,
            compacting=True,
            acks=False,
            internal=True,
            allow_empty=True,
        )
        table = MirrorTable(
            self._app,
            name=name,
            key_type=bytes,
            value_type=bytes,
            partitions=self._options.partitions,
            changelog_topic=topic,
            recovery_buffer_size=RECOVERY_BUFFER_MESSAGES,
            beacon=self._app.tables.beacon,
        )
        table.mirror = self._app.mirrors[changelog]
        self._app.tables.add(table)
        return table

    def store_consumption(self, partition: int, changes: Changes, first_offset: int) -> None:
        """Mirror a record batch that the changelog of ``consumption`` acknowledged."""
        self.consumption.mirror.write(partition, changes, first_offset)

    def store_debt(self, partition: int, changes: Changes, first_offset: int) -> None:
        """Mirror a record batch that the changelog of ``debt`` acknowledged."""
        self.debt.mirror.write(partition, changes, first_offset)

    def active_partitions(self) -> set[int]:
        """Return the partitions of ``consumption`` that this worker owns; no standby is one."""
        name = self._options.topic(changelog_topic(CONSUMPTION_TABLE))
        return {tp.partition for tp in self._app.assignor.assigned_actives() if tp.topic == name}

    def consumption_by_partition(self) -> dict[int, Mapping[bytes, bytes]]:
        """Return what is known of the owned partitions' ledger."""
        mirror = self.consumption.mirror
        return {partition: mirror.contents(partition) for partition in self.active_partitions()}

    def debt_records(self) -> dict[bytes, bytes]:
        """Return what is known of the owned partitions' ticks."""
        mirror = self.debt.mirror
        known: dict[bytes, bytes] = {}
        for partition in self.active_partitions():
            known.update(mirror.contents(partition))
        return known


def connect(
    app: StreamsApp,
    options: KafkaOptions,
    *,
    tables: Tables,
    meter: Meter,
    ticker: Ticker,
    admitters: Admitters,
    guard: Guard,
) -> None:
    """Define the agents, and take the partitions over whenever recovery is complete."""
    schema = RawSchema(key_type=bytes, value_type=bytes, allow_empty=True)
    usage_topic = app.topic(options.topic(USAGE), schema=schema, acks=False)
    reports_topic = app.topic(options.topic(ADMITTER_REPORTS), schema=schema, acks=False)
    usage.register(app, usage_topic, meter=meter, guard=guard)
    reports.register(app, reports_topic, admitters=admitters, guard=guard)

    async def revoked(*_arguments: Any, **_options: Any) -> None:
        meter.release()
        with guard:
            await meter.written(within_s=RELEASE_S_MAX)

    async def recovered() -> None:
        with guard:
            await take_over(app, tables=tables, meter=meter, ticker=ticker)

    app.on_partitions_revoked.connect(revoked)
    tables.consumption.on_recover(recovered)


async def take_over(app: StreamsApp, *, tables: Tables, meter: Meter, ticker: Ticker) -> None:
    """Begin with what the changelogs hold; nothing when the group has moved on meanwhile."""
    generation = app.consumer_generation_id
    meter.release()
    ticks = latest_ticks(tables.debt_records())
    owned = await meter.adopt(tables.consumption_by_partition(), generation=generation)
    if app.consumer_generation_id != generation:
        return
    ticker.adopt(ticks)
    meter.own(owned)


def may_tick(app: StreamsApp) -> Callable[[], bool]:
    """Return what says whether the assignment is settled."""
    return lambda: app.started and not app.rebalancing and not app.in_recovery
