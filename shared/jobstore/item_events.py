"""Events of single items, which are only written while somebody listens to their job."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final, NamedTuple, Self

from shared.jobstore import layout
from shared.jobstore.connection import StorePart, to_ms

LISTEN_S: Final = 30.0
"""How long events are written after a call of `listen`, in seconds."""
READ_MOST: Final = 1000
"""Most events of a job that one call reads."""
_POSITION: Final = re.compile(r"([0-9]{1,9})[.-]([0-9]{1,9})")


class Position(NamedTuple):
    """A place among the events of a job."""

    generation: int
    ended: int
    """Items that had ended, in this or an earlier generation."""

    @classmethod
    def parse(cls, text: str) -> Self | None:
        """Return the position that *text* names, or None.

        >>> str(Position.parse("2.17"))
        '2.17'
        >>> Position.parse("2.x") is None
        True
        """
        found = _POSITION.fullmatch(text)
        return cls(int(found[1]), int(found[2])) if found else None

    def __str__(self) -> str:
        return f"{self.generation}.{self.ended}"

    def precedes(self, other: "Position") -> bool:
        """Return whether no event is between this one and *other*."""
        return other == (self.generation, self.ended + 1)


@dataclass(frozen=True)
class ItemEvent:
    """An item has ended."""

    position: Position
    index: int
    state: str
    verdict: str
    """Empty for a failed item."""
    error: str
    """Class of the error; empty for a done item."""


class ItemEvents(StorePart):
    """Lets processes follow the ends of items without reading records."""

    def listen(self, job_ids: Iterable[str]) -> None:
        """Let events of these jobs be written for the next `LISTEN_S`."""
        with self.connection.commands() as client, client.pipeline(transaction=False) as pipe:
            for job_id in job_ids:
                pipe.set(layout.job(job_id, "listened"), "", px=to_ms(LISTEN_S))
            pipe.execute()

    def after(self, positions: Mapping[str, Position]) -> dict[str, list[ItemEvent]]:
        """Return the events of jobs after a position of each, at most `READ_MOST` of a job.

        Jobs without events are left out. A gap means that events were not written, or that there
        were too many to keep.
        """
        if not positions:
            return {}
        streams: dict[Any, Any] = {
            layout.job(job_id, "told"): str(at).replace(".", "-")
            for job_id, at in positions.items()
        }
        with self.connection.commands() as client:
            found: Any = client.xread(streams, count=READ_MOST)
        names = dict(zip((name.encode() for name in streams), positions, strict=True))
        return {names[stream]: [_event(*each) for each in events] for stream, events in found}


def _event(position: bytes, fields: Mapping[bytes, bytes]) -> ItemEvent:
    at = Position.parse(position.decode())
    assert at is not None  # noqa: S101 - the ID of a stream
    return ItemEvent(
        position=at,
        index=int(fields[b"index"]),
        state=fields[b"state"].decode(),
        verdict=fields[b"verdict"].decode(),
        error=fields[b"error"].decode(),
    )
