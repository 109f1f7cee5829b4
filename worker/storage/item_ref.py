"""The facts about an item that reading its source and writing its outputs need."""

from dataclasses import dataclass

from shared.job.spec import JobSpec


@dataclass(frozen=True, kw_only=True)
class ItemRef:
    """One image of a job."""

    job_id: str
    sequence: int
    """Place of the job among all jobs; the output of a later job is never replaced."""
    spec: JobSpec
    index: int
    """Place of the image in its job."""
    image_key: str
    generation: int = 1
    """Round of the job: 1, and one more each time that items of it are opened again."""
    repaired: int = 1
    """Generation of the last repair: what earlier ones wrote may be damaged."""
