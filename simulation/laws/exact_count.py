"""Law 1: ledger totals equal the sums of the distinct accepted events, whatever went wrong.

Judged at every fold where the present owner stands, and at the end for everything that was ever
sent.  Per partition, in events: accepted + duplicate + late + dead + forwarded = read.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from schemas.ledger import WindowTotals
from schemas.units import NO_TOKENS
from schemas.verdicts import VerdictCounts
from simulation.laws.broken import Broken
from simulation.pools.usage_log import Tally


def check_totals(ledger: Mapping[str, WindowTotals], truth: Tally) -> Iterator[Broken]:
    """Yield an entitlement whose totals are not the sums of its accepted events."""
    for uid in sorted(ledger.keys() | truth.tokens.keys()):
        counted = ledger.get(uid) or WindowTotals()
        tokens, events = truth.tokens.get(uid, NO_TOKENS), truth.events.get(uid, 0)
        if (counted.tokens, counted.events) != (tokens, events):
            text = (
                f"{uid} counts {counted.events} events and {counted.tokens.total} tokens, "
                f"{events} and {tokens.total} were accepted through offset {truth.through}"
            )
            yield Broken(1, "totals", text)


def check_verdicts(counts: Sequence[VerdictCounts], read: Sequence[int]) -> Iterator[Broken]:
    """Yield a partition whose verdicts do not add up to the events read."""
    for partition, (judged, events) in enumerate(zip(counts, read, strict=True)):
        if judged.read != events:
            text = f"partition {partition}: {judged.read} verdicts on {events} events read"
            yield Broken(1, "verdicts", text)
