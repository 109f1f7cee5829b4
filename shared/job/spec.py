"""What a job says and how an item ended, to and from JSON with a schema version."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from typing import Any, Final, Literal, TypeAlias

from shared.errors import InvalidOption
from shared.job.thresholds import Thresholds

SCHEMA: Final = 1
"""Version of both documents here; a reader takes its own version and the one before."""

Json: TypeAlias = Any
"""A value that `json` can write."""


class ImageOutput(StrEnum):
    """What becomes of the pictures; the names are the node's."""

    HIDE = "Hide"
    PREVIEW = "Preview"
    SAVE = "Save"
    HIDE_SAVE = "Hide/Save"


class Naming(StrEnum):
    """How output keys are made: from the source's key, or counted as ComfyUI does."""

    SOURCE = "source"
    COMFYUI = "comfyui"


class Existing(StrEnum):
    """What to do about another picture at the output key."""

    REPLACE = "replace"
    KEEP = "keep"
    FAIL = "fail"


class Priority(StrEnum):
    """Which lane a job's tickets take; interactive ones (at most 64 images) overtake."""

    BULK = "bulk"
    INTERACTIVE = "interactive"


class JobState(StrEnum):
    """Where a job stands."""

    RUNNING = "running"
    FINISHING = "finishing"
    DONE = "done"
    CANCELLED = "cancelled"


TERMINAL_STATES: Final = frozenset({JobState.DONE, JobState.CANCELLED})
MAX_INTERACTIVE_ITEMS: Final = 64
"""Most images of an interactive job: more than somebody would sit and wait for is bulk."""


@dataclass(frozen=True, kw_only=True)
class PictureOptions:
    """The parameters that change pixels or verdicts; all of them are hashed."""

    edges: Literal["estimate", "source", "seed"] = "estimate"
    """Colours of the soft edge: estimated, the source's, or the node's darkened ones."""
    stretch: Literal["guarded", "seed"] = "guarded"
    """`guarded`: an empty picture gives an empty mask; `seed`: always stretched, as in the node."""
    alpha: Literal["keep", "ignore"] = "keep"
    """What is done with a source's own alpha: multiplied into the mask, or dropped."""
    truncated: Literal["fail", "accept"] = "fail"
    """A file that ends too early: failed, or used as far as it goes."""
    png: Literal["fast", "small"] = "fast"
    """How hard PNGs are compressed; the pixels are the same."""


@dataclass(frozen=True, kw_only=True)
class JobSpec:
    """All that a job says, fixed at submission. Its keys stand in the manifest."""

    input_bucket: str
    output_bucket: str
    save_prefix: str = "ComfyUI"
    """With dates already expanded (producer's local time); see `shared.job.keys`."""
    rem_mode: str = "RMBG-1.4"
    weights_sha256: str
    """Identity of the model in the registry at submission, not of a worker's own file."""
    image_output: ImageOutput = ImageOutput.SAVE
    naming: Naming = Naming.SOURCE
    existing: Existing = Existing.REPLACE
    priority: Priority = Priority.BULK
    options: PictureOptions = field(default_factory=PictureOptions)
    counter_base: int = 0
    """With `Naming.COMFYUI`: item i is written with number base + i."""
    date: str = ""
    """Day of submission, `YYYY-MM-DD` in UTC; part of preview keys."""
    thresholds: Thresholds = field(default_factory=Thresholds)
    """Where a picture's figures become doubtful."""
    review_prefix: str | None = None
    """Prefix under which cutouts with a doubtful verdict are copied as well, or None."""
    prompt: Json = None
    extra_pnginfo: dict[str, Json] | None = None

    @property
    def params_hash(self) -> str:
        """Hash of what decides the pixels: model, weights, output parameters (16 hex digits).

        Device, precision, version, batch, job id and priority are left out, or a mixed fleet
        would overwrite its own work.
        """
        pictures = {"model": self.rem_mode, "weights": self.weights_sha256, **asdict(self.options)}
        texts = {"prompt": self.prompt, "extra_pnginfo": self.extra_pnginfo}
        return _digest(pictures | texts)[:16]

    def fingerprint(self, keys_sha256: str) -> str:
        """Hash of everything that makes two submissions the same job: parameters and keys."""
        body = asdict(self) | {"keys": keys_sha256}
        for at_submission in ("counter_base", "date"):
            del body[at_submission]
        return _digest(body)

    def to_json(self) -> str:
        """Return one line of JSON that `from_json` reads."""
        return json.dumps({"schema": SCHEMA, **asdict(self)}, separators=(",", ":"))

    @classmethod
    def from_json(cls, text: str | bytes) -> JobSpec:
        """Read what `to_json` wrote.

        Raises:
            InvalidOption: If the document is of a schema this version does not read.
        """
        body = json.loads(text)
        schema = body.pop("schema", None)
        if schema not in (SCHEMA, SCHEMA - 1):
            msg = f"job document of schema {schema}; this version reads {SCHEMA - 1} and {SCHEMA}"
            raise InvalidOption(msg)
        return cls(
            **body
            | {
                "image_output": ImageOutput(body["image_output"]),
                "naming": Naming(body["naming"]),
                "existing": Existing(body["existing"]),
                "priority": Priority(body["priority"]),
                "options": PictureOptions(**body["options"]),
                "thresholds": Thresholds(**body.get("thresholds", {})),
            }
        )


def _digest(body: dict[str, Json]) -> str:
    text = json.dumps(body, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()
