"""Figures: one run's measures as numbers under the keys of ``keys``.

A figure is a float: nothing decides on it.  A key that the run cannot answer is left out.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Final

from schemas.pools import Pool
from schemas.specs import ServiceClass
from schemas.units import PPM, US_PER_S
from simulation.experiments.statistics import jain_index
from simulation.percentiles import P50_PPM, P99_PPM, percentile
from simulation.world.measures import (
    Measures,
    Outcome,
    RequestRecord,
    Sample,
    Tally,
    refused_attempts_ppm,
    throttled_ppm,
    ttfts_from_admission_us,
)

RESERVED: Final = (ServiceClass.DEDICATED, ServiceClass.GUARANTEED)
SURPLUS: Final = (ServiceClass.SPOT, ServiceClass.PREEMPTIBLE)
RECOVERED_PPM: Final = 50_000
"""Debt counts as paid back at this part of its peak."""

Figures = dict[str, float]


@dataclass(frozen=True, kw_only=True)
class Frame:
    """What a run's measures are read against; times are world times."""

    pool: Pool
    end_us: int
    """Until then requests come."""
    scarce_us: tuple[int, int]
    """The overload or outage; the whole run where there is none."""
    has_outage: bool
    prefill_us: int


def figures_of(measures: Measures, frame: Frame) -> Figures:
    """Return the figures of one run."""
    return {
        **_general(measures, frame),
        **_reserved(measures.of(*RESERVED), frame),
        **_surplus(measures.of(*SURPLUS), frame),
        **_elastic(measures, frame),
    }


def entitlement_figures(measures: Measures, frame: Frame) -> dict[str, Figures]:
    """Return the figures of each entitlement of one run."""
    return {uid: _one(measures, tally, frame) for uid, tally in measures.tallies.items()}


def _general(measures: Measures, frame: Frame) -> Figures:
    tallies = measures.tallies.values()
    return {
        "waiting_max": measures.waiting_max,
        "in_flight_max": max((_in_flight(sample) for sample in measures.samples), default=0),
        "utilisation": measures.utilisation_ppm(0, frame.end_us) / PPM,
        "utilisation_overload": measures.utilisation_ppm(*frame.scarce_us) / PPM,
        "output_tokens_per_s": sum(tally.output_tokens for tally in tallies)
        * US_PER_S
        / frame.end_us,
        "requests": measures.requests,
        "attempts": sum(tally.attempts for tally in tallies),
    }


def _in_flight(sample: Sample) -> int:
    return sum(line.in_flight for line in sample.lines.values())


def _reserved(tallies: Sequence[Tally], frame: Frame) -> Figures:
    requests = sum(tally.requests for tally in tallies)
    if not requests:
        return {}
    attempts = sum(tally.attempts for tally in tallies)
    served = [each for tally in tallies for each in tally.records if not each.demoted]
    waits_us = ttfts_from_admission_us(served)
    figures = {
        "guaranteed_floor_refusals": float(sum(tally.floor_refusals for tally in tallies)),
        "guaranteed_throttle_rate": sum(tally.requests_refused for tally in tallies) / requests,
        "share_exhausted_rate": sum(tally.share_exhausted for tally in tallies) / attempts,
    }
    if waits_us:
        waited = sum(wait_us > frame.prefill_us for wait_us in waits_us)
        figures["guaranteed_p99_ttft_s"] = _seconds(waits_us, P99_PPM)
        figures["guaranteed_p50_ttft_s"] = _seconds(waits_us, P50_PPM)
        figures["guaranteed_wait_rate"] = waited / len(waits_us)
    return figures


def _seconds(values_us: Iterable[int], quantile_ppm: int) -> float:
    return (percentile(values_us, quantile_ppm) or 0) / US_PER_S


def _surplus(tallies: Sequence[Tally], frame: Frame) -> Figures:
    records = [each for tally in tallies for each in tally.between(*frame.scarce_us)]
    if not records:
        return {}
    completed = sum(each.outcome is Outcome.COMPLETED for each in records)
    admitted = sum(tally.admitted for tally in tallies)
    figures = {
        "spot_throttle_rate": throttled_ppm(records) / PPM,
        "spot_throttle_rate_attempts": refused_attempts_ppm(records) / PPM,
        "spot_unserved_rate": 1 - completed / len(records),
    }
    if admitted:
        figures["evicted_rate"] = sum(tally.told_to_stop for tally in tallies) / admitted
    return figures


def _elastic(measures: Measures, frame: Frame) -> Figures:
    tallies = measures.of(ServiceClass.ELASTIC)
    shares = [share for tally in tallies if (share := _share(tally, frame)) is not None]
    figures: Figures = {}
    if len(tallies) < 2:
        return figures
    if (index := jain_index(shares)) is not None:
        figures["jain_index"] = index
    uids = [tally.uid for tally in tallies]
    figures["peer_starved_s_max"] = _starved_us_max(measures.samples, uids, frame) / US_PER_S
    if frame.has_outage:
        figures.update(_debt(measures.samples, uids, frame))
    return figures


def _share(tally: Tally, frame: Frame) -> float | None:
    """Return the slots it ran on over its baseline; None when it sent nothing in that span."""
    if not any(tally.between(*frame.scarce_us)):
        return None
    return slots_used(tally.records, frame) / frame.pool.entitlements[tally.uid].baseline.slots


def slots_used(records: Iterable[RequestRecord], frame: Frame) -> float:
    """Return the mean number of slots that the requests ran on in the scarce span."""
    start_us, end_us = frame.scarce_us
    ran_us = 0
    for each in records:
        if each.first_token_us is not None:
            began_us = max(start_us, each.first_token_us - frame.prefill_us)
            ran_us += max(0, min(end_us, each.ended_us) - began_us)
    return ran_us / (end_us - start_us)


def _debt(samples: Sequence[Sample], uids: Sequence[str], frame: Frame) -> Figures:
    peaks = {uid: debt_peak_ppm(samples, uid, frame) for uid in uids}
    highest = max(peaks.values())
    if not highest:
        return {}
    end_us = frame.scarce_us[1]
    owed = {uid for uid, peak in peaks.items() if peak}
    recovered_us = frame.end_us
    for sample in samples:
        if sample.at_us < end_us:
            continue
        owed -= {uid for uid in owed if _debt_of(sample, uid) * PPM <= peaks[uid] * RECOVERED_PPM}
        if not owed:
            recovered_us = sample.at_us
            break
    return {"debt_peak": highest / PPM, "debt_recovery_s": (recovered_us - end_us) / US_PER_S}


def debt_peak_ppm(samples: Sequence[Sample], uid: str, frame: Frame) -> int:
    """Return the highest debt in the scarce span; 0 when nothing was owed."""
    start_us, end_us = frame.scarce_us
    return max(
        (_debt_of(sample, uid) for sample in samples if start_us <= sample.at_us <= end_us),
        default=0,
    )


def _debt_of(sample: Sample, uid: str) -> int:
    line = sample.lines.get(uid)
    return max(0, line.priority.debt_ppm) if line and line.priority else 0


def _starved_us_max(samples: Sequence[Sample], uids: Sequence[str], frame: Frame) -> int:
    """Return the longest time in which one of them was starved at every sample."""
    longest = since_us = 0
    for before, sample in pairwise(samples):
        if not any(_is_starved(before, sample, uid, uids, frame.pool) for uid in uids):
            since_us = sample.at_us
        longest = max(longest, sample.at_us - since_us)
    return longest


def _is_starved(before: Sample, sample: Sample, uid: str, uids: Sequence[str], pool: Pool) -> bool:
    """Say whether it was refused below its baseline while a peer was above its own."""
    line = sample.lines[uid]
    if line.refusals == before.lines[uid].refusals or line.in_flight >= _slots(pool, uid):
        return False
    return any(sample.lines[peer].in_flight > _slots(pool, peer) for peer in uids if peer != uid)


def _slots(pool: Pool, uid: str) -> int:
    return pool.entitlements[uid].baseline.slots


def _one(measures: Measures, tally: Tally, frame: Frame) -> Figures:
    waits_us = ttfts_from_admission_us(tally.records)
    figures: Figures = {
        "requests": tally.requests,
        "completed": tally.outcomes[Outcome.COMPLETED],
        "slots_scarce": slots_used(tally.records, frame),
    }
    if tally.requests:
        figures["throttle_rate"] = tally.requests_refused / tally.requests
    if waits_us:
        figures["p99_ttft_s"] = _seconds(waits_us, P99_PPM)
    if frame.has_outage and tally.service_class is ServiceClass.ELASTIC:
        figures["debt_peak"] = debt_peak_ppm(measures.samples, tally.uid, frame) / PPM
    return figures


def checked(figures: Figures, table: Mapping[str, object]) -> Figures:
    """Return the figures; every name must be documented."""
    assert figures.keys() <= table.keys(), figures.keys() - table.keys()
    return figures
