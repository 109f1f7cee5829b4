"""How many tickets this worker processes at once."""

from dataclasses import dataclass

from worker.inference import ModelCache


@dataclass(frozen=True)
class Slots:
    """Slots for tickets of any kind, and more of them for interactive ones."""

    shared: int
    """Tickets of other queues than the interactive one, at most."""
    given: int | None
    """Slots for interactive tickets alone, or None: as many as the device takes in a batch."""
    models: ModelCache

    @property
    def interactive(self) -> int:
        """Slots that only interactive tickets take; known when the models are loaded.

        A ticket of a single image fills one slot, so fewer slots would make smaller batches.
        """
        return self.models.batch_size if self.given is None else self.given

    @property
    def total(self) -> int:
        """All slots; interactive tickets may take any."""
        return self.shared + self.interactive
