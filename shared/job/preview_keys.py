"""Keys of the before-and-after previews of a job, and of the notes that say when to delete them."""

from datetime import date
from typing import Final

from shared.job.keys import JOBS, PREVIEWS
from shared.job.spec import ImageOutput, JobSpec

ENDED: Final = f"{JOBS}/.ended"
"""Folder of the notes of ended jobs; no job ID begins with a dot."""


def preview_key(spec: JobSpec, job_id: str, index: int) -> str:
    """Return the key of the preview of item *index*.

    Those of a `Preview` job lie beside its images, and are deleted with them.
    """
    if spec.image_output is ImageOutput.PREVIEW:
        return f"{PREVIEWS}/{spec.date}/{job_id}/previews/{index}.webp"
    return f"{preview_folder(job_id)}{index}.webp"


def preview_folder(job_id: str) -> str:
    """Return the prefix of all previews of a job that are kept for longer than a day."""
    return f"{JOBS}/{job_id}/previews/"


def ended_key(job_id: str, day: date) -> str:
    """Return the key of the note that a job ended on *day*, in UTC.

    A listing of `ENDED` in key order has the oldest notes first.
    """
    return f"{ENDED}/{day.isoformat()}/{job_id}"
