"""One item, as a ticket hands it to the engine."""

from __future__ import annotations

from dataclasses import dataclass

from shared.job.spec import JobSpec
from worker.inference.api import Model


@dataclass(frozen=True, kw_only=True)
class Work:
    """One item, as a ticket hands it to the engine."""

    job_id: str
    sequence: int
    """The job's place among all jobs; a later one's output is never replaced."""
    spec: JobSpec
    index: int
    image_key: str
    model: Model
    generation: int = 1
    """The job's round: 1, and one more each time that some of its items are opened again."""
    attempts_before: int = 0
    """Attempts of earlier generations and processes, as far as they are known."""
    redo: bool = False
    """Whether somebody may have done it already: then the bucket is asked first."""
    isolate: bool = False
    """Whether it is decoded in a child process whatever its format."""
    urgent: bool = False
    """Whether it goes before others in every queue."""
