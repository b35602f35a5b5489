"""The admitter: the gate of this process, kept up to date with what the topics say.

The feed hands records in, the routes ask, the reports go out; all on one event loop, so no lock is
needed.  Records may come in any order of topics: a state that is here before its pool's spec
waits for it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from admission.auth import Keyring, keyring_of
from admission.core.gate import Gate
from admission.core.moment import Moment
from admission.core.parts import Parts
from admission.core.staleness import Freshness
from admission.log import Log
from schemas.errors import MalformedEventError, SpecError
from schemas.pools import compile_pool
from schemas.specs import PoolRecord, decode_pools
from schemas.state import AdmissionState
from schemas.wire import decode


@dataclass(slots=True)
class Admitter:
    """One process."""

    gate: Gate
    clock: Callable[[], Moment]
    new_incarnation: Callable[[], str]
    log: Log
    keys_required: bool = False
    keyring: Keyring = field(default_factory=Keyring)
    parts: Parts = field(default_factory=Parts)
    pools_read: bool = False
    """Whether ``pools`` was read to its end."""
    rejected: int = 0
    """Records that could not be used."""

    def __post_init__(self) -> None:
        self.keyring = Keyring(required=self.keys_required)

    def apply_pools(self, key: bytes | None, value: bytes | None, *, offset: int) -> None:
        """Follow one record of ``pools``; a tombstone removes its pool."""
        name = (key or b"").decode(errors="replace")
        now = self.clock()
        if value is None:
            self.gate.forget_pool(name, now=now)
            self.parts.forget(name)
        else:
            self._apply_spec(name, value, offset=offset, now=now)
        pools = [desk.spec for desk in self.gate.desks.values()]
        self.keyring = keyring_of(pools, required=self.keys_required)

    def apply_state(self, value: bytes | None) -> None:
        """Follow one record of ``admission-state``; the state is applied when it is complete."""
        if value is None:
            return
        try:
            state = self.parts.put(decode(value, AdmissionState))
        except MalformedEventError as error:
            self._reject("admission-state", error)
            return
        if state is None or not self.gate.follow_state(state, now=self.clock()):
            return
        if self.gate.declared_dead and not self.gate.leaving:
            self._begin_again(state.pool)

    def unready(self) -> list[str]:
        """Return what is still missing before requests can be served; empty: ready."""
        if not self.pools_read:
            return ["the topic pools has not been read to its end"]
        missing = [
            f"no usable state of pool {name}"
            for name, desk in self.gate.desks.items()
            if desk.freshness is Freshness.NONE
        ]
        return [*missing, "this admitter is leaving"] if self.gate.leaving else missing

    def _apply_spec(self, name: str, value: bytes, *, offset: int, now: Moment) -> None:
        try:
            message = decode_pools(value)
            if not isinstance(message, PoolRecord):
                return
            pool = compile_pool(message, version=offset)
        except (MalformedEventError, SpecError) as error:
            self._reject("pools", error, pool=name)
            return
        is_new = pool.name not in self.gate.desks
        self.gate.follow_pool(pool, now=now)
        state = self.parts.whole(pool.name) if is_new else None
        if state is not None:
            self.gate.follow_state(state, now=now)

    def _begin_again(self, pool: str) -> None:
        """Declared dead while it lived: go on as a new, empty incarnation, ending nothing."""
        old = self.gate
        self.gate = old.reborn(self.new_incarnation(), now=self.clock())
        self.log(
            "declared_dead",
            pool=pool,
            incarnation=old.incarnation,
            begins_as=self.gate.incarnation,
            open_reservations=len(old.reservations),
        )

    def _reject(self, topic: str, error: Exception, **fields: object) -> None:
        self.rejected += 1
        self.log("record_rejected", topic=topic, error=str(error), **fields)
