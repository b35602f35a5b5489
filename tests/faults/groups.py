"""Groups: tell the coordinator that a killed member is gone, as its session's end would.

A session lasts at least 6 s; a campaign of hundreds of kills would mostly wait for it.  Some kills
are left to the session all the same.
"""

from __future__ import annotations

from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.protocol.group import LeaveGroupRequest

from schemas.connections import KafkaOptions
from streams.kafka import client_kwargs


async def bury_members(options: KafkaOptions, group: str) -> int:
    """Take every member out of the group; return how many.  Nobody of it may be alive."""
    admin = AIOKafkaAdminClient(**client_kwargs(options), request_timeout_ms=5_000)
    await admin.start()
    try:
        coordinator = await admin.find_coordinator(options.group(group))
        (answer,) = await admin.describe_consumer_groups([options.group(group)], coordinator)
        members = [member[0] for described in answer.groups for member in described[5]]
        for member in members:
            await admin._send_request(
                LeaveGroupRequest(options.group(group), member), node_id=coordinator
            )
        return len(members)
    finally:
        await admin.close()
