"""The result of a probe."""

from dataclasses import dataclass
from enum import StrEnum

from shared.errors import RedisRefused, RmbgError


class Level(StrEnum):
    """How serious a finding is."""

    OK = "ok"
    WARNING = "warning"
    """The service works, with a risk that the message names."""
    UNAVAILABLE = "unavailable"
    """The service does not work now; workers wait until it does."""
    UNFIT = "unfit"
    """Work would be lost or damaged; workers do not start."""


@dataclass(frozen=True)
class Finding:
    """What a probe found: one sentence, and for a fault what to do."""

    subject: str
    level: Level
    detail: str

    @property
    def is_fault(self) -> bool:
        """Whether somebody has to fix something before jobs run."""
        return self.level in (Level.UNAVAILABLE, Level.UNFIT)


def level_of(err: RmbgError) -> Level:
    """Return the level of an error of a service."""
    return Level.UNFIT if isinstance(err, RedisRefused) else Level.UNAVAILABLE
