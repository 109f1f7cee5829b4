"""The options of a job, before any service is asked."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import StrEnum
from functools import cache
from importlib.metadata import version
from typing import Any, Final, TypedDict, Unpack

from producer.submission.outputs import GivenOutput, Outputs, choose_outputs
from shared.errors import InvalidOption, LicenceRefused
from shared.job.features import OUTPUTS
from shared.job.keys import check_prefix, expand_prefix
from shared.job.options import PictureOptions
from shared.job.png_text import keyword_bytes
from shared.job.spec import Existing, ImageOutput, JobSpec, Json, Naming, Previews, Priority
from shared.job.thresholds import Thresholds
from shared.models import registry as models

DEFAULT_MODEL: Final = "RMBG-1.4"
DEFAULT_PREFIX: Final = "ComfyUI"


class OptionArguments(TypedDict, total=False):
    """The fields of `JobOptions` as keyword arguments; choices as strings."""

    rem_mode: str
    save_prefix: str
    image_output: str
    naming: str
    existing: str
    priority: str
    previews: str
    job_id: str | None
    pictures: PictureOptions
    thresholds: Thresholds
    review_prefix: str | None
    outputs: Sequence[GivenOutput]
    keep_mask: bool
    reuse_masks: bool
    prompt: Json
    extra_pnginfo: dict[str, Json] | None


@dataclass(frozen=True, kw_only=True)
class JobOptions:
    """The options of `rmbg submit`, `rmbg run` and `producer.client.Client.submit`."""

    rem_mode: str = DEFAULT_MODEL
    save_prefix: str = DEFAULT_PREFIX
    """Prefix of output keys, with placeholders."""
    image_output: ImageOutput = ImageOutput.SAVE
    naming: Naming = Naming.SOURCE
    existing: Existing = Existing.REPLACE
    priority: Priority = Priority.BULK
    previews: Previews = Previews.SAMPLE
    """Which images get a before-and-after preview; the same job whatever is chosen."""
    job_id: str | None = None
    """ID of the job; None derives it from keys and parameters."""
    pictures: PictureOptions = field(default_factory=PictureOptions)
    thresholds: Thresholds = field(default_factory=Thresholds)
    review_prefix: str | None = None
    outputs: Outputs = field(default_factory=Outputs)
    reuse_masks: bool = True
    """Whether outputs may be made of masks that earlier jobs have written."""
    prompt: Json = None
    extra_pnginfo: dict[str, Json] | None = None

    @classmethod
    def of(cls, **given: Unpack[OptionArguments]) -> JobOptions:
        """Return the given options, with defaults for the others.

        Raises:
            InvalidOption: If an option, choice or output is unknown; the message lists the valid
                ones.
            InvalidRecipe: If recipes have problems; the message lists those of all.
        """
        if unknown := sorted(given.keys() - OptionArguments.__annotations__.keys()):
            known = ", ".join(OptionArguments.__annotations__)
            raise InvalidOption(f"unknown option {', '.join(unknown)}; options: {known}")
        values: dict[str, Any] = dict(given)
        values["outputs"] = choose_outputs(
            values.pop("outputs", ()), keep_mask=values.pop("keep_mask", True)
        )
        values |= {
            name: _choose(way, name, values[name])
            for name, way in _CHOICES.items()
            if name in given
        }
        return cls(**values)

    def to_spec(
        self, input_bucket: str, output_bucket: str, *, now: datetime, commercial: bool
    ) -> JobSpec:
        """Return the job document of these options.

        Args:
            input_bucket: Bucket of the image keys.
            output_bucket: Bucket of the outputs.
            now: Aware local time of the producer; expands the dates in the prefix.
            commercial: Whether only models with a commercial licence are allowed.

        Raises:
            UnknownModel: If the model is not in the registry; the message lists all models.
            LicenceRefused: If *commercial* is set and the licence forbids commercial use.
            InvalidPrefix: If a prefix is not a valid key prefix or is reserved.
            InvalidOption: If a key of `extra_pnginfo` is not a valid PNG keyword, or outputs and
                `review_prefix` exclude each other.
        """
        model = models.get(self.rem_mode)
        if commercial and not model.commercial:
            allowed = sorted(each.name for each in models.REGISTRY.values() if each.commercial)
            raise LicenceRefused(
                f"{model.name} is licensed for non-commercial use only ({model.licence}), but "
                f"RMBG_COMMERCIAL is set; models for commercial use: {', '.join(allowed)}"
            )
        for keyword in self.extra_pnginfo or ():
            keyword_bytes(keyword)
        prefix = expand_prefix(self.save_prefix, now)
        for each in (prefix, self.review_prefix):
            if each is not None:
                check_prefix(each)
        self._check_review()
        return JobSpec(
            input_bucket=input_bucket,
            output_bucket=output_bucket,
            save_prefix=prefix,
            rem_mode=model.name,
            weights_sha256=model.identity,
            image_output=self.image_output,
            naming=self.naming,
            existing=self.existing,
            priority=self.priority,
            previews=self.previews,
            options=self.pictures,
            date=now.astimezone(UTC).date().isoformat(),
            thresholds=self.thresholds,
            review_prefix=self.review_prefix,
            has_cutout=self.outputs.has_cutout,
            has_mask=self.outputs.has_mask,
            outputs=self.outputs.recipes,
            reuse_masks=self._may_reuse_masks,
            needs=() if self.outputs.is_default else (OUTPUTS,),
            prompt=self.prompt,
            extra_pnginfo=self.extra_pnginfo,
            version=_version(),
        )

    @property
    def _may_reuse_masks(self) -> bool:
        """Whether masks of other jobs can be at this job's keys; ComfyUI's numbers are new."""
        return self.reuse_masks and bool(self.outputs.recipes) and self.naming is Naming.SOURCE

    def _check_review(self) -> None:
        if self.review_prefix is None:
            return
        if not self.outputs.has_cutout:
            raise InvalidOption("--route-review copies cutouts; add --output cutout")
        if held := [each.name for each in self.outputs.recipes if each.is_held]:
            raise InvalidOption(
                f"--route-review and on_review = hold ({', '.join(held)}) exclude each other"
            )


_CHOICES: Final[dict[str, type[StrEnum]]] = {
    "image_output": ImageOutput,
    "naming": Naming,
    "existing": Existing,
    "priority": Priority,
    "previews": Previews,
}


def _choose(way: type[StrEnum], name: str, value: str) -> StrEnum:
    try:
        return way(value)
    except ValueError as err:
        raise InvalidOption(f"invalid {name} {value!r}; choices: {', '.join(way)}") from err


@cache
def _version() -> str:
    """Return this version; reading it takes longer than all else that a document needs."""
    return version("rmbg-queue")
