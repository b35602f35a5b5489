"""The named workloads of ``--workload NAME``; ``scene`` is what ``tokenpools run`` shows.

Tenants are named like the entitlements of ``console/scenes``, so they map by name.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from simulation.gaps import GapFamily
from simulation.lengths import Lengths, LogNormal, between, exactly
from simulation.workloads import TenantStream, Workload, phases

_CHAT: Final[Lengths] = LogNormal(median=160, sigma_percent=50, low=16, high=1_024)
_REPLY: Final[Lengths] = LogNormal(median=120, sigma_percent=45, low=16, high=512)

STEADY: Final = Workload(
    name="steady",
    about="three tenants of three classes, regular traffic below the pool's capacity",
    duration_s=60,
    streams=(
        TenantStream(
            tenant="assistant",
            phases=phases((0, 60, 1_200)),
            gaps=GapFamily.GAMMA,
            cv_percent=60,
            input_tokens=_CHAT,
            output_tokens=_REPLY,
        ),
        TenantStream(
            tenant="copilot",
            phases=phases((0, 60, 1_000)),
            input_tokens=_CHAT,
            output_tokens=_REPLY,
        ),
        TenantStream(
            tenant="batch",
            phases=phases((0, 60, 600)),
            input_tokens=_CHAT,
            output_tokens=_REPLY,
        ),
    ),
)

BURSTY: Final = Workload(
    name="bursty",
    about="the same three tenants on and off: Weibull gaps, bursts of four times the mean",
    duration_s=60,
    streams=(
        TenantStream(
            tenant="assistant",
            phases=phases((0, 10, 600), (10, 20, 3_000), (20, 40, 600), (40, 50, 3_000)),
            gaps=GapFamily.WEIBULL,
            cv_percent=150,
            input_tokens=_CHAT,
            output_tokens=_REPLY,
        ),
        TenantStream(
            tenant="copilot",
            phases=phases((5, 15, 4_000), (30, 45, 4_000)),
            gaps=GapFamily.WEIBULL,
            cv_percent=150,
            input_tokens=_CHAT,
            output_tokens=_REPLY,
        ),
        TenantStream(
            tenant="batch",
            phases=phases((0, 60, 2_000)),
            gaps=GapFamily.GAMMA,
            cv_percent=200,
            input_tokens=_CHAT,
            output_tokens=_REPLY,
        ),
    ),
)

# A tenant that "wants n slots" of the paper's engine sends n ÷ 8.533 s requests of 64 + 64 tokens
# (16 slots share 240 tokens/s): 703 per 1000 s for 6 slots, 1,172 for 10.
PAPER_1: Final = Workload(
    name="paper-1",
    about="arXiv 2603.00356, experiment 1: a guaranteed tenant joins from 30 s to 60 s",
    duration_s=90,
    streams=tuple(
        TenantStream(
            tenant=tenant,
            phases=phases(phase),
            input_tokens=exactly(64),
            output_tokens=exactly(64),
        )
        for tenant, phase in (
            ("guaranteed-a", (0, 90, 703)),
            ("spot-b", (0, 90, 1_172)),
            ("guaranteed-c", (30, 60, 703)),
        )
    ),
)

# "Lengths 32-176 tokens" is read like "64 + 64": input and output together, half each.  Their mean,
# 104, keeps a slot for 6.93 s: 721 requests per 1000 s for 5 slots.
PAPER_2: Final = Workload(
    name="paper-2",
    about="arXiv 2603.00356, experiment 2: three elastic tenants with SLOs of 0.5, 30 and 5 s",
    duration_s=300,
    streams=tuple(
        TenantStream(
            tenant=tenant,
            phases=phases(phase),
            input_tokens=between(16, 88),
            output_tokens=between(16, 88),
        )
        for tenant, phase in (
            ("elastic-copilot", (0, 300, 721)),
            ("elastic-synth", (0, 300, 721)),
            ("elastic-reports", (210, 300, 721)),
        )
    ),
)

# Slots of 100 tokens/s, requests of about 300 tokens: a request keeps a slot for 3 s, so a rate of
# 1,000 per 1000 s needs 3 slots on average.  One replica has 16 slots.  Calm until 6 s, then more
# than one replica can give until the second is there, then enough room to pay the debts back and at
# last for a guaranteed tenant (voice) that wants more than its floor.
SCENE: Final = Workload(
    name="scene",
    about="tenants of four classes, seven in all, on a pool too small for them",
    duration_s=34,
    streams=(
        TenantStream(
            tenant="assistant",
            phases=phases((0, 6, 600), (6, 26, 1_000), (26, 34, 600)),
            gaps=GapFamily.GAMMA,
            cv_percent=35,
            input_tokens=_CHAT,
            output_tokens=_REPLY,
        ),
        TenantStream(
            tenant="search",
            phases=phases((2, 34, 700)),
            gaps=GapFamily.GAMMA,
            cv_percent=35,
            input_tokens=exactly(200),
            output_tokens=between(60, 120),
        ),
        TenantStream(
            tenant="copilot",
            phases=phases((0, 6, 1_000), (6, 19, 3_200), (19, 29, 1_800), (29, 34, 500)),
            gaps=GapFamily.WEIBULL,
            cv_percent=130,
            input_tokens=_CHAT,
            output_tokens=_REPLY,
        ),
        TenantStream(
            tenant="reports",
            phases=phases((5, 20, 2_400), (20, 29, 1_200)),
            gaps=GapFamily.WEIBULL,
            cv_percent=130,
            input_tokens=_CHAT,
            output_tokens=_REPLY,
        ),
        TenantStream(
            tenant="batch",
            phases=phases((0, 27, 2_200)),
            gaps=GapFamily.GAMMA,
            cv_percent=180,
            input_tokens=_CHAT,
            output_tokens=_REPLY,
        ),
        TenantStream(
            tenant="voice",
            phases=phases((1, 8, 900), (8, 18, 400), (18, 26, 900), (26, 34, 1_900)),
            input_tokens=exactly(100),
            output_tokens=between(60, 100),
        ),
        TenantStream(
            tenant="crawler",
            phases=phases((0, 8, 1_500), (8, 33, 600)),
            gaps=GapFamily.GAMMA,
            cv_percent=60,
            input_tokens=exactly(160),
            output_tokens=between(300, 500),
        ),
    ),
)

DEFAULT_SEED: Final = 3
"""A seed whose scene shows all there is to see."""

WORKLOADS: Final[Mapping[str, Workload]] = {
    workload.name: workload for workload in (SCENE, STEADY, BURSTY, PAPER_1, PAPER_2)
}
