"""Keys: the names, units and meanings of what an experiment measures; one table for all.

``--json`` prints these names, the documentation lists this table, and a test holds both to it.  A
key that a run cannot measure (no guaranteed tenant, no debt) is left out of its figures.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, kw_only=True)
class Key:
    """One measured quantity."""

    name: str
    unit: str
    """``ratio`` is between 0 and 1."""
    meaning: str


def _table(*keys: Key) -> Mapping[str, Key]:
    return {key.name: key for key in keys}


KEYS: Final[Mapping[str, Key]] = _table(
    Key(
        name="guaranteed_p99_ttft_s",
        unit="s",
        meaning="99th percentile of the time from admission to the first token, over the requests "
        "of dedicated and guaranteed entitlements that were served as such",
    ),
    Key(
        name="guaranteed_p50_ttft_s",
        unit="s",
        meaning="the same, median",
    ),
    Key(
        name="guaranteed_wait_rate",
        unit="ratio",
        meaning="part of those requests that had to wait for a slot of the engine",
    ),
    Key(
        name="waiting_max",
        unit="requests",
        meaning="longest queue in front of the engine",
    ),
    Key(
        name="guaranteed_floor_refusals",
        unit="attempts",
        meaning="attempts of dedicated and guaranteed entitlements that were refused although "
        "they fitted the entitlement's whole floor, the home admitter asked as well",
    ),
    Key(
        name="guaranteed_throttle_rate",
        unit="ratio",
        meaning="part of the unique requests of dedicated and guaranteed entitlements that were "
        "refused at least once, for whatever reason: above their own limit, too",
    ),
    Key(
        name="share_exhausted_rate",
        unit="ratio",
        meaning="part of the attempts of dedicated and guaranteed entitlements that met an "
        "admitter whose part of the floor was used up (the home is asked after it)",
    ),
    Key(
        name="spot_throttle_rate",
        unit="ratio",
        meaning="part of the unique requests of spot and preemptible entitlements that were "
        "refused at least once; of those that came in the overload, where there is one",
    ),
    Key(
        name="spot_throttle_rate_attempts",
        unit="ratio",
        meaning="part of the attempts of the same requests that were refused, retries included",
    ),
    Key(
        name="spot_unserved_rate",
        unit="ratio",
        meaning="part of the same requests that were never completed: refused until they gave up, "
        "or evicted",
    ),
    Key(
        name="utilisation",
        unit="ratio",
        meaning="busy slots over the slots of ready and draining replicas, while requests come",
    ),
    Key(
        name="utilisation_overload",
        unit="ratio",
        meaning="the same in the overload, where there is one",
    ),
    Key(
        name="in_flight_max",
        unit="requests",
        meaning="most admitted requests at a whole second, waiting or running",
    ),
    Key(
        name="evicted_rate",
        unit="ratio",
        meaning="part of the admitted spot and preemptible requests that were told to stop",
    ),
    Key(
        name="jain_index",
        unit="ratio",
        meaning="Jain's index over the slots that elastic entitlements ran on, divided by their "
        "baselines, in the outage where there is one: 1 is equal treatment",
    ),
    Key(
        name="debt_peak",
        unit="ratio",
        meaning="highest debt of an elastic entitlement in the outage, in baselines",
    ),
    Key(
        name="debt_recovery_s",
        unit="s",
        meaning="from the end of the outage until every debt has fallen to 5 % of its peak; the "
        "rest of the run where it has not",
    ),
    Key(
        name="peer_starved_ticks_max",
        unit="ticks",
        meaning="longest run of ticks in which an elastic entitlement was granted less than "
        "min(demand, baseline) while a peer was granted more than its own (law 5: at most 2)",
    ),
    Key(
        name="peer_starved_s_max",
        unit="s",
        meaning="longest time in which an elastic entitlement ran on fewer slots than its baseline "
        "and was refused while a peer ran on more than its own; seen once a second",
    ),
    Key(
        name="output_tokens_per_s",
        unit="tokens/s",
        meaning="output tokens of all requests over the time in which requests come",
    ),
    Key(
        name="requests",
        unit="requests",
        meaning="unique requests that tenants sent",
    ),
    Key(
        name="attempts",
        unit="attempts",
        meaning="times that an admitter was asked, retries included",
    ),
)
"""What is measured for each policy."""

ENTITLEMENT_KEYS: Final[Mapping[str, Key]] = _table(
    Key(name="requests", unit="requests", meaning="unique requests"),
    Key(name="completed", unit="requests", meaning="requests served to their end"),
    Key(
        name="throttle_rate",
        unit="ratio",
        meaning="part of the unique requests that were refused at least once",
    ),
    Key(name="p99_ttft_s", unit="s", meaning="99th percentile from admission to first token"),
    Key(
        name="slots_scarce",
        unit="slots",
        meaning="mean slots it ran on in the overload or outage, where there is one",
    ),
    Key(
        name="debt_peak",
        unit="ratio",
        meaning="its highest debt in the outage, in baselines (elastic)",
    ),
)
"""What is measured for each entitlement."""
