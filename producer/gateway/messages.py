"""Messages of a stream of server-sent events, as bytes."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

from pydantic import TypeAdapter

from shared.jobstore.item_events import ItemEvent, Position
from shared.jobstore.values import JobStatus

_STATUS: Final = TypeAdapter(JobStatus)


@dataclass(frozen=True)
class Message:
    """One message, or a comment."""

    data: bytes
    at: Position | None = None
    """Where the reader is after it; None: where it was."""
    is_reset: bool = False
    """Whether events before `at` may be missing."""


COMMENT: Final = Message(b": \n\n")
"""Keeps a silent connection open."""
GONE: Final = Message(b"event: gone\ndata: {}\n\n")
"""The job is not known any more."""


def progress(status: JobStatus, at: Position | None = None) -> Message:
    """Return the message of a status; the first one of a stream has a position."""
    return _message("progress", _STATUS.dump_json(status), at)


def done(status: JobStatus) -> Message:
    """Return the last message of a job."""
    return _message("done", _STATUS.dump_json(status), None)


def reset(status: JobStatus, at: Position) -> Message:
    """Return the message that says where to read the results again: events are missing."""
    body = {"status": _STATUS.dump_python(status, mode="json"), "cursor": 0}
    return Message(_message("reset", _json(body), at).data, at, is_reset=True)


def item(event: ItemEvent) -> Message:
    """Return the message of an item that has ended."""
    body = {
        "index": event.index,
        "state": event.state,
        "verdict": event.verdict or None,
        "error": event.error or None,
    }
    return _message("item", _json(body), event.position)


def opening(
    status: JobStatus, at: Position, missed: Sequence[ItemEvent] | None
) -> Iterator[Message]:
    """Yield what a stream begins with.

    Args:
        status: The status of the job.
        at: Where the reader is after these messages.
        missed: Events since the position that the caller named; None: they are not there any more.
    """
    if missed is None:
        yield reset(status, at)
    else:
        yield from map(item, missed)
        yield progress(status, at)


def _message(name: str, data: bytes, at: Position | None) -> Message:
    place = f"id: {at}\n" if at else ""
    return Message(f"{place}event: {name}\ndata: ".encode() + data + b"\n\n", at)


def _json(body: dict[str, Any]) -> bytes:
    return json.dumps(body, separators=(",", ":")).encode()
