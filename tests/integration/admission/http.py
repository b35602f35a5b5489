"""An admitter over HTTP, as a gateway without our client sees it."""

from __future__ import annotations

from typing import Any

import aiohttp

from tests.integration.admission.waiting import START_S_MAX, eventually


async def ready(http: aiohttp.ClientSession, url: str) -> None:
    async def look() -> bool:
        async with http.get(f"{url}/readyz") as answer:
            return answer.status == 200

    async def usable() -> bool:
        async with http.get(f"{url}/v1/pools", headers={"Authorization": "Bearer secret"}) as got:
            return any(pool["state_age_ms"] is not None for pool in (await got.json())["pools"])

    await eventually(look, within_s=START_S_MAX)
    await eventually(usable, within_s=START_S_MAX)


async def post(
    http: aiohttp.ClientSession, url: str, body: object, **options: Any
) -> tuple[int, dict[str, Any]]:
    async with http.post(url, json=body, **options) as answer:
        return answer.status, await answer.json()
