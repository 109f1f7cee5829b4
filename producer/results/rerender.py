"""Make new outputs for the images of a job that is done, from the masks that it has written."""

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from importlib.metadata import version

from producer.results import reader
from producer.services import Services
from producer.submission.outputs import GivenOutput, Outputs, choose_outputs
from producer.submission.sources import KeySource
from producer.submission.submit import choose_bucket, submit
from shared.errors import InvalidOption, JobNotDone, StoreUnavailable
from shared.job.features import OUTPUTS
from shared.job.outputs import RecipeOutput
from shared.job.spec import JobSpec, JobState
from shared.jobstore.submissions import Submitted


def rerender(services: Services, job_id: str, given: Sequence[GivenOutput]) -> Submitted:
    """Create a job that makes the outputs *given* for all images of another job.

    It has the prefix, the model, the options and, with ComfyUI's naming, the numbers of that job.
    Images whose mask is missing, or whose source has changed, go through the network again; so do
    those that failed.

    Args:
        services: The services that hold the job.
        job_id: ID of the job.
        given: Presets, recipe files and recipes.

    Raises:
        UnknownJob: If Redis does not know the job.
        JobNotDone: If it is still running or was cancelled.
        InvalidOption: If no output is given, or one is a cutout or mask.
        InvalidRecipe: If recipes have problems; the message lists those of all.
    """
    outputs = _outputs(given)
    status = services.jobs.queries.status(job_id)
    if status.state is not JobState.DONE:
        raise JobNotDone(
            f"job {job_id} is {status.state.value}; only a done job can be rendered again"
        )
    spec = _changed(services.jobs.queries.spec(job_id), outputs.recipes)
    choose_bucket(services, spec.input_bucket)
    return submit(services, KeySource(_keys(services, job_id)), spec, files=outputs.files)


def _outputs(given: Sequence[GivenOutput]) -> Outputs:
    outputs = choose_outputs(given)
    if not outputs.recipes or outputs.has_cutout or "mask" in given:
        raise InvalidOption(
            "rerender makes outputs of presets and recipes; give at least one --output, and "
            "neither cutout nor mask"
        )
    return outputs


def _changed(spec: JobSpec, recipes: tuple[RecipeOutput, ...]) -> JobSpec:
    """Return the document of the new job, which writes the same masks as the former."""
    return spec.model_copy(
        update={
            "outputs": recipes,
            "has_cutout": False,
            "review_prefix": None,  # for copies of cutouts
            "reuse_masks": True,
            "date": datetime.now(UTC).date().isoformat(),
            "needs": (OUTPUTS,),
            "version": version("rmbg-queue"),
        }
    )


def _keys(services: Services, job_id: str) -> Iterator[str]:
    """Yield the image keys of a job by its records: they stay when its manifest is deleted.

    Raises:
        StoreUnavailable: If a record is missing: the items after it would have other numbers.
    """
    for index, record in enumerate(reader.records(services, job_id)):
        if record.index != index:
            raise StoreUnavailable(f"the record of item {index} of job {job_id} is missing")
        yield record.image_key
