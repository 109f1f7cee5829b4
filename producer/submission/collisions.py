"""Find running jobs that write to the same keys as a job that is about to be submitted."""

from collections.abc import Iterator
from dataclasses import dataclass

from producer.services import Services
from shared.errors import InvalidOption
from shared.job.output_keys import numbered_names
from shared.job.spec import TERMINAL_STATES, ImageOutput, JobSpec, Naming, Priority


@dataclass(frozen=True)
class Collision:
    """A running job that writes outputs of the same names below the same prefix."""

    job_id: str
    outputs: tuple[str, ...]
    save_prefix: str

    def __str__(self) -> str:
        return (
            f"job {self.job_id} is running and writes {', '.join(self.outputs)} below "
            f"{self.save_prefix}, too; of images that both jobs have, the later job's stay"
        )


def collisions(services: Services, spec: JobSpec) -> list[Collision]:
    """Return the running jobs whose outputs a job of *spec* may replace.

    Raises:
        InvalidOption: If one of them has another ComfyUI prefix, and the names of outputs meet:
            prefix `a` with output `x`, and prefix `a_x`. Their numbers are not reserved together.
    """
    found = []
    for job_id, other in _running(services, spec):
        if spec.naming is Naming.COMFYUI or other.naming is Naming.COMFYUI:
            _refuse_meeting(spec, job_id, other)
        elif spec.save_prefix == other.save_prefix:
            same = tuple(name for name in spec.output_names if name in other.output_names)
            if same:
                found.append(Collision(job_id, same, spec.save_prefix))
    return found


def _running(services: Services, spec: JobSpec) -> Iterator[tuple[str, JobSpec]]:
    """Yield the running jobs that write to the bucket of *spec*."""
    if _is_apart(spec) or spec.priority is Priority.INTERACTIVE:  # few images, awaited
        return
    queries = services.jobs.queries
    running = [each.job_id for each in queries.jobs() if each.state not in TERMINAL_STATES]
    for job_id, other in queries.readable_specs(running):
        if other.output_bucket == spec.output_bucket and not _is_apart(other):
            yield job_id, other


def _is_apart(spec: JobSpec) -> bool:
    """Return whether a job writes nothing, or to a folder of its own."""
    return spec.image_output in (ImageOutput.HIDE, ImageOutput.PREVIEW)


def _refuse_meeting(spec: JobSpec, job_id: str, other: JobSpec) -> None:
    if spec.naming is not other.naming or spec.save_prefix == other.save_prefix:
        return
    if met := sorted(numbered_names(spec) & numbered_names(other)):
        raise InvalidOption(
            f"outputs {met[0]}_00001_... would meet those of the running job {job_id} with "
            f"--save-prefix {other.save_prefix}; choose another prefix or name, or wait for its end"
        )
