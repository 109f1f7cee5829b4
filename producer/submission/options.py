"""What a user may ask of a job, before anything is checked against the services."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Final, TypedDict, Unpack

from shared.errors import InvalidOption, LicenceRefused
from shared.job.keys import check_prefix, expand_prefix
from shared.job.png_text import keyword_bytes
from shared.job.spec import Existing, ImageOutput, JobSpec, Json, Naming, PictureOptions, Priority
from shared.job.thresholds import Thresholds
from shared.models import registry as models

if TYPE_CHECKING:
    from datetime import datetime

DEFAULT_MODEL: Final = "RMBG-1.4"
DEFAULT_PREFIX: Final = "ComfyUI"


class OptionArguments(TypedDict, total=False):
    """The fields of `JobOptions` as keyword arguments, choices by their names."""

    rem_mode: str
    save_prefix: str
    image_output: str
    naming: str
    existing: str
    priority: str
    job_id: str | None
    pictures: PictureOptions
    thresholds: Thresholds
    review_prefix: str | None
    prompt: Json
    extra_pnginfo: dict[str, Json] | None


@dataclass(frozen=True, kw_only=True)
class JobOptions:
    """The options of `rmbg submit`, `rmbg run` and `producer.client.Client.submit`."""

    rem_mode: str = DEFAULT_MODEL
    save_prefix: str = DEFAULT_PREFIX
    """With placeholders still in it."""
    image_output: ImageOutput = ImageOutput.SAVE
    naming: Naming = Naming.SOURCE
    existing: Existing = Existing.REPLACE
    priority: Priority = Priority.BULK
    job_id: str | None = None
    """A given id always means its job; None derives one from keys and parameters."""
    pictures: PictureOptions = field(default_factory=PictureOptions)
    thresholds: Thresholds = field(default_factory=Thresholds)
    review_prefix: str | None = None
    prompt: Json = None
    extra_pnginfo: dict[str, Json] | None = None

    @classmethod
    def of(cls, **given: Unpack[OptionArguments]) -> JobOptions:
        """Return the options that are given, and the defaults of the others.

        Raises:
            InvalidOption: If there is no such option or choice; the message lists those there are.
        """
        if unknown := sorted(set(given) - set(cls.__dataclass_fields__)):
            known = ", ".join(cls.__dataclass_fields__)
            raise InvalidOption(f"no option {', '.join(unknown)}; there are: {known}")
        values: dict[str, Any] = dict(given)
        for name, way in _CHOICES.items():
            if name in values:
                values[name] = _choose(way, name, values[name])
        return cls(**values)

    def to_spec(
        self, input_bucket: str, output_bucket: str, *, now: datetime, commercial: bool
    ) -> JobSpec:
        """Return the job these options describe; *now* expands the prefix's dates.

        Args:
            input_bucket: Where the keys lie.
            output_bucket: Where outputs go.
            now: An aware time in the producer's own zone.
            commercial: Whether only models with a commercial licence may be used.

        Raises:
            UnknownModel: If the model is not in the registry; the message lists those that are.
            LicenceRefused: If its licence forbids commercial use, and *commercial* is set.
            InvalidPrefix: If a prefix escapes or is reserved.
            InvalidOption: If a key of `extra_pnginfo` cannot head a text in a PNG.
        """
        model = models.get(self.rem_mode)
        if commercial and not model.commercial:
            raise LicenceRefused(
                f"{model.name} is licensed for non-commercial use only ({model.licence}), and "
                f"RMBG_COMMERCIAL is set; models for commercial use: {_commercial_models()}"
            )
        for keyword in self.extra_pnginfo or ():
            keyword_bytes(keyword)
        prefix = expand_prefix(self.save_prefix, now)
        for each in (prefix, self.review_prefix):
            if each is not None:
                check_prefix(each)
        return JobSpec(
            input_bucket=input_bucket,
            output_bucket=output_bucket,
            save_prefix=prefix,
            rem_mode=model.name,
            weights_sha256=model.sha256,
            image_output=self.image_output,
            naming=self.naming,
            existing=self.existing,
            priority=self.priority,
            options=self.pictures,
            date=now.astimezone(UTC).date().isoformat(),
            thresholds=self.thresholds,
            review_prefix=self.review_prefix,
            prompt=self.prompt,
            extra_pnginfo=self.extra_pnginfo,
        )


_CHOICES: Final[dict[str, type[StrEnum]]] = {
    "image_output": ImageOutput,
    "naming": Naming,
    "existing": Existing,
    "priority": Priority,
}


def _choose(way: type[StrEnum], name: str, value: str) -> StrEnum:
    try:
        return way(value)
    except ValueError as err:
        raise InvalidOption(f"{name} {value!r} is none of {', '.join(way)}") from err


def _commercial_models() -> str:
    names = sorted(model.name for model in models.REGISTRY.values() if model.commercial)
    return ", ".join(names) or "none"
