"""What a run's measures say under each key, on measures small enough to count by hand."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from schemas.specs import ServiceClass
from schemas.units import US_PER_S
from simulation.experiments.figures import Frame, entitlement_figures, figures_of
from simulation.experiments.keys import ENTITLEMENT_KEYS, KEYS
from simulation.experiments.series import series_of
from simulation.experiments.setups import CROSS_CLASS, FAIR_SHARE
from simulation.policy import Priority
from simulation.world.measures import Line, Measures, Outcome, RequestRecord, Sample, Tally

S = US_PER_S
PREFILL_US = 200_000


def record(
    number: int, *, at_s: int, refusals: int = 0, wait_us: int | None = 0, lasts_s: int = 8
) -> RequestRecord:
    """A request; ``wait_us`` None: never admitted."""
    at_us = at_s * S
    if wait_us is None:
        return RequestRecord(number, at_us, at_us, Outcome.GAVE_UP, refusals, refusals)
    return RequestRecord(
        number,
        at_us,
        at_us + wait_us + lasts_s * S,
        Outcome.COMPLETED,
        refusals + 1,
        refusals,
        admitted_us=at_us,
        first_token_us=at_us + wait_us + PREFILL_US,
        output_tokens=64,
    )


def tally(uid: str, service_class: ServiceClass, *records: RequestRecord) -> Tally:
    made = Tally(
        uid=uid,
        service_class=service_class,
        requests=len(records),
        attempts=sum(each.attempts for each in records),
        requests_refused=sum(each.refusals > 0 for each in records),
        admitted=sum(each.admitted_us is not None for each in records),
        records=list(records),
    )
    made.outcomes.update(each.outcome for each in records)
    return made


def frame(*, has_outage: bool = False) -> Frame:
    return Frame(
        pool=(FAIR_SHARE if has_outage else CROSS_CLASS).pool,
        end_us=100 * S,
        scarce_us=(30 * S, 60 * S),
        has_outage=has_outage,
        prefill_us=PREFILL_US,
    )


def measures(*tallies: Tally, samples: list[Sample] | None = None) -> Measures:
    return Measures(
        policy="any",
        seed=1,
        duration_us=100 * S,
        tallies={each.uid: each for each in tallies},
        samples=samples or [sample(0), sample(100)],
    )


def sample(at_s: int, lines: Mapping[str, Line] | None = None, *, busy_slot_s: int = 0) -> Sample:
    return Sample(
        at_us=at_s * S,
        waiting=0,
        running=0,
        slots=16,
        busy_slot_us=busy_slot_s * S,
        slot_us=16 * at_s * S,
        lines=lines or {},
    )


def test_spot_is_judged_by_the_unique_requests_of_the_overload_and_by_their_attempts() -> None:
    spot = tally(
        "spot-b",
        ServiceClass.SPOT,
        record(1, at_s=29, refusals=5),
        record(2, at_s=30),
        record(3, at_s=40, refusals=3),
        record(4, at_s=50, refusals=2, wait_us=None),
        record(5, at_s=59),
        record(6, at_s=60, refusals=5),
    )

    figures = figures_of(measures(spot), frame())

    assert figures["spot_throttle_rate"] == 0.5
    assert figures["spot_throttle_rate_attempts"] == pytest.approx(5 / 8, abs=1e-6)
    assert figures["spot_unserved_rate"] == 0.25


def test_a_reserved_request_waits_when_its_first_token_is_later_than_the_prefill() -> None:
    guaranteed = tally(
        "guaranteed-a",
        ServiceClass.GUARANTEED,
        record(1, at_s=1),
        record(2, at_s=2, wait_us=700_000),
        record(3, at_s=3, refusals=1, wait_us=None),
        record(4, at_s=4),
    )

    figures = figures_of(measures(guaranteed), frame())

    assert figures["guaranteed_p99_ttft_s"] == 0.9
    assert figures["guaranteed_p50_ttft_s"] == 0.2
    assert figures["guaranteed_wait_rate"] == pytest.approx(1 / 3)
    assert figures["guaranteed_throttle_rate"] == 0.25
    assert figures["guaranteed_floor_refusals"] == 0


def test_a_demoted_request_says_nothing_about_the_reserved_ones() -> None:
    slow = record(2, at_s=2, wait_us=9 * S)._replace(demoted=True)
    guaranteed = tally("guaranteed-a", ServiceClass.GUARANTEED, record(1, at_s=1), slow)

    assert figures_of(measures(guaranteed), frame())["guaranteed_p99_ttft_s"] == 0.2


def test_utilisation_is_busy_over_available_slot_time() -> None:
    samples = [
        sample(0),
        sample(30, busy_slot_s=240),
        sample(60, busy_slot_s=720),
        sample(100, busy_slot_s=800),
    ]

    figures = figures_of(measures(samples=samples), frame())

    assert figures["utilisation"] == 0.5
    assert figures["utilisation_overload"] == 1.0


def test_service_is_the_slot_time_inside_the_scarce_span() -> None:
    copilot = tally(
        "elastic-copilot",
        ServiceClass.ELASTIC,
        record(1, at_s=25, lasts_s=10),
        record(2, at_s=40, lasts_s=10),
        record(3, at_s=55, lasts_s=20),
    )
    synth = tally("elastic-synth", ServiceClass.ELASTIC, record(4, at_s=30, lasts_s=20))
    lines = {"elastic-copilot": Line(0, 0, 0, None), "elastic-synth": Line(0, 0, 0, None)}
    seen = measures(copilot, synth, samples=[sample(0, lines), sample(100, lines)])

    figures = figures_of(seen, frame(has_outage=True))
    each = entitlement_figures(seen, frame(has_outage=True))

    assert each["elastic-copilot"]["slots_scarce"] == pytest.approx(20 / 30)
    assert each["elastic-synth"]["slots_scarce"] == pytest.approx(20 / 30)
    assert figures["jain_index"] == pytest.approx(1.0)


def owing(copilot: int, synth: int) -> dict[str, Line]:
    return {
        "elastic-copilot": Line(0, 0, 0, Priority(weight_ppm=1, debt_ppm=copilot)),
        "elastic-synth": Line(0, 0, 0, Priority(weight_ppm=1, debt_ppm=synth)),
    }


@pytest.mark.parametrize(
    ("late", "recovered_s"),
    [
        pytest.param(owing(20_000, 10_000), 20.0, id="all at 5 % of their own peaks"),
        pytest.param(owing(20_001, 10_000), 40.0, id="one a little above: not before the end"),
    ],
)
def test_debt_is_paid_back_when_every_peak_has_faded(
    late: dict[str, Line], recovered_s: float
) -> None:
    samples = [
        sample(0, owing(900_000, 0)),
        sample(40, owing(400_000, 200_000)),
        sample(60, owing(300_000, 100_000)),
        sample(80, late),
        sample(100, late),
    ]
    tallies = [tally(uid, ServiceClass.ELASTIC) for uid in owing(0, 0)]

    figures = figures_of(measures(*tallies, samples=samples), frame(has_outage=True))

    assert figures["debt_peak"] == 0.4
    assert figures["debt_recovery_s"] == recovered_s


def test_a_tenant_is_starved_while_it_is_refused_below_its_baseline_and_a_peer_is_above() -> None:
    def lines(copilot: int, synth: int, refusals: int) -> dict[str, Line]:
        return {
            "elastic-copilot": Line(copilot, 0, 0, None),
            "elastic-synth": Line(synth, refusals, refusals, None),
        }

    samples = [
        sample(0, lines(5, 3, 0)),
        sample(1, lines(6, 3, 1)),
        sample(2, lines(6, 2, 2)),
        sample(3, lines(6, 2, 2)),
        sample(4, lines(5, 2, 3)),
        sample(5, lines(6, 4, 4)),
    ]
    tallies = [tally(uid, ServiceClass.ELASTIC) for uid in owing(0, 0)]

    figures = figures_of(measures(*tallies, samples=samples), frame(has_outage=True))

    assert figures["peer_starved_s_max"] == 2.0


def test_series_have_a_refusal_rate_per_five_seconds_and_a_latency_per_class() -> None:
    spot = tally("spot", ServiceClass.SPOT, record(1, at_s=1), record(2, at_s=11, wait_us=S))
    samples = [sample(at_s, {"spot": Line(at_s % 3, 2 * at_s, at_s, None)}) for at_s in range(11)]

    lines = {(line.panel, line.name): line for line in series_of(measures(spot, samples=samples))}

    assert lines["refusals", "spot"].times_s == (5.0, 10.0)
    assert lines["refusals", "spot"].values == (0.5, 0.5)
    assert lines["latency", "spot"].times_s == (5.0, 10.0, 15.0)
    assert lines["latency", "spot"].values == (0.2, None, 1.2)
    assert lines["in_flight", "spot"].values[:4] == (0, 1, 2, 0)
    assert lines["debt", "spot"].values == (None,) * 11


def test_every_key_has_a_meaning_and_a_unit() -> None:
    assert all(key.meaning and key.unit for key in [*KEYS.values(), *ENTITLEMENT_KEYS.values()])
