"""Splitting: how should one entitlement's floor and grant lie over the admitters?

What is aimed at, whatever is followed now; ``streams.core.shares`` decides how much of it may be
published.  A slot without its KV cache is useless, so the dimensions are split together:

* *Grants* follow what each admitter holds and has refused.  Where a grant is smaller than that,
  slots are cut in proportion, and the other dimensions in step with the slots.
* *A small floor* stays whole at its home, less what others hold of it; what others refused of it
  is granted at home.
* *A large floor* covers everybody's grant.  What is left is slack, counted in whole requests.  At
  least half of it stays at home, where whoever is refused elsewhere asks next; the others get the
  rest by what they hold and refuse.  The nearer the tenant comes to its floor, the less slack
  lies where it may not be needed; the last of it is always at home.

Every part is a whole amount, and the parts of a floor (a grant) sum to it in each dimension.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from schemas.units import ceil_div
from streams.core.rounding import apportion

THROUGHPUT, KV_CACHE, SLOTS = range(3)
"""The dimensions by index, in the order of ``schemas.units.Dimension``."""

Row = Sequence[int]
"""One amount per live admitter, in one order."""


class Parts(msgspec.Struct, frozen=True, gc=False):
    """What each admitter gets of one entitlement's floor and grant, in one dimension."""

    floors: Row
    grants: Row


class Wanted(msgspec.Struct, frozen=True, gc=False):
    """What one entitlement has to split; every tuple is by dimension, every row by admitter."""

    floor: Row
    """Less what dead incarnations still hold; so is ``grant``."""
    grant: Row
    steady: Sequence[Row]
    """What is held: tokens/s that it will produce, KV cache, slots."""
    pending: Sequence[Row]
    """What was refused."""
    home: int
    splits: bool
    """Whether the floor is large enough to split."""


def split(wanted: Wanted) -> tuple[Parts, ...]:
    """Return the split that is aimed at, in each dimension."""
    pulls = _pulls(wanted)
    grants = _grants(wanted, pulls)
    if max(wanted.floor) <= 0:
        return tuple(Parts([0] * len(row), row) for row in grants)
    slack = [max(0, wanted.floor[d] - sum(grants[d])) for d in range(3)]
    rows = _slack_rows(wanted, slack, pulls) if wanted.splits else ()
    return tuple(
        Parts(_floors(wanted, d, row, slack[d], rows[d] if rows else ()), row)
        for d, row in enumerate(grants)
    )


def _pulls(wanted: Wanted) -> list[list[int]]:
    """Return what each admitter asks for; of a floor that stays whole it is asked at home."""
    whole = wanted.floor[SLOTS] > 0 and not wanted.splits
    pulls = []
    for steady, pending in zip(wanted.steady, wanted.pending, strict=True):
        if not whole:
            pulls.append([held + refused for held, refused in zip(steady, pending, strict=True)])
            continue
        row = list(steady)
        row[wanted.home] += sum(pending)
        pulls.append(row)
    return pulls


def _grants(wanted: Wanted, pulls: list[list[int]]) -> list[list[int]]:
    """Return the grants by admitter; what nobody asks for goes to the home."""
    slots = _exactly(wanted.grant[SLOTS], pulls[SLOTS], home=wanted.home)
    rows = []
    for amount, row in zip(wanted.grant[:SLOTS], pulls[:SLOTS], strict=True):
        whole = sum(row)
        weights: Sequence[int] = row
        if not whole:
            weights = slots
        elif amount < whole and slots != pulls[SLOTS]:
            weights = [
                part * got // asked if asked else part
                for part, got, asked in zip(row, slots, pulls[SLOTS], strict=True)
            ]
        rows.append(_exactly(amount, weights, home=wanted.home))
    return [*rows, slots]


def _exactly(amount: int, weights: Sequence[int], *, home: int) -> list[int]:
    """Return ``amount`` divided by the weights; all of it at home where none is above 0."""
    if sum(weights) == amount:
        return list(weights)
    parts = apportion(amount, weights)
    parts[home] += amount - sum(parts)
    return parts


def _floors(wanted: Wanted, d: int, grants: Row, slack: int, rows: Row) -> Row:
    """Return the parts of the floor in one dimension."""
    if not slack:
        return _exactly(wanted.floor[d], grants, home=wanted.home)
    if rows:
        return [grant + more for grant, more in zip(grants, rows, strict=True)]
    floors = list(grants)
    floors[wanted.home] += slack
    return floors


def _slack_rows(
    wanted: Wanted, slack: Sequence[int], pulls: Sequence[Sequence[int]]
) -> list[list[int]]:
    """Return the slack by dimension and admitter, in whole requests except at home."""
    count = min(slack[SLOTS], slack[KV_CACHE] // max(1, _request_kv_bytes(wanted, pulls)))
    weights = [1 + slots for slots in pulls[SLOTS]]
    whole = 2 * sum(weights)
    counts = [count * weight // whole for weight in weights]
    counts[wanted.home] = 0
    rows = [[amount * some // max(1, count) for some in counts] for amount in slack[:SLOTS]]
    rows.append(counts)
    for amount, row in zip(slack, rows, strict=True):
        row[wanted.home] = amount - sum(row)
    return rows


def _request_kv_bytes(wanted: Wanted, pulls: Sequence[Sequence[int]]) -> int:
    """Return the KV cache that goes with one slot: as asked for, else as promised, rounded up."""
    slots = sum(pulls[SLOTS])
    if slots:
        return ceil_div(sum(pulls[KV_CACHE]), slots)
    return ceil_div(wanted.floor[KV_CACHE], max(1, wanted.floor[SLOTS]))
