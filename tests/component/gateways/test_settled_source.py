"""A settlement names the source under which its usage events are emitted."""

from __future__ import annotations

from admission.gateways.client import GatewayClient
from admission.gateways.reservation import ActiveReservation
from schemas.units import TokenCounts
from tests.component.gateways.fake_admitter import FakeAdmitter
from tests.component.gateways.samples import BODY, FAST
from tests.component.gateways.transports import MemoryTransport


async def test_a_settlement_names_the_source_of_its_events() -> None:
    transport = MemoryTransport()
    async with FakeAdmitter() as admitter:
        async with (
            GatewayClient([admitter.url], transport, source="gw", limits=FAST) as client,
            client.reserve(BODY) as answer,
        ):
            assert isinstance(answer, ActiveReservation)
            answer.report(TokenCounts(output_tokens=3))

        assert [body.source for _, body in admitter.settled] == [client.source]
    assert [event.source for event in transport.events] == [client.source]
