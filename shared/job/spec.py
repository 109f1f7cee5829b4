"""The job document: a job's parameters, as JSON with a schema version."""

import json
from collections.abc import Collection, Mapping
from enum import StrEnum
from typing import Any, Final, Self, TypeAlias

from pydantic import Field, ValidationError, model_validator

from shared.document import Document, known, problems
from shared.errors import FeatureMissing, InvalidOption
from shared.job.features import describe_need
from shared.job.hashes import Hashes, digest
from shared.job.options import PictureOptions
from shared.job.outputs import RecipeOutput
from shared.job.thresholds import Thresholds
from shared.job.webhook import Webhook

SCHEMA: Final = 1
"""Version of the job document; a reader accepts its own version and the one before."""

Json: TypeAlias = Any
"""A value that `json` can write."""


class ImageOutput(StrEnum):
    """What to do with the outputs; the names are the original node's."""

    HIDE = "Hide"
    PREVIEW = "Preview"
    SAVE = "Save"
    HIDE_SAVE = "Hide/Save"


class Naming(StrEnum):
    """How output keys are named: after the source's key, or numbered as in ComfyUI."""

    SOURCE = "source"
    COMFYUI = "comfyui"


class Existing(StrEnum):
    """What to do if another image is at the output key."""

    REPLACE = "replace"
    KEEP = "keep"
    FAIL = "fail"


class Priority(StrEnum):
    """Queue for a job's tickets; workers consume interactive ones (at most 64 images) first."""

    BULK = "bulk"
    INTERACTIVE = "interactive"


class Previews(StrEnum):
    """Which images of a job get a small before-and-after preview."""

    NONE = "none"
    SAMPLE = "sample"
    """An even sample, and the first doubtful ones of every ticket."""
    ALL = "all"


class JobState(StrEnum):
    """State of a job."""

    RUNNING = "running"
    FINISHING = "finishing"
    DONE = "done"
    CANCELLED = "cancelled"


TERMINAL_STATES: Final = frozenset({JobState.DONE, JobState.CANCELLED})
MAX_INTERACTIVE_ITEMS: Final = 64
"""Most images of an interactive job; nobody waits in front of a screen for more."""
SAMPLED_PREVIEWS: Final = 2000
"""Most previews in the even sample of a job."""


class JobSpec(Document):
    """A job's parameters, fixed at submission. Its image keys are in the manifest."""

    input_bucket: str
    output_bucket: str
    save_prefix: str = "ComfyUI"
    """With dates expanded in the producer's local time; see `shared.job.keys.expand_prefix`."""
    rem_mode: str = "RMBG-1.4"
    weights_sha256: str
    """SHA-256 of the model in the registry at submission, not of a worker's own file."""
    image_output: ImageOutput = ImageOutput.SAVE
    naming: Naming = Naming.SOURCE
    existing: Existing = Existing.REPLACE
    priority: Priority = Priority.BULK
    options: PictureOptions = PictureOptions()
    counter_base: int = 0
    """With `Naming.COMFYUI`, item i is written with number base + i."""
    date: str = ""
    """Day of submission, `YYYY-MM-DD` in UTC; part of preview keys."""
    thresholds: Thresholds = Thresholds()
    """Quality figures beyond which a cutout is sent to review or rejected."""
    tenant: str = ""
    """Whom the job belongs to; empty for jobs of commands and of the Python client."""
    light: bool = False
    """Whether the job ends with its last image: without shards, results and report. Its records
    are in Redis only. Such a job is interactive."""
    review_prefix: str | None = None
    """Prefix to which doubtful cutouts are copied, or None."""
    previews: Previews = Previews.SAMPLE
    preview_every: int = Field(default=0, ge=0)
    """Stride of the sample, fixed at submission; 0 in documents of earlier versions, which have
    none. See `preview_stride`."""
    prompt: Json = None
    extra_pnginfo: dict[str, Json] | None = None
    has_cutout: bool = True
    """Whether the cutout is written."""
    has_mask: bool = True
    """Whether the mask is written; without it, later outputs need the network again."""
    reuse_masks: bool = False
    """Whether workers look for masks that earlier jobs have written; decided at submission."""
    outputs: tuple[RecipeOutput, ...] = ()
    """Outputs that are made by recipes, in the order in which they are written."""
    params_hash: str = ""
    """Hash of what determines cutout and mask: model, weights, options, PNG texts."""
    params_hash_alpha: str = ""
    """The same for images with transparency; see `shared.job.hashes.Hashes`."""
    mask_hash: str = ""
    """Hash of what determines the mask alone, which outputs of later jobs can be made from."""
    mask_hash_alpha: str = ""
    """The same for images with transparency."""
    needs: tuple[str, ...] = ()
    """Features that a worker must know to process the job; see `shared.job.features`."""
    version: str = ""
    """Version that submitted the job; it knows all of them."""
    parent: str = ""
    """`job/index` of the item that the job processes again; empty for all other jobs."""
    webhook: Webhook | None = None
    """Whom the job tells of its end; it then needs the feature of this name."""

    @model_validator(mode="after")
    def _with_hashes(self) -> Self:
        if not self.params_hash or not self.mask_hash:
            named = ("params_hash", "params_hash_alpha")
            given = {name: value for name in named if (value := getattr(self, name))}
            vars(self).update(self._hashes() | given)
        return self

    def _hashes(self) -> dict[str, Any]:
        computed = Hashes.of(
            {"model": self.rem_mode, "weights": self.weights_sha256},
            self.options,
            {"prompt": self.prompt, "extra_pnginfo": self.extra_pnginfo},
            self.outputs,
        )
        return dict(computed)

    def hash_of(self, output: str, *, has_alpha: bool) -> str:
        """Return the hash of *output* for an image, which may have transparency that counts."""
        made = {each.name: (each.hash, each.hash_alpha) for each in self.outputs}
        plain, alpha = made.get(output, (self.params_hash, self.params_hash_alpha))
        return alpha if has_alpha and alpha else plain

    def mask_hash_of(self, *, has_alpha: bool) -> str:
        """Return the hash of the mask for an image; see `hash_of`."""
        return self.mask_hash_alpha if has_alpha and self.mask_hash_alpha else self.mask_hash

    def hashes_of(self, output: str) -> frozenset[str]:
        """Return the hashes that *output* of an item of this job may have."""
        return frozenset(self.hash_of(output, has_alpha=has_alpha) for has_alpha in (False, True))

    def preview_stride(self, total: int) -> int:
        """Return the n of which every n-th image of *total* gets a preview; 0 if none does.

        A job whose images are hidden has no previews.
        """
        is_hidden = self.image_output in (ImageOutput.HIDE, ImageOutput.HIDE_SAVE)
        if is_hidden or self.previews is Previews.NONE:
            return 0
        if self.previews is Previews.ALL:
            return 1
        return self.preview_every or max(1, -(-total // SAMPLED_PREVIEWS))

    def fingerprint(self, keys_sha256: str) -> str:
        """Return the hash of the parameters and keys that make two submissions the same job."""
        same = self.model_dump(exclude={"counter_base", "date", *_ADDED})
        # A default job has the fingerprint that it had before `auto` became the default, and
        # before there were outputs.
        multiplied = {"alpha": "multiply"} if self.options.alpha == "multiply" else {}
        made = [(each.name, each.hash, each.is_held) for each in self.outputs]
        outputs = [made, self.has_cutout, self.has_mask]
        chosen: dict[str, Json] = {} if outputs == [[], True, True] else {"outputs": outputs}
        if self.naming is Naming.COMFYUI and self.reuse_masks:
            chosen["numbers"] = self.counter_base  # of the job that is rendered again
        if self.tenant:  # two tenants with the same keys must not share a job
            chosen["tenant"] = self.tenant
        if self.webhook is not None:  # a job that is joined would not tell the second receiver
            chosen["webhook"] = self.webhook.model_dump(mode="json")
        return digest(same | multiplied | chosen | {"keys": keys_sha256})

    @property
    def output_names(self) -> tuple[str, ...]:
        """Names of the outputs in the order in which they are written; the last is the anchor.

        The mask comes first, so that whatever was made of it is never without it. The anchor
        carries the record, so that a redo finds with one request whether an item is whole.
        """
        made = tuple(each.name for each in self.outputs)
        return (
            *(["mask"] if self.has_mask else []),
            *made,
            *(["cutout"] if self.has_cutout else []),
        )

    @property
    def held_outputs(self) -> tuple[str, ...]:
        """Names of the outputs that go below `held/` if they fail a check."""
        return tuple(each.name for each in self.outputs if each.is_held)

    def model_copy(self, *, update: Mapping[str, Any] | None = None, deep: bool = False) -> Self:
        """Return a copy with *update* applied, and a new `params_hash` if that changes it."""
        copied = super().model_copy(update=update, deep=deep)
        changed = set(update or ())
        if _HASHED & changed and "params_hash" not in changed:
            vars(copied).update(copied._hashes())  # noqa: SLF001 - of this class
        return copied

    def to_json(self) -> str:
        """Return one line of JSON that `from_json` reads.

        Without `needs` it has only the fields that version 0.1 reads; `added_json` has the others.
        With `needs`, version 0.1 must refuse it: the status of the job then shows this schema.
        """
        if not self.needs:
            body = self.model_dump(mode="json", exclude=set(_ADDED))
            return _line({"schema": SCHEMA, **body})
        refused = f"{SCHEMA}, for {describe_need(self.needs, self.version)}"
        return _line({"schema": refused, **self.model_dump(mode="json")})

    def added_json(self) -> str:
        """Return what version 0.1 does not read and `to_json` leaves out, as one line of JSON."""
        if self.needs:
            return _line({"schema": SCHEMA})
        return _line(self.model_dump(mode="json", include=set(_ADDED)))

    @classmethod
    def from_json(
        cls,
        text: str | bytes,
        added: str | bytes = b"{}",
        *,
        features: Collection[str] | None = None,
    ) -> Self:
        """Parse a document that `to_json` wrote, and what `added_json` wrote.

        Fields that a later version added are ignored.

        Args:
            text: The document.
            added: Further fields.
            features: Features that the caller knows; None if it only reads the document.

        Raises:
            FeatureMissing: If the job needs another feature.
            InvalidOption: If this version does not read the document's schema, or a field is
                missing or invalid.
        """
        body = json.loads(text) | json.loads(added)
        missing = [] if features is None else sorted(set(body.get("needs", ())) - set(features))
        if missing:
            raise FeatureMissing(describe_need(missing, body.get("version", "")))
        schema = body.pop("schema", None)
        if schema not in (SCHEMA, SCHEMA - 1):
            raise InvalidOption(
                f"job document has schema {schema}; this version reads {SCHEMA - 1} and {SCHEMA}"
            )
        body = known(cls, body)
        if body.get("params_hash_alpha"):
            body["options"] = {**body["options"], "alpha": "auto"}
        try:
            return cls.model_validate(body)
        except ValidationError as err:
            raise InvalidOption(f"job document is not valid: {problems(err)}") from err


_ADDED: Final = (
    "has_cutout",
    "has_mask",
    "outputs",
    "params_hash",
    "params_hash_alpha",
    "mask_hash",
    "mask_hash_alpha",
    "needs",
    "version",
    "previews",
    "preview_every",
    "reuse_masks",
    "tenant",
    "light",
    "parent",
    "webhook",
)
"""Fields that version 0.1 refuses."""
_HASHED: Final = frozenset(
    {"rem_mode", "weights_sha256", "options", "prompt", "extra_pnginfo", "outputs"}
)
"""Fields that the hashes depend on."""


def _line(body: dict[str, Json]) -> str:
    return json.dumps(body, separators=(",", ":"))
