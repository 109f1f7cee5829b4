"""Keys of the notes by which housekeeping finds what is due; their folders sort by day.

No job ID begins with a dot. A listing in key order has the oldest notes first.
"""

from datetime import date
from typing import Final

from shared.job.keys import JOBS

ENDED: Final = f"{JOBS}/.ended"
"""Folder of the notes of jobs with previews or images that their recipes name."""
MERGED: Final = f"{JOBS}/.merged"
"""Folder of the notes of jobs whose `results.jsonl` holds all records."""

SUBMITTING: Final = f"{JOBS}/.submitting"
"""Folder of the submissions that gateways have accepted and that are not jobs yet."""
SUBMITTED: Final = f"{JOBS}/.submitted"
"""Folder of what became of them."""

UPLOADED: Final = f"{JOBS}/.uploaded"
"""Folder of the notes of tenants that have uploaded images."""


def uploaded_key(tenant: str, day: str) -> str:
    """Return the key of the note that a tenant uploaded images on *day*, `YYYY-MM-DD` in UTC."""
    return f"{UPLOADED}/{day}/{tenant}"


def ended_key(job_id: str, day: date) -> str:
    """Return the key of the note that a job ended on *day*, in UTC, or that it was to begin."""
    return f"{ENDED}/{day.isoformat()}/{job_id}"


def merged_key(job_id: str, day: date) -> str:
    """Return the key of the note that the shards of a job were merged on *day*, in UTC."""
    return f"{MERGED}/{day.isoformat()}/{job_id}"
