"""Bodies of requests and responses."""

from typing import Annotated, Literal, Self, TypeAlias

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    StringConstraints,
    WithJsonSchema,
    model_validator,
)

from producer.gateway.openapi import one_of
from shared.job.options import PictureOptions
from shared.job.output_keys import BUILT_IN
from shared.job.outputs import MAX_OUTPUTS
from shared.job.record import ItemRecord
from shared.job.spec import Existing, ImageOutput, Naming, Previews, Priority
from shared.job.thresholds import Thresholds
from shared.job.webhook import Webhook
from shared.jobstore.values import JobStatus
from shared.models import registry
from shared.recipes import Recipe, presets
from shared.recipes.recipe import Source

ObjectKey: TypeAlias = Annotated[str, StringConstraints(min_length=1, max_length=1024)]
ModelName: TypeAlias = Annotated[
    str, WithJsonSchema({"type": "string", "enum": list(registry.REGISTRY)})
]
OutputName: TypeAlias = Annotated[
    str, WithJsonSchema({"type": "string", "enum": [*BUILT_IN, *presets.names()]})
]
MAX_KEYS = 100_000
"""Most keys in the body of a request; longer lists go into the bucket, see `keys_from`."""


class Body(BaseModel):
    """Base class of bodies of requests: unknown fields are an error."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class JobRequest(Body):
    """A job to create; exactly one of `keys`, `prefix` and `keys_from` names its images."""

    model_config = ConfigDict(
        json_schema_extra=one_of(keys="array", prefix="string", keys_from="string")
    )

    keys: Annotated[list[ObjectKey], Field(min_length=1, max_length=MAX_KEYS)] | None = None
    """Keys of images in the bucket of the API key."""
    prefix: ObjectKey | None = None
    """All images whose key begins with this."""
    keys_from: ObjectKey | None = None
    """Key of an object that lists image keys: CSV with a column `key`, or JSON lines with a
    field `key`."""
    model: ModelName | None = None
    """Model of `/v1/models`; by default the gateway's."""
    outputs: Annotated[list[OutputName | Recipe], Field(max_length=MAX_OUTPUTS + 2)] = []
    """`cutout`, `mask`, names of `/v1/presets`, and recipes; by default cutout and mask."""
    save_prefix: Annotated[str, StringConstraints(min_length=1, max_length=1024)] = "ComfyUI"
    """Prefix of the outputs, below the prefix of the API key."""
    image_output: ImageOutput = ImageOutput.SAVE
    naming: Naming = Naming.SOURCE
    existing: Existing = Existing.REPLACE
    priority: Priority = Priority.BULK
    previews: Previews = Previews.ALL
    options: PictureOptions = PictureOptions()
    thresholds: Thresholds = Thresholds()
    keep_mask: bool = True
    reuse_masks: bool = True
    webhook: Webhook | None = None
    """Whom to tell of the end of the job."""

    @model_validator(mode="after")
    def _has_one_source(self) -> Self:
        given = [each for each in (self.keys, self.prefix, self.keys_from) if each is not None]
        if len(given) != 1:
            raise ValueError("give exactly one of keys, prefix and keys_from")
        return self


class RemoveRequest(Body):
    """What to do with one image, which is in the same request or at a URL."""

    url: Annotated[str, StringConstraints(min_length=1, max_length=8192)] | None = None
    """Where the image is, if it is not in the request: a public address without redirects."""
    model: ModelName | None = None
    """Model of `/v1/models`; by default the gateway's."""
    outputs: Annotated[
        list[OutputName | Recipe], Field(min_length=1, max_length=MAX_OUTPUTS + 2)
    ] = ["cutout"]
    """`cutout`, `mask`, names of `/v1/presets`, and recipes."""
    options: PictureOptions = PictureOptions()


class RemoveQuery(Body):
    """The same in the query, for an image that is the whole body."""

    model: Annotated[ModelName | None, Field(description="Model of `/v1/models`")] = None
    output: Annotated[
        list[OutputName],
        Field(
            min_length=1,
            max_length=MAX_OUTPUTS,
            description="`cutout`, `mask` or the name of a preset",
        ),
    ] = ["cutout"]

    def as_request(self) -> RemoveRequest:
        """Return the request."""
        return RemoveRequest(model=self.model, outputs=list(self.output))


class JobPage(BaseModel):
    """A page of jobs, newest first."""

    jobs: list[JobStatus]
    next: str | None
    """The `cursor` of the next page; null on the last one."""


class RecordQuery(Body):
    """Which records of a job to return."""

    cursor: Annotated[int, Field(ge=0, le=2**31, description="First index of the page")] = 0
    limit: Annotated[int, Field(ge=1, le=10_000)] = 1000
    state: Literal["done", "failed"] | None = None
    verdict: Literal["ok", "review", "reject"] | None = None
    check: Annotated[str | None, Field(description="Name of a check that failed")] = None
    links: Annotated[bool, Field(description="Add links that are valid for an hour")] = False

    def includes(self, record: ItemRecord) -> bool:
        """Return whether the filters let *record* pass."""
        return (
            (self.state is None or record.state == self.state)
            and (self.verdict is None or record.verdict == self.verdict)
            and (
                self.check is None
                or any(self.check in each.failed for each in record.outputs.values())
            )
        )


class LinkedRecord(ItemRecord):
    """The record of an image, with signed links if the request asked for them."""

    cutout_url: str | None = None
    mask_url: str | None = None
    output_urls: dict[str, list[str | None]] | None = None


class Retried(BaseModel):
    """What a retry has started."""

    images: int
    """Failed images that are processed again."""


class ModelInfo(BaseModel):
    """A model that a job may name."""

    name: str
    licence: str
    commercial: bool
    """Whether the licence allows commercial use."""


class PresetInfo(BaseModel):
    """A preset that a job may name as an output."""

    name: str
    version: int
    unverified: bool
    """Whether no official page was found for its figures."""
    source: Source | None
    """The page that the figures come from."""


class Health(BaseModel):
    """Whether the gateway can serve requests."""

    status: Literal["ok"] = "ok"
