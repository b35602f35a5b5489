"""OpenTelemetry GenAI names: the one place where they are mapped to usage data.

The semantic conventions count cached tokens inside ``gen_ai.usage.input_tokens``; a usage event
counts uncached input only.  The rule is applied here and nowhere else.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from schemas.units import TokenCounts

INPUT_TOKENS: Final = "gen_ai.usage.input_tokens"
OUTPUT_TOKENS: Final = "gen_ai.usage.output_tokens"
CACHE_READ_TOKENS: Final = "gen_ai.usage.cache_read.input_tokens"
CACHE_WRITE_TOKENS: Final = "gen_ai.usage.cache_creation.input_tokens"
REASONING_TOKENS: Final = "gen_ai.usage.reasoning.output_tokens"
REQUEST_MODEL: Final = "gen_ai.request.model"
RESPONSE_MODEL: Final = "gen_ai.response.model"


def counts_of(attributes: Mapping[str, int]) -> TokenCounts:
    """Return the token counts of a span's attributes; cached input is taken out of the input."""
    read = attributes.get(CACHE_READ_TOKENS, 0)
    write = attributes.get(CACHE_WRITE_TOKENS, 0)
    return TokenCounts(
        input_tokens=max(0, attributes.get(INPUT_TOKENS, 0) - read - write),
        cache_read_tokens=read,
        cache_write_tokens=write,
        output_tokens=attributes.get(OUTPUT_TOKENS, 0),
        reasoning_tokens=attributes.get(REASONING_TOKENS, 0),
    )


def attributes_of(counts: TokenCounts) -> dict[str, int]:
    """Return the span attributes of token counts; the inverse of ``counts_of``."""
    return {
        INPUT_TOKENS: counts.input_tokens + counts.cache_read_tokens + counts.cache_write_tokens,
        OUTPUT_TOKENS: counts.output_tokens,
        CACHE_READ_TOKENS: counts.cache_read_tokens,
        CACHE_WRITE_TOKENS: counts.cache_write_tokens,
        REASONING_TOKENS: counts.reasoning_tokens,
    }
