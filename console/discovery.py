"""Where is a running loop?  Its pools and its admitters, as its own topics name them."""

from __future__ import annotations

from collections.abc import Sequence

from schemas.connections import KafkaOptions
from schemas.errors import SettingsError
from schemas.pools import Pool
from schemas.state import AdmissionState
from schemas.topics import ADMISSION_STATE
from schemas.wire import decode
from streams.book import PoolBook
from streams.topic_logs import Follower, Record


async def published_pools(kafka: KafkaOptions) -> Sequence[Pool]:
    """Return the pools in force; raise ``SettingsError`` when none was published."""
    pools = await _published(kafka)
    if not pools:
        raise SettingsError(
            f"no pool is published at {kafka.bootstrap}: run `tokenpools apply pools.yaml`"
        )
    return [pools[name] for name in sorted(pools)]


async def published_names(kafka: KafkaOptions) -> Sequence[str]:
    """Return the names of the pools in force."""
    return sorted(await _published(kafka))


async def _published(kafka: KafkaOptions) -> dict[str, Pool]:
    book = PoolBook(kafka)
    await book.start()
    await book.stop()
    return book.pools


async def admitter_urls(kafka: KafkaOptions) -> Sequence[str]:
    """Return the URLs of the live admitters; raise ``SettingsError`` when there is none."""
    found: dict[str, dict[str, bool]] = {}

    def see(record: Record) -> None:
        if record.value is not None:
            state = decode(record.value, AdmissionState)
            found[state.pool] = {view.url: view.alive for view in state.admitters}

    follower = Follower(kafka, ADMISSION_STATE, handler=see)
    await follower.start()
    await follower.caught_up()
    await follower.stop()
    urls = sorted({url for views in found.values() for url, alive in views.items() if alive})
    if not urls:
        raise SettingsError(
            f"no live admitter is named at {kafka.bootstrap}: start one, or give --admitter URL"
        )
    return urls
