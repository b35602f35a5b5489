"""The log: one structured line to stderr per event worth asking about, none per request."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from datetime import UTC, datetime

Log = Callable[..., None]


def log(event: str, **fields: object) -> None:
    """Write one line of JSON: when, which process, what happened, and its particulars."""
    at = datetime.now(UTC).isoformat(timespec="milliseconds")
    line = {"at": at, "process": "admission", "event": event, **fields}
    print(json.dumps(line, default=str), file=sys.stderr, flush=True)
