"""Law 6 on grants: after 2 ticks of steady demand, unmet demand meets a scarce dimension.

Scarce: what is free and lendable in it is less than the headroom plus the next request.  The next
request is taken from what the tick knows: the mean of what is pending, else of what is held.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from schemas.pools import Pool
from schemas.ticks import EntitlementInput, Tick
from schemas.units import Resources
from simulation.laws.broken import Broken
from simulation.laws.lines import SLOTS, TRIPLE_NAMES, Line, Triple, less, most, total, triple

TICKS_MAX: Final = 2


@dataclass(slots=True)
class Conserving:
    """For how many ticks each entitlement's demand was unmet without a reason, and steady."""

    epoch: int = 0
    capacity: Resources = field(default_factory=Resources)
    unmet: dict[str, int] = field(default_factory=dict)
    wants: dict[str, Triple] = field(default_factory=dict)

    def check(self, pool: Pool, tick: Tick, lines: Sequence[Line]) -> Iterator[Broken]:
        """Yield demand that stays unmet although every dimension has room for it."""
        if (tick.version.epoch, tick.capacity) != (self.epoch, self.capacity):
            self.epoch, self.capacity = tick.version.epoch, tick.capacity
            self.unmet, self.wants = {}, {}
        kept = total([most(line.grant, line.kept) for line in lines])
        free = less(triple(tick.capacity), kept)
        inputs = {item.entitlement: item for item in tick.inputs.entitlements}
        for line in lines:
            yield from self._judge(pool, line, free=free, inputs=inputs)

    def _judge(
        self, pool: Pool, line: Line, *, free: Triple, inputs: Mapping[str, EntitlementInput]
    ) -> Iterator[Broken]:
        request = next_request(inputs[line.uid])
        headroom = 0 if line.service_class.has_baseline else pool.headroom_slots
        room = less(free, (0, 0, headroom))
        unmet = less(line.want, line.grant)
        idle = any(unmet) and all(room[i] >= max(1, request[i]) for i in range(3))
        before, self.wants[line.uid] = self.wants.get(line.uid, line.want), line.want
        steady = all(now >= then for now, then in zip(line.want, before, strict=True))
        count = self.unmet.get(line.uid, 0) + 1 if idle and steady else int(idle)
        self.unmet[line.uid] = count
        if count > TICKS_MAX:
            lacking = next(i for i in range(3) if unmet[i])
            text = (
                f"{line.uid} lacks {unmet[lacking]} {TRIPLE_NAMES[lacking]} for {count} ticks "
                f"while {room} is free and its next request needs {request}"
            )
            yield Broken(6, "idle capacity", text)


def next_request(item: EntitlementInput) -> Triple:
    """Return the mean request that is pending, else that is held; at least one slot."""
    pending, held = triple(item.pending), item.held
    if pending[SLOTS] > 0:
        return pending[0] // pending[2], pending[1] // pending[2], 1
    if held.slots > 0:
        return 0, held.kv_bytes // held.slots, 1
    return 0, 0, 1
