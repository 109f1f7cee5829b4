"""A job that somebody listens to, and what its listeners are told."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from producer.gateway import messages
from producer.gateway.listener import Listener
from producer.gateway.messages import Message
from shared.job.spec import TERMINAL_STATES
from shared.jobstore.item_events import READ_MOST, ItemEvent, Position
from shared.jobstore.values import JobStatus


@dataclass
class Watch:
    """A job that somebody listens to."""

    listeners: set[Listener] = field(default_factory=set)
    at: Position | None = None
    """Latest event that was told; None until the first stream has begun."""
    status: JobStatus | None = None
    """Latest status that was told."""

    def tell(self, status: JobStatus | None, events: Sequence[ItemEvent]) -> None:
        """Tell the listeners what is new.

        Args:
            status: The status; None if Redis does not know the job any more.
            events: Events after `at`, read after the status.
        """
        if status is None:
            self._put(messages.GONE)
            self.end()
            return
        at = self._tell_items(status, events)
        if status != self.status:
            self.status = status
            self._put(messages.progress(status))
        if status.state in TERMINAL_STATES and at >= position_of(status):
            self._put(messages.done(status))
            self.end()

    def end(self) -> None:
        """End all streams of the job."""
        for listener in self.listeners:
            listener.end()

    def _tell_items(self, status: JobStatus, events: Sequence[ItemEvent]) -> Position:
        """Tell the events in order, or that some are missing; return the latest position."""
        end = at = self.at or position_of(status)
        for event in events:
            end = event.position
            if not at.precedes(end):
                break
            at = end
            self._put(messages.item(event))
        if at != end or (len(events) < READ_MOST and at < position_of(status)):
            at = max(position_of(status), *(event.position for event in events[-1:]), at)
            self._put(messages.reset(status, at))
        self.at = at
        return at

    def _put(self, message: Message) -> None:
        for listener in self.listeners:
            listener.put(message)


def position_of(status: JobStatus) -> Position:
    """Return the position at which a job is."""
    return Position(status.generation, status.done + status.failed)
