"""Law 7: every reservation ends in exactly one of settled, released, expired.

The judge's book (``simulation.laws.shadow``) says what each answer must have been.  What an
admitter holds is the sum of its open reservations, no more and no less; a settlement charges what
was used once, a late one too, a repeated one nothing (``simulation.laws.buckets`` judges how).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from admission.core.gate import Gate
from admission.core.pool import PoolDesk
from schemas.pools import Pool
from schemas.units import Held, TokenCounts
from simulation.laws.broken import Broken
from simulation.laws.shadow import Entry, Shadow
from simulation.policy import Elsewhere, Ended, NotNow, Unknown

EndAnswer = Ended | Elsewhere | Unknown | NotNow


@dataclass(frozen=True, slots=True)
class Before:
    """What an account showed before a settlement."""

    desk: PoolDesk
    charged_tokens: int


def before_settlement(gate: Gate, pool: Pool, entry: Entry) -> Before | None:
    """Look at the account before the settlement at this admitter."""
    desk = gate.desks[pool.name]
    account = desk.accounts.get(entry.uid)
    if account is None:
        return None
    return Before(desk, account.counters.charged_tokens)


def check_answer(
    entry: Entry, answer: EndAnswer, *, at_own_door: bool, is_gone: bool
) -> Iterator[Broken]:
    """Yield an end that the reservation cannot have had; before the book is brought up to date.

    Where the incarnation is gone, nobody knows that it had expired: whoever takes it over ends it.
    """
    known = entry.ended == "settled" or (entry.ended and not is_gone)
    if isinstance(answer, Ended) and answer.first and known:
        yield Broken(7, "ended twice", f"{_name(entry)} ended again after it was {entry.ended}")
    if entry.ended or entry.orphan or not at_own_door:
        return
    if isinstance(answer, Ended) and not answer.first:
        yield Broken(7, "lost", f"{_name(entry)} is open, and its admitter says that it ended")
    if isinstance(answer, Unknown | Elsewhere):
        yield Broken(7, "lost", f"{_name(entry)} is open, and its own admitter does not know it")


def check_charge(
    entry: Entry, answer: EndAnswer, used: TokenCounts, before: Before, *, pool: Pool
) -> Iterator[Broken]:
    """Yield a settlement at the admitter of the reservation that charged another amount."""
    if not isinstance(answer, Ended) or entry.orphan:
        return
    cost = pool.weights.cost_tokens(used)
    late = entry.ended == "expired" and not answer.first and not entry.charged_late
    counts = answer.first or late
    account = before.desk.accounts[entry.uid]
    charged = account.counters.charged_tokens - before.charged_tokens
    if charged != (cost if counts and used.total else 0):
        text = f"{_name(entry)} used {cost} tokens, {charged} were counted, first={answer.first}"
        yield Broken(7, "charged once", text)


def check_gate(gate: Gate, door: int, pool: Pool, shadow: Shadow) -> Iterator[Broken]:
    """Yield what an admitter holds that is not the sum of its open reservations, or not known."""
    desk = gate.desks[pool.name]
    sums: dict[str, Held] = {}
    known = set()
    for item in gate.reservations:
        held = Held(item.tokens, item.kv_bytes, item.slots)
        sums[item.entitlement] = sums.get(item.entitlement, Held()) + held
        known.add(item.number)
    for uid, account in desk.accounts.items():
        if account.held != sums.get(uid, Held()):
            text = (
                f"{uid} holds {account.held} at admitter {door}, its open reservations "
                f"{sums.get(uid, Held())}"
            )
            yield Broken(7, "held", text)
    for entry in shadow.open_at[door]:
        if entry.item.number not in known:
            yield Broken(7, "lost", f"{_name(entry)} is open, and its admitter holds it no longer")


def check_account(gate: Gate, door: int, uid: str, pool: Pool) -> Iterator[Broken]:
    """Yield an entitlement that holds other slots at an admitter than its reservations do."""
    account = gate.desks[pool.name].accounts.get(uid)
    if account is None:
        return
    slots = sum([item.slots for item in gate.reservations if item.entitlement == uid])
    if account.slots + account.demoted_slots != slots:
        text = (
            f"{uid} holds {account.slots + account.demoted_slots} slots at admitter {door}, its "
            f"open reservations {slots}"
        )
        yield Broken(7, "held", text)


def check_adoptions(
    gate: Gate, pool: Pool, adopted: dict[tuple[str, str], Held]
) -> Iterator[Broken]:
    """Yield adoptions that an admitter counts otherwise than they happened."""
    for key, held in gate.desks[pool.name].adoptions.items():
        if held != adopted.get(key, Held()):
            text = (
                f"{gate.incarnation} counts {held} of {key[1]} adopted from {key[0]}, "
                f"{adopted.get(key, Held())} were"
            )
            yield Broken(7, "adopted once", text)


def _name(entry: Entry) -> str:
    return f"{entry.uid} {entry.incarnation}#{entry.item.number}"
