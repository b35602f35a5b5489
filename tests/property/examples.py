"""How many examples a law is tried on that is too dear, or too important, for the usual number."""

from __future__ import annotations

import os
from typing import Final

from hypothesis import settings

from tests.conftest import REQUIRE_ALL

LEAST: Final = 2
"""The first example is the simplest one, every time; only the next are drawn."""


def examples(number: int) -> settings:
    """Try so many where everything must run, and half of them while one works."""
    tried = number if os.environ.get(REQUIRE_ALL) else max(LEAST, number // 2)
    return settings(max_examples=tried, deadline=None)
