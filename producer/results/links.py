"""Add signed links to a job's records."""

import json
from collections.abc import Callable
from typing import Final

from producer.services import Services
from shared.errors import InvalidOption, UnknownJob
from shared.job.record import ItemRecord
from shared.job.spec import ImageOutput, Json
from shared.job.written import written_objects

LINK_S: Final = 3600
"""How long a signed link is valid, in seconds."""
LINKED: Final = frozenset({ImageOutput.SAVE, ImageOutput.PREVIEW})
"""Image outputs that get links; `Hide/Save` writes outputs without links."""


def linker(services: Services, job_id: str) -> Callable[[ItemRecord], dict[str, Json]]:
    """Return a function that adds signed links to a record of this job.

    They are `cutout_url`, `mask_url` and, by output, `output_urls`, and are valid for `LINK_S`.
    They are null if there is no output, and for jobs with the image output `Hide` or `Hide/Save`.

    Raises:
        InvalidOption: If Redis does not know the job, and so not whether links are allowed.
    """
    try:
        spec = services.jobs.queries.spec(job_id)
    except UnknownJob as err:
        raise InvalidOption(
            f"cannot create links for job {job_id}: Redis no longer knows whether they are "
            "allowed; leave out --links"
        ) from err

    def link(key: str | None) -> str | None:
        if key is None or spec.image_output not in LINKED:
            return None
        return services.objects.sign(spec.output_bucket, key, expires_s=LINK_S)

    def with_links(record: ItemRecord) -> dict[str, Json]:
        links = {
            "cutout_url": link(record.cutout_key),
            "mask_url": link(record.mask_key),
        }
        made: dict[str, list[str | None]] = {name: [] for name in record.outputs}
        for written in written_objects(spec, job_id, record):
            if written.output in made:
                made[written.output].append(link(written.key))
        return {**json.loads(record.to_json()), **links, **({"output_urls": made} if made else {})}

    return with_links
