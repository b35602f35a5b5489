"""Workloads: seeded request streams for those who have no trace at hand.

A workload is a set of tenant streams.  A stream has phases (a rate between two instants: off is a
phase of rate 0), a family and variation of gaps, and distributions of lengths.  Gaps are drawn in
"expected requests" and stretched by the phases' rates, so a burst keeps the stream's variation.
The same workload and seed give the same arrivals, tenant by tenant: adding one tenant does not
change another's.
"""

from __future__ import annotations

import heapq
import random
from collections.abc import Iterator
from dataclasses import dataclass

from schemas.units import PPM, US_PER_S
from simulation.arrivals import Arrival
from simulation.gaps import GapFamily, draw_gap
from simulation.lengths import Lengths, draw_length


@dataclass(frozen=True, kw_only=True)
class Phase:
    """A rate between two instants of the workload: ``[start_s, end_s)``."""

    start_s: int
    end_s: int
    requests_per_1000s: int


@dataclass(frozen=True, kw_only=True)
class TenantStream:
    """The requests of one tenant."""

    tenant: str
    model: str = "sim-8b"
    phases: tuple[Phase, ...]
    """In order, without overlap; between them the tenant is silent."""
    gaps: GapFamily = GapFamily.POISSON
    cv_percent: int = 100
    input_tokens: Lengths
    output_tokens: Lengths


@dataclass(frozen=True, kw_only=True)
class Workload:
    """A named set of tenant streams."""

    name: str
    about: str
    """One sentence for the screen."""
    duration_s: int
    streams: tuple[TenantStream, ...]
    speed_ppm: int = PPM
    """2,000,000: the same requests in half the time."""

    @property
    def duration_us(self) -> int:
        """How long it lasts at its speed."""
        return self.duration_s * US_PER_S * PPM // self.speed_ppm

    @property
    def tenants(self) -> tuple[str, ...]:
        """Who sends requests, in the order of the streams."""
        return tuple(stream.tenant for stream in self.streams)


def generate(workload: Workload, *, seed: int) -> Iterator[Arrival]:
    """Yield the workload's requests in the order of their offsets."""
    streams = (_arrivals(workload, stream, seed=seed) for stream in workload.streams)
    return heapq.merge(*streams, key=lambda arrival: (arrival.offset_us, arrival.tenant))


def _arrivals(workload: Workload, stream: TenantStream, *, seed: int) -> Iterator[Arrival]:
    rng = random.Random(f"{seed}/{workload.name}/{stream.tenant}")
    for offset_us in _instants(stream, rng):
        if offset_us >= workload.duration_s * US_PER_S:
            return
        yield Arrival(
            offset_us=offset_us * PPM // workload.speed_ppm,
            tenant=stream.tenant,
            model=stream.model,
            input_tokens=draw_length(stream.input_tokens, rng),
            output_tokens=draw_length(stream.output_tokens, rng),
        )


def _instants(stream: TenantStream, rng: random.Random) -> Iterator[int]:
    """Yield offsets in microseconds: gaps of mean 1 spent against each phase's rate."""
    gap = draw_gap(stream.gaps, stream.cv_percent, rng)
    for phase in stream.phases:
        at_us, end_us = phase.start_s * US_PER_S, phase.end_s * US_PER_S
        if not phase.requests_per_1000s:
            continue
        us_per_request = 1_000 * US_PER_S / phase.requests_per_1000s
        while at_us + gap * us_per_request < end_us:
            at_us += round(gap * us_per_request)
            yield at_us
            gap = draw_gap(stream.gaps, stream.cv_percent, rng)
        gap -= (end_us - at_us) / us_per_request
        gap = max(gap, 0.0)


def phases(*rates: tuple[int, int, int]) -> tuple[Phase, ...]:
    """Return phases from ``(start_s, end_s, requests_per_1000s)``."""
    return tuple(
        Phase(start_s=start, end_s=end, requests_per_1000s=rate) for start, end, rate in rates
    )
