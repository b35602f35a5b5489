"""Coverage: does the ledger hold everything that was committed, and does ``usage`` hold the rest?

A position is committed only after the ledger's changelog has it.  A ledger that stands before the
committed offset has therefore lost records: its changelog was deleted or truncated.  Folding on
from there would count again what history has, or count from nothing, so a start refuses.

Offsets are of one partition; the decision is a value and nothing here asks Kafka.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from schemas.errors import SettingsError

REBUILD: Final = "TOKENPOOLS_REBUILD_LEDGER"


class LedgerLostError(SettingsError):
    """The ledger stands before what was committed."""


@dataclass(frozen=True, kw_only=True)
class Partition:
    """What the logs of one partition say when it is taken over."""

    number: int
    through: int
    """The last offset in the ledger; -1: none."""
    committed: int
    """The next offset to be read, as the group committed it; 0: nothing."""
    usage_begin: int
    """The first offset that ``usage`` still has."""
    verdicts_begin: int
    verdicts_wanted: int
    """From where ``verdicts`` must be read so that what was published binds."""

    @property
    def is_behind(self) -> bool:
        """Whether the ledger lacks what was committed."""
        return self.committed > self.through + 1

    @property
    def can_rebuild(self) -> bool:
        """Whether the logs still hold all that the ledger lacks, and how it was judged."""
        return self.usage_begin <= self.through + 1 and self.verdicts_begin <= self.verdicts_wanted

    @property
    def lost_offsets(self) -> int:
        """Offsets that retention took before they were read; transaction markers count too."""
        return max(0, self.usage_begin - self.through - 1)


def check(partition: Partition, *, topic: str, group: str, rebuild: bool) -> None:
    """Raise ``LedgerLostError`` unless the ledger covers what was committed, or may be rebuilt."""
    if not partition.is_behind or (rebuild and partition.can_rebuild):
        return
    stands = f"at offset {partition.through}" if partition.through >= 0 else "empty"
    what = (
        f"the ledger of {topic} partition {partition.number} is {stands}, but the group {group} "
        f"has committed offset {partition.committed}: the changelog of `consumption` was deleted "
        "or truncated. Restore that topic from a copy"
    )
    if partition.can_rebuild:
        raise LedgerLostError(
            f"{what}; or start once with {REBUILD}=1: `usage` and `verdicts` still hold everything "
            "from there, and folding it again comes to the same totals"
        )
    raise LedgerLostError(
        f"{what}. It cannot be made anew ({REBUILD}): retention has taken `usage` before offset "
        f"{partition.usage_begin} or `verdicts` before offset {partition.verdicts_begin}. History "
        "still has what was counted; to begin at zero beside it, delete `usage`, `verdicts` and "
        "the changelogs, create them again and run `tokenpools new-epoch`"
    )
