"""Law 5: no elastic entitlement stays below min(demand, baseline) while a peer bursts, and debt is
bounded, earned only by unmet demand, and fades when idle.

"More than 2 ticks" is counted in ticks of one owner: after a takeover the count begins again.  A
dimension in which it is short only because another one is short does not count (see law 4).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Final

from schemas.specs import ServiceClass
from schemas.ticks import Tick
from schemas.units import PPM
from simulation.laws.broken import Broken
from simulation.laws.lines import TRIPLE_NAMES, Line

TICKS_MAX: Final = 2
DEBT_MIN: Final = -200_000
DEBT_MAX: Final = PPM


@dataclass(slots=True)
class Fairness:
    """For how many ticks each elastic entitlement has been short while a peer burst."""

    epoch: int = 0
    short: dict[str, int] = field(default_factory=dict)

    def check(self, tick: Tick, lines: Sequence[Line]) -> Iterator[Broken]:
        """Yield what is unfair by the end of this tick."""
        if tick.version.epoch != self.epoch:
            self.epoch, self.short = tick.version.epoch, {}
        elastic = [line for line in lines if line.service_class is ServiceClass.ELASTIC]
        for line in elastic:
            dimension = _unfair_in(line, elastic)
            count = self.short.get(line.uid, 0) + 1 if dimension is not None else 0
            self.short[line.uid] = count
            if dimension is not None and count > TICKS_MAX:
                due = line.within(line.baseline, up=True)
                text = (
                    f"{line.uid} has {line.grant[dimension]} of {due[dimension]} "
                    f"{TRIPLE_NAMES[dimension]} for {count} ticks while a peer bursts"
                )
                yield Broken(5, "baseline", text)


def _unfair_in(line: Line, peers: Sequence[Line]) -> int | None:
    """Return a dimension in which it is short, if a peer bursts in all those in which it is."""
    short = line.short_of(line.baseline)
    bursts = [any(peer.grant[i] > peer.baseline[i] for peer in peers) for i in short]
    return short[0] if short and all(bursts) else None


def check_debt(tick: Tick) -> Iterator[Broken]:
    """Yield debts that are out of bounds, earned by nothing, or do not fade."""
    for item, output in zip(tick.inputs.entitlements, tick.outputs, strict=True):
        before, after = item.debt_ppm, output.debt_ppm
        if not DEBT_MIN <= after <= DEBT_MAX:
            yield Broken(5, "debt bounds", f"{item.entitlement} owes {after} ppm")
        if item.pending.tokens_per_s > 0:
            continue
        if after > max(0, before):
            text = f"{item.entitlement} rose from {before} to {after} ppm without unmet demand"
            yield Broken(5, "debt earned", text)
        was, now = before * PPM + item.debt_rest, after * PPM + output.debt_rest
        if item.served_tokens_per_s == 0 and 0 < abs(was) <= abs(now):
            yield Broken(5, "debt fades", f"{item.entitlement} stays at {after} ppm while idle")
