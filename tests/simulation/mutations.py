"""Mutations: production functions made wrong on purpose, one at a time; some law must notice.

    python -m tests.simulation.mutations             # all of them, as a table
    python -m tests.simulation.mutations headroom    # those whose name holds the word

Each names the laws that forbid what it does, and the kind of world that shows it soonest: a
family, its faults and a number of admitters.  The seeds are 0, 1, 2, ...; nothing else is chosen.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from simulation.laws.broken import Broken
from tests.simulation.cases import Case, case_of
from tests.simulation.judged import judge
from tests.simulation.rewriting import Edit, rewritten

SEEDS_MAX: Final = 24


@dataclass(frozen=True)
class Mutation:
    """One thing done wrong."""

    name: str
    laws: tuple[int, ...]
    """Any of them may be the first to be broken."""
    edits: tuple[Edit, ...]
    family: str = ""
    faults: str = "none"
    doors: int = 0
    first: int = 0
    """The seed to begin with."""


@dataclass(frozen=True)
class Caught:
    """The first law that noticed."""

    seed: int
    seeds: int
    """How many were tried."""
    step: int
    until_us: int | None
    """When; None: in the sums at the end."""
    broken: Broken


def _of(
    name: str, laws: tuple[int, ...], *edits: tuple[str, str, str], **where: object
) -> Mutation:
    return Mutation(name, laws, tuple(Edit(*edit) for edit in edits), **where)  # type: ignore[arg-type]


MUTATIONS: Final = (
    _of(
        "a share is raised before it is free",
        (2,),
        (
            "streams.core.shares:within_limit",
            "room = max(0, max(stake.floor, stake.grant) - stake.orphaned - sum(counted))",
            "room = max(stake.floor, stake.grant)",
        ),
        doors=4,
    ),
    _of(
        "a common part is raised without room in the pool",
        (2,),
        (
            "streams.core.shares:Room.raise_common",
            "more = min(max(0, part - free), max(0, min(self._left, self._bare)))",
            "more = max(0, part - free)",
        ),
        doors=4,
    ),
    _of(
        "what is left is given to every admitter as its common part",
        (2,),
        (
            "streams.core.shares:Room.raise_common",
            "self._left -= more\n            self._bare -= more\n",
            "pass\n",
        ),
        doors=4,
    ),
    _of(
        "a cut counts before it was acknowledged",
        (2,),
        ("streams.core.followed:_unreplaced", "return chain[start:]", "return chain[-1:]"),
        faults="harsh",
        doors=4,
    ),
    _of(
        "an admitter is buried while its hold lasts",
        (2,),
        (
            "streams.core.incarnations:patience_us",
            "leases.lease_ms * US_PER_MS + leases.hold_seconds * US_PER_S",
            "leases.lease_ms * US_PER_MS",
        ),
        faults="harsh",
        doors=4,
    ),
    _of(
        "a dead incarnation is forgotten",
        (2,),
        ("streams.core.incarnations:orphaned", "return left", "return {}"),
        ("streams.core.incarnations:unreported", "return total", "return NOTHING"),
        faults="harsh",
        doors=2,
        first=4,
    ),
    _of(
        "the bound leaves out what is lent and cut",
        (2,),
        (
            "streams.core.overshoot:bound",
            "over = (reach + safe + unreported - capacity).at_least(NOTHING)",
            "over = NOTHING",
        ),
        family="crowded",
    ),
    _of(
        "a takeover raises at once",
        (2,),
        (
            "streams.core.scene:scene_of",
            "raise_after_us = sources.now_us + leases.lease_ms * US_PER_MS",
            "raise_after_us = sources.now_us",
        ),
        faults="owners",
        doors=4,
    ),
    _of(
        "an older state is applied",
        (2,),
        (
            "admission.core.pool:PoolDesk.follow_state",
            "state.version <= self.state.version",
            "state.version == self.state.version",
        ),
        (
            "admission.core.parts:Parts.put",
            "if part.version < newest:",
            "if part.version < newest and part.part:",
        ),
        ("admission.core.parts:Parts.put", "if part.version > newest:", "if not part.part:"),
        faults="mild",
        doors=4,
    ),
    _of(
        "versions are compared by their tick alone",
        (2,),
        (
            "admission.core.pool:PoolDesk.follow_state",
            "state.version <= self.state.version",
            "state.version.tick <= self.state.version.tick",
        ),
        ("admission.core.parts:Parts.put", "if part.version < newest:", "if False:"),
        ("admission.core.parts:Parts.put", "if part.version > newest:", "if not part.part:"),
        faults="takeovers",
        doors=4,
    ),
    _of(
        "a raised share arrives with an empty bucket",
        (2,),
        (
            "admission.core.bucket:Bucket.reshape",
            "self.level_utok = max(0, self.level_utok + self.depth_utok - before)",
            "self.level_utok = min(self.level_utok, self.depth_utok)",
        ),
        family="elastic",
        doors=4,
    ),
    _of(
        "KV cache is not checked",
        (2,),
        (
            "admission.core.decision:_short_of",
            "if drawn <= 0:",
            "if drawn <= 0 or dimension is Dimension.KV_CACHE:",
        ),
    ),
    _of(
        "a guaranteed entitlement bursts",
        (2,),
        (
            "admission.core.share:_room",
            "may_burst=spec.service_class.may_burst",
            "may_burst=True",
        ),
        (
            "admission.core.share:_room",
            "ceiling=_ceiling(spec.ceiling,",
            "ceiling=_ceiling(UNLIMITED,",
        ),
        family="split-floors",
        doors=4,
    ),
    _of(
        "dedicated floors are lent like guaranteed ones",
        (2,),
        (
            "streams.core.policy:_claim",
            "lendable=entitlement.lendable",
            "lendable=entitlement.floor",
        ),
        first=2,
    ),
    _of(
        "a floor used up at one admitter is called contention",
        (3,),
        ("admission.core.decision:_short", "if inside_floor and usable < floor:", "if False:"),
        family="small-floors",
        doors=4,
    ),
    _of(
        "a refusal does not name the home",
        (3,),
        (
            "admission.core.opening:_is_better_at_home",
            "if short.reason is RefusalReason.SHARE_EXHAUSTED:\n        return True",
            "if short.reason is RefusalReason.SHARE_EXHAUSTED:\n        return False",
        ),
        family="small-floors",
        doors=4,
    ),
    _of(
        "bursts are filled before elastic baselines",
        (4, 5),
        (
            "streams.core.allocation:_phases",
            "yield members[ServiceClass.ELASTIC], baselines, False\n"
            "    yield bursting, wants, False",
            "yield bursting, wants, False\n"
            "    yield members[ServiceClass.ELASTIC], baselines, False",
        ),
        family="elastic",
        first=2,
    ),
    _of(
        "spot is filled before elastic",
        (4,),
        (
            "streams.core.allocation:_phases",
            "yield members[ServiceClass.ELASTIC], baselines, False\n",
            "yield members[ServiceClass.SPOT], wants, True\n"
            "    yield members[ServiceClass.ELASTIC], baselines, False\n",
        ),
    ),
    _of(
        "the allocation ignores the headroom",
        (4,),
        (
            "streams.core.allocation:allocate",
            "columns[-1].headroom = headroom_slots",
            "columns[-1].headroom = 0",
        ),
        family="surplus",
        first=2,
    ),
    _of(
        "admission ignores the headroom",
        (4,),
        (
            "admission.core.share:outlook",
            "headroom_slots=headroom)",
            "headroom_slots=0)",
        ),
        family="surplus",
        first=2,
    ),
    _of(
        "anybody is evicted",
        (4,),
        (
            "admission.core.reclaim:Reclaim.enter",
            "if item.served_class is ServiceClass.PREEMPTIBLE and item.renew_ms:",
            "if item.renew_ms:",
        ),
        family="surplus",
    ),
    _of(
        "nobody is evicted for a higher class",
        (4,),
        (
            "admission.core.evictor:Evictor.make_room",
            "if not _is_worth_an_eviction(desk, account, need, short, now):",
            "if True:",
        ),
        family="surplus",
        first=4,
    ),
    _of(
        "debt is not clamped",
        (5,),
        (
            "streams.core.debt:next_debt",
            "return Ppt(min(max(owed, DEBT_MIN * PPM), DEBT_MAX * PPM))",
            "return Ppt(owed)",
        ),
        family="elastic",
    ),
    _of(
        "pending demand is dropped",
        (6,),
        (
            "streams.core.demand:pending_of",
            "return Resources(max(0, tokens_per_s), max(0, kv_bytes), max(0, slots))",
            "return NOTHING",
        ),
    ),
    _of(
        "half of what is left is kept from surplus classes",
        (6,),
        (
            "streams.core.allocation:_Column.room",
            "self.headroom if is_surplus else 0",
            "self.left // 2 if is_surplus else 0",
        ),
        family="surplus",
    ),
    _of(
        "an expired reservation frees twice",
        (7,),
        (
            "admission.core.book:Book.expire",
            "desk.free(item)\n",
            "desk.free(item)\n    account = desk.accounts[item.entitlement]\n"
            "    account.slots -= min(account.slots, item.slots)\n",
        ),
    ),
    _of(
        "a late settlement frees again",
        (7,),
        (
            "admission.core.gate:Gate.settle",
            "self.book.settle_late(found, used, source=body.source, now=now)\n",
            "self.book.settle_late(found, used, source=body.source, now=now)\n"
            "        account = self.desks[found.item.pool].accounts[found.item.entitlement]\n"
            "        account.slots -= min(account.slots, found.item.slots)\n",
        ),
        faults="harsh",
        first=11,
    ),
    _of(
        "late usage is not charged",
        (7,),
        (
            "admission.core.book:Book.settle_late",
            'if ended.how != "expired" or ended.late or account is None:',
            "if True:",
        ),
        faults="harsh",
        first=8,
    ),
    _of(
        "an adoption counts twice",
        (7,),
        (
            "admission.core.book:Book.adopt",
            "desk.adoptions[origin] = desk.adoptions.get(origin, Held()) + taken",
            "desk.adoptions[origin] = desk.adoptions.get(origin, Held()) + taken + taken",
        ),
        faults="harsh",
        doors=2,
    ),
    _of(
        "a stale state still serves spot",
        (8,),
        (
            "admission.core.share:outlook",
            "if freshness is not Freshness.FRESH:",
            "if freshness is Freshness.STALE:",
        ),
        faults="harsh",
    ),
    _of(
        "the static safe share is the whole floor",
        (8,),
        (
            "admission.core.staleness:safe_share",
            "return floor - part.times(admitters_max - 1) if at_home else part",
            "return floor",
        ),
        faults="harsh",
        doors=4,
    ),
    _of(
        "any state renews the lease",
        (8,),
        (
            "admission.core.staleness:Lease.echoed",
            "sent_us = self._sent.get(sequence)",
            "sent_us = max(self._sent.values(), default=None)",
        ),
        faults="harsh",
    ),
    _of(
        "a duplicate counts",
        (1,),
        ("streams.core.judge:_unique", "if earlier is None:", "if True:"),
        faults="mild",
    ),
    _of(
        "verdicts on duplicates are not counted",
        (1,),
        (
            "streams.core.ledger:_judge_all",
            "work.counts[ruling.kind] = work.counts.get(ruling.kind, 0) + 1",
            "work.counts[ruling.kind] = work.counts.get(ruling.kind, 0) + ("
            "ruling.kind is not VerdictKind.DUPLICATE)",
        ),
        faults="mild",
    ),
    _of(
        "a tick depends on how often it was computed",
        (9,),
        (
            "streams.core.debt:next_debt",
            "owed = ",
            "next_debt.calls = getattr(next_debt, 'calls', 0) + 1\n"
            "    owed = next_debt.calls % 2 + ",
        ),
    ),
)


def caught(mutation: Mutation) -> Caught | None:
    """Return how the campaign notices a mutation; None when it survives."""
    with rewritten(mutation.edits):
        for number in range(SEEDS_MAX):
            seed = mutation.first + number
            judgement = judge(case_for(mutation, seed))
            for broken in judgement.broken:
                if broken.law in mutation.laws:
                    until_us = None if judgement.ended else judgement.at_us
                    return Caught(seed, number + 1, judgement.steps, until_us, broken)
    return None


def case_for(mutation: Mutation, seed: int) -> Case:
    """Return the world of a seed in which the mutation is tried."""
    return case_of(seed, faults=mutation.faults, family=mutation.family, doors=mutation.doors)


def main(words: Sequence[str]) -> int:
    """Print the table; return 1 if a mutation survived."""
    survived = 0
    print(f"{'mutation':<58} {'law':>3} {'by':<28} {'seed':>4} {'step':>6} {'s':>6}")
    for mutation in MUTATIONS:
        if not all(word in mutation.name for word in words):
            continue
        began_s = time.monotonic()
        found = caught(mutation)
        took_s = time.monotonic() - began_s
        if found is None:
            survived += 1
            print(f"{mutation.name:<58} survived {SEEDS_MAX} seeds {took_s:>26.1f}", flush=True)
            continue
        broken = found.broken
        print(
            f"{mutation.name:<58} {broken.law:>3} {broken.name:<28} {found.seed:>4} "
            f"{found.step:>6} {took_s:>6.1f}",
            flush=True,
        )
    return 1 if survived else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
