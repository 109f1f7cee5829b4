"""Keys of the before-and-after previews of a job."""

from shared.job.keys import JOBS, PREVIEWS
from shared.job.spec import ImageOutput, JobSpec


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
