"""API: the four calls of the admission API, made against several admitters within bounds.

A call that reaches nobody is tried at the next admitter; one that belongs elsewhere (421, or a
``share_exhausted`` refusal that names the home) is made there once.
"""

from __future__ import annotations

import asyncio
import time

import msgspec

from admission.gateways.answers import (
    Gone,
    Refused,
    owner_url,
    renewal_answer,
    reservation_answer,
    settlement_answer,
)
from admission.gateways.http import AdmitterHttp, Reply, UnansweredError
from admission.gateways.limits import GatewayLimits
from admission.gateways.routing import Admitters
from schemas.decisions import RefusalReason
from schemas.errors import UnavailableError
from schemas.reservations import (
    Renewal,
    RenewBody,
    Reservation,
    ReserveBody,
    SettleBody,
    SettlementResult,
)
from schemas.units import MS_PER_S

PATH = "/v1/reservations"


class AdmissionApi:
    """Reserve, renew, settle and release; holds no reservation itself."""

    def __init__(self, http: AdmitterHttp, admitters: Admitters, limits: GatewayLimits) -> None:
        self._http = http
        self._admitters = admitters
        self._limits = limits

    async def reserve(self, body: ReserveBody) -> Reservation | Refused:
        """Return the first answer that decides; ``UnavailableError`` when no admitter ever answers.

        While no admitter has state, or none answers, all are asked again, ``rounds_max`` times.
        """
        refused: Refused | None = None
        for _ in range(self._limits.rounds_max):
            for url in self._admitters.order(now_ms=_monotonic_ms(), asker=_asker(body)):
                answer = await self._ask(url, body)
                if isinstance(answer, Reservation):
                    return answer
                refused = answer or refused
                if answer is not None and answer.reason != RefusalReason.NO_STATE:
                    return await self._at_home(answer, body)
            await self._pause(refused)
        if refused is None:
            raise UnavailableError("no admitter answers; are the admitters' URLs right?")
        return refused

    async def renew(self, reservation_id: str, *, url: str, output_tokens: int) -> Renewal | Gone:
        """Keep the reservation alive; ``UnavailableError`` when nobody can say anything now."""
        body = RenewBody(output_tokens=output_tokens)
        path = f"{PATH}/{reservation_id}/renewal"
        return renewal_answer(await self._at_owner("POST", path, url=url, body=body))

    async def settle(
        self, reservation_id: str, *, url: str, body: SettleBody
    ) -> SettlementResult | Gone:
        """End the reservation with what was used."""
        path = f"{PATH}/{reservation_id}/settlement"
        return settlement_answer(await self._at_owner("POST", path, url=url, body=body))

    async def release(self, reservation_id: str, *, url: str) -> SettlementResult | Gone:
        """End the reservation: nothing was used."""
        path = f"{PATH}/{reservation_id}"
        return settlement_answer(await self._at_owner("DELETE", path, url=url, body=None))

    async def _ask(self, url: str, body: ReserveBody) -> Reservation | Refused | None:
        """Return the admitter's answer; None when it gives none."""
        headers = {"Idempotency-Key": body.request_id} if body.request_id else None
        try:
            reply = await self._exchange(url, "POST", PATH, body=body, headers=headers)
            return reservation_answer(reply)
        except UnavailableError:
            return None

    async def _at_home(self, refused: Refused, body: ReserveBody) -> Reservation | Refused:
        """Ask the home once when this admitter's part of the floor is used up.

        Where this admitter has no part at all, the floor lies whole at the home: later requests
        of the entitlement go there first.
        A home that cannot decide now (it has just started again) leaves the refusal as it is.
        """
        home = refused.home_url.rstrip("/")
        exhausted = refused.reason == RefusalReason.SHARE_EXHAUSTED
        if not exhausted or home in ("", refused.admitter_url):
            return refused
        if refused.limit == 0:
            self._admitters.has_home(_asker(body), home)
        retried = msgspec.structs.replace(body, ticket=refused.ticket)
        answer = await self._ask(home, retried)
        if isinstance(answer, Refused) and answer.reason == RefusalReason.NO_STATE:
            return refused
        return answer or refused

    async def _at_owner(
        self, method: str, path: str, *, url: str, body: msgspec.Struct | None
    ) -> Reply:
        """Return the owner's reply; others are asked who that is while it does not answer.

        A settlement that may have arrived before says so.
        """
        candidates = [url.rstrip("/"), *self._admitters.order(now_ms=_monotonic_ms())]
        asked: set[str] = set()
        followed = may_have_arrived = False
        while candidates:
            candidate = candidates.pop(0)
            if candidate in asked:
                continue
            asked.add(candidate)
            try:
                reply = await self._exchange(candidate, method, path, body=body)
                owner = owner_url(reply)
            except UnansweredError:
                may_have_arrived, body = True, _repeated(body)
                continue
            except UnavailableError:
                continue
            if owner is None:
                return reply
            if not followed:
                followed = True
                candidates.insert(0, owner.rstrip("/"))
        unreached = UnansweredError if may_have_arrived else UnavailableError
        raise unreached("no admitter that answers owns the reservation")

    async def _exchange(
        self,
        url: str,
        method: str,
        path: str,
        *,
        body: msgspec.Struct | None,
        headers: dict[str, str] | None = None,
    ) -> Reply:
        try:
            reply = await self._http.exchange(
                url, method=method, path=path, body=body, headers=headers
            )
        except UnavailableError:
            self._admitters.failed(url, now_ms=_monotonic_ms())
            raise
        self._admitters.answered(url)
        return reply

    async def _pause(self, refused: Refused | None) -> None:
        wait_ms = refused.retry_after_ms if refused else self._limits.round_wait_ms_max
        await asyncio.sleep(min(wait_ms, self._limits.round_wait_ms_max) / MS_PER_S)


def _repeated(body: msgspec.Struct | None) -> msgspec.Struct | None:
    return msgspec.structs.replace(body, repeated=True) if isinstance(body, SettleBody) else body


def _asker(body: ReserveBody) -> tuple[str, str]:
    return body.pool, body.entitlement


def _monotonic_ms() -> int:
    return time.monotonic_ns() // 1_000_000
