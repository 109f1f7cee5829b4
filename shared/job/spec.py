"""The job document: a job's parameters, as JSON with a schema version."""

import hashlib
import json
from collections.abc import Collection, Mapping
from enum import StrEnum
from typing import Any, Final, Self, TypeAlias

from pydantic import Field, ValidationError, model_validator

from shared.errors import FeatureMissing, InvalidOption
from shared.job.document import Document, known, problems
from shared.job.features import describe_need
from shared.job.options import PictureOptions
from shared.job.thresholds import Thresholds

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
    review_prefix: str | None = None
    """Prefix to which doubtful cutouts are copied, or None."""
    previews: Previews = Previews.SAMPLE
    preview_every: int = Field(default=0, ge=0)
    """Stride of the sample, fixed at submission; 0 in documents of earlier versions, which have
    none. See `preview_stride`."""
    prompt: Json = None
    extra_pnginfo: dict[str, Json] | None = None
    params_hash: str = ""
    """Hash of what determines the pixels: model, weights, options, PNG texts (16 hex digits).

    It is computed once, at submission: a worker that does not know a field could not compute it.
    Device, precision, version, batch, job id and priority are left out; otherwise a mixed fleet
    would overwrite its own outputs.
    """
    params_hash_alpha: str = ""
    """The same for images with transparency if `options.alpha` is `auto`, else "".

    Opaque images keep the hash of earlier versions, so that an upgrade does not rewrite them.
    """
    needs: tuple[str, ...] = ()
    """Features that a worker must know to process the job; see `shared.job.features`."""
    version: str = ""
    """Version that submitted the job; it knows all of them."""

    @model_validator(mode="after")
    def _with_params_hash(self) -> Self:
        computed = self._hashes()
        vars(self)["params_hash"] = self.params_hash or computed["params_hash"]
        vars(self)["params_hash_alpha"] = self.params_hash_alpha or computed["params_hash_alpha"]
        return self

    def _hashes(self) -> dict[str, str]:
        images = {"model": self.rem_mode, "weights": self.weights_sha256}
        texts = {"prompt": self.prompt, "extra_pnginfo": self.extra_pnginfo}
        hashed = images | self.options.model_dump() | texts
        is_auto = self.options.alpha == "auto"
        return {
            "params_hash": _digest(hashed)[:16],
            "params_hash_alpha": _digest(hashed | {"alpha": "auto"})[:16] if is_auto else "",
        }

    def params_hash_of(self, *, has_alpha: bool) -> str:
        """Return the hash for an image, which may have transparency that is not ignored."""
        return self.params_hash_alpha if has_alpha and self.params_hash_alpha else self.params_hash

    @property
    def params_hashes(self) -> frozenset[str]:
        """The hashes that outputs of this job may have."""
        return frozenset({self.params_hash_of(has_alpha=has_alpha) for has_alpha in (False, True)})

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
        # A default job has the fingerprint that it had before `auto` became the default.
        multiplied = {"alpha": "multiply"} if self.options.alpha == "multiply" else {}
        return _digest(same | multiplied | {"keys": keys_sha256})

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
            return _line({"schema": SCHEMA, **self.model_dump(exclude=set(_ADDED))})
        refused = f"{SCHEMA}, for {describe_need(self.needs, self.version)}"
        return _line({"schema": refused, **self.model_dump()})

    def added_json(self) -> str:
        """Return what version 0.1 does not read, as one line of JSON."""
        schema = {"schema": SCHEMA} if self.needs else {}
        return _line({**schema, **self.model_dump(include=set(_ADDED))})

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
    "params_hash",
    "params_hash_alpha",
    "needs",
    "version",
    "previews",
    "preview_every",
)
"""Fields that version 0.1 refuses; they are in no hash."""
_HASHED: Final = frozenset({"rem_mode", "weights_sha256", "options", "prompt", "extra_pnginfo"})
"""Fields that `params_hash` depends on."""


def _line(body: dict[str, Json]) -> str:
    return json.dumps(body, separators=(",", ":"))


def _digest(body: dict[str, Json]) -> str:
    text = json.dumps(body, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()
