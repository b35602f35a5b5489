"""Tallies: what the events of one fold add to each entitlement and second, before it is written.

Ordinary events are added by the second of their event time only; minutes, hours and totals follow
from the seconds when the fold ends.  An event that comes after its second was closed is added to
each of its windows that is still open, and to the total.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

from schemas.ledger import WindowTotals
from schemas.pools import Pool, Weights
from schemas.units import PPM, US_PER_S, TokenCounts
from schemas.usage import UsageData
from streams.core.judge import NAME_CHARS_MAX
from streams.core.lines import Line
from streams.core.outcome import EntitlementKey, Increment, WindowSpan
from streams.core.windows import UNSPECIFIED, lengths_of

DURATION_GRAIN_BITS: Final = 14
"""Production times are paid out in steps of 16 ms, rounded up."""
_GRAIN_LESS_1: Final = (1 << DURATION_GRAIN_BITS) - 1


class Tally:
    """Tokens and events added up, and where the last of them stands."""

    __slots__ = (
        "cache_read",
        "cache_write",
        "demoted",
        "events",
        "input",
        "model",
        "output",
        "paid",
        "place",
        "reasoning",
        "requests",
    )

    def __init__(self) -> None:
        self.input = 0
        self.cache_read = 0
        self.cache_write = 0
        self.output = 0
        self.reasoning = 0
        self.events = 0
        self.requests = 0
        self.demoted = 0
        self.place = -1
        """Offset and index of the last event."""
        self.model = ""
        """As the last event names it."""
        self.paid: dict[int, int] = {}
        """Weighted tokens x 1,000,000 by production time in grains, rounded up."""

    def add(self, data: UsageData, place: int, desk: Desk) -> None:
        """Add one event; most amounts are 0, and a comparison is cheaper than a sum."""
        tokens, output_tokens = data.input_tokens, data.output_tokens
        cost_ppm = tokens * desk.input_ppm + output_tokens * desk.output_ppm
        self.input += tokens
        self.output += output_tokens
        self.events += 1
        self.place = place
        self.model = data.model
        if data.final:
            self.requests += 1
        tokens = data.cache_read_tokens
        if tokens:
            self.cache_read += tokens
            cost_ppm += tokens * desk.cache_read_ppm
        tokens = data.cache_write_tokens
        if tokens:
            self.cache_write += tokens
            cost_ppm += tokens * desk.cache_write_ppm
        if data.reasoning_tokens:
            self.reasoning += data.reasoning_tokens
        if data.demoted:
            self.demoted += data.counts.total
        paid = self.paid
        grains = (data.end_us - data.start_us + _GRAIN_LESS_1) >> DURATION_GRAIN_BITS
        paid[grains] = paid.get(grains, 0) + cost_ppm

    def merge(self, other: Tally) -> None:
        """Add another tally but for what is paid; the later place names the model."""
        self.input += other.input
        self.cache_read += other.cache_read
        self.cache_write += other.cache_write
        self.output += other.output
        self.reasoning += other.reasoning
        self.events += other.events
        self.requests += other.requests
        self.demoted += other.demoted
        if other.place > self.place:
            self.place = other.place
            self.model = other.model

    def on_top_of(self, before: WindowTotals) -> WindowTotals:
        """Return what was there before together with what was added."""
        tokens = before.tokens
        return WindowTotals(
            tokens=TokenCounts(
                tokens.input_tokens + self.input,
                tokens.cache_read_tokens + self.cache_read,
                tokens.cache_write_tokens + self.cache_write,
                tokens.output_tokens + self.output,
                tokens.reasoning_tokens + self.reasoning,
            ),
            events=before.events + self.events,
            requests=before.requests + self.requests,
            demoted_tokens=before.demoted_tokens + self.demoted,
        )


def merged(tallies: Sequence[Tally]) -> Tally:
    """Return the sum of tallies but for what is paid: the only one itself, to be read only."""
    if len(tallies) == 1:
        return tallies[0]
    total = Tally()
    for each in tallies:
        total.merge(each)
    return total


class Account:
    """One entitlement in one fold."""

    __slots__ = ("key", "late_tally", "second_us", "seconds", "tenant", "windows")

    def __init__(self, key: EntitlementKey, tenant: str, *, second_us: int) -> None:
        self.key = key
        self.second_us = second_us
        self.tenant = tenant
        self.seconds: dict[int, Tally] = {}
        """By number of the second window: events all of whose windows are open."""
        self.late_tally: Tally | None = None
        """Events at least one of whose windows is closed."""
        self.windows: dict[WindowSpan, Tally] = {}
        """Of those events: the windows that are still open."""

    def second(self, number: int) -> Tally:
        """Return the tally of a second window."""
        return self.seconds.setdefault(number, Tally())

    def late(self) -> Tally:
        """Return the tally of events that only the total counts for sure."""
        if self.late_tally is None:
            self.late_tally = Tally()
        return self.late_tally

    def window(self, span: WindowSpan) -> Tally:
        """Return the tally of a window that such an event still counts in."""
        return self.windows.setdefault(span, Tally())

    def counts_in(self, span: WindowSpan) -> bool:
        """Say whether an event of this fold counts in the window already."""
        window_us, start_us = span
        if span in self.windows:
            return True
        return any(
            start_us <= number * self.second_us < start_us + window_us for number in self.seconds
        )

    def total(self) -> Tally:
        """Return what was added to the entitlement's totals; no events: nothing was."""
        tallies = [*self.seconds.values(), *(() if self.late_tally is None else (self.late_tally,))]
        total = merged(tallies)
        if len(tallies) > 1:
            for tally in tallies:
                for grains, cost_ppm in tally.paid.items():
                    total.paid[grains] = total.paid.get(grains, 0) + cost_ppm
        return total

    def by_window(self, lengths_us: tuple[int, int, int]) -> dict[WindowSpan, Tally]:
        """Return what was added to each open window.

        Minutes are merged of seconds and hours of minutes; windows with the same events share a
        tally, which must only be read.
        """
        windows: dict[WindowSpan, Tally] = {}
        parts = [(number * lengths_us[0], tally) for number, tally in self.seconds.items()]
        for length_us in lengths_us:
            starts: dict[int, list[Tally]] = {}
            for at_us, tally in parts:
                starts.setdefault(at_us - at_us % length_us, []).append(tally)
            parts = [(start_us, merged(tallies)) for start_us, tallies in starts.items()]
            for start_us, tally in parts:
                windows[length_us, start_us] = tally
        for span, tally in self.windows.items():
            known = windows.get(span)
            windows[span] = tally if known is None else merged((known, tally))
        return windows


def increments(key: EntitlementKey, total: Tally) -> Iterator[Increment]:
    """Yield the tokens to be paid out, one increment for each production time."""
    pool, entitlement = key
    for grains, cost_ppm in total.paid.items():
        yield Increment(
            pool=pool,
            entitlement=entitlement,
            cost_tokens=-(-cost_ppm // PPM),
            duration_us=grains << DURATION_GRAIN_BITS,
        )


class Desk:
    """One pool in one fold, with all that its events are held against."""

    __slots__ = (
        "accounts",
        "cache_read_ppm",
        "cache_write_ppm",
        "future_us",
        "input_ppm",
        "lengths_us",
        "lines",
        "name",
        "open_us",
        "opens_us",
        "output_ppm",
        "pool",
        "unlisted",
        "window_us",
    )

    def __init__(self, name: str, pool: Pool | None) -> None:
        metering = UNSPECIFIED if pool is None else pool.metering
        weights = Weights() if pool is None else pool.weights
        self.name = name
        self.pool = pool
        """None: nobody specifies it."""
        self.accounts: dict[str, Account] = {}
        self.unlisted: dict[str, Account] = {}
        """Of entitlements that the pool has no longer: only what is bound counts for them."""
        self.lines: dict[str, Line] = {}
        self.lengths_us = lengths_of(metering)
        self.window_us = self.lengths_us[0]
        self.future_us = metering.future_seconds_max * US_PER_S
        shortest = min(metering.lateness_second_seconds, metering.acceptance_horizon_seconds)
        self.open_us = shortest * US_PER_S
        """An event that is no older is within the horizon, and its windows are not closed."""
        self.opens_us = 0 if pool is None else pool.applied_us
        """Windows with later events may be opened."""
        self.input_ppm = weights.input_ppm
        self.cache_read_ppm = weights.cache_read_ppm
        self.cache_write_ppm = weights.cache_write_ppm
        self.output_ppm = weights.output_ppm

    def account(self, entitlement: str) -> Account | None:
        """Return the entitlement's account; None when the pool has no such entitlement."""
        known = None if self.pool is None else self.pool.entitlements.get(entitlement)
        if known is None:
            return None
        account = self.accounts.get(entitlement)
        if account is None:
            account = Account((self.name, entitlement), known.tenant, second_us=self.window_us)
            self.accounts[entitlement] = account
        return account

    def account_of(self, data: UsageData) -> Account:
        """Return the account of an event that is accepted, specified or not."""
        account = self.account(data.entitlement) or self.unlisted.get(data.entitlement)
        if account is None:
            account = Account(
                (self.name, data.entitlement),
                data.tenant[:NAME_CHARS_MAX],
                second_us=self.window_us,
            )
            self.unlisted[data.entitlement] = account
        return account

    def all_accounts(self) -> Iterator[Account]:
        """Yield every account."""
        yield from self.accounts.values()
        yield from self.unlisted.values()

    def model_of(self, model: str) -> str:
        """Return the model that a window names: the event's, else the pool's."""
        return model[:NAME_CHARS_MAX] or ("" if self.pool is None else self.pool.model)
