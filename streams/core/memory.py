"""Memory: was this event accepted before, in this fold or an earlier one?

Numbered events are looked up in their line, others by identity, replayed dead letters by the
position that they name.  The memory of a fold is laid over what the ledger holds and never changes
it, so a fold stays a pure function.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from schemas.ledger import ReplayedEntry
from schemas.positions import Position
from schemas.usage import UsageEvent
from streams.core.lines import NO_BODIES, Line
from streams.core.marks import Seen, identity_of, place_of, position_of_place
from streams.core.outcome import States
from streams.core.tally import Desk


@dataclass
class Memory:
    """What was accepted before a fold, and what the fold accepts."""

    states: States
    epoch: int
    partition: int
    dropped: int = 0
    """Blocks of marks that the fold forgets; they count as gone already."""
    fresh: dict[int, int] = field(default_factory=dict)
    """By identity: index in ``marks``."""
    marks: list[tuple[int, int, int]] = field(default_factory=list)
    """Identity, body and place of each unnumbered event that the fold accepts."""
    marks_event_us_max: int = 0
    replayed: dict[Position, ReplayedEntry] = field(default_factory=dict)
    gaps_closed: int = 0

    def line(self, desk: Desk, source: str) -> Line:
        """Return the line of a gateway in a pool."""
        line = desk.lines.get(source)
        if line is None:
            key = (desk.name, source)
            known = self.states.bodies.by_line.get(key, NO_BODIES)
            line = desk.lines[source] = Line(key, self.states.lines.get(key), known)
        return line

    def mark(self, identity: int, event_us: int, *, body: int, place: int) -> None:
        """Accept an unnumbered event."""
        self.fresh[identity] = len(self.marks)
        self.marks.append((identity, body, place))
        self.marks_event_us_max = max(self.marks_event_us_max, event_us)

    def marked(self, identity: int) -> Seen | None:
        """Return what accepted the identity."""
        index = self.fresh.get(identity)
        if index is None:
            return self.states.marks.seen(identity, dropped=self.dropped)
        _, body, place = self.marks[index]
        return Seen(body, position_of_place(place, self.epoch, self.partition))

    def seen(self, event: UsageEvent, desk: Desk) -> Seen | None:
        """Return what accepted the event before; None: it is new."""
        if event.sequence is None:
            return self.marked(identity_of(event.source, event.id))
        return self.line(desk, event.source).seen(event.sequence)

    def is_closed(self, event: UsageEvent, desk: Desk) -> bool:
        """Say whether its number stands in a gap that was closed for want of room."""
        if event.sequence is None:
            return False
        return self.line(desk, event.source).is_closed(event.sequence)

    def replay(self, replays: Position) -> Seen | None:
        """Return where the dead letter at this position was counted, if it was."""
        entry = self.replayed.get(replays) or self.states.replayed.get(replays)
        return None if entry is None else Seen(first=entry.position)

    def remember(
        self, event: UsageEvent, desk: Desk, *, body: int, position: Position, stored_us: int
    ) -> None:
        """Accept an event that is new."""
        place = place_of(position.offset, position.index)
        if event.sequence is None:
            identity = identity_of(event.source, event.id)
            if self.marked(identity) is None:
                self.mark(identity, event.event_us, body=body, place=place)
            return
        line = self.line(desk, event.source)
        if line.seen(event.sequence) is None and not line.is_closed(event.sequence):
            self.gaps_closed += line.take(event.sequence, body)
            line.touch(event.event_us, place=place, stored_us=stored_us)

    def remember_replay(self, replays: Position, *, position: Position) -> None:
        """Accept a replayed dead letter."""
        entry = ReplayedEntry(partition=self.partition, position=position, replays=replays)
        self.replayed.setdefault(replays, entry)
