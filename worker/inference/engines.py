"""Engines: the network, exported and compiled for one device, and kept in `RMBG_HOME`.

The compiler is TensorRT's (`worker.inference.tensorrt`); any other one fits the same protocol.
Compiling takes minutes, loading a kept engine seconds.
"""

import hashlib
import json
import logging
import os
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Final, Protocol, TypeAlias

import torch
from torch import Tensor, nn
from torch.export import Dim, ExportedProgram, export

from shared.errors import InvalidOption
from shared.models.weights import file_sha256
from worker.inference.graphs import SIZES
from worker.inference.stored import one_at_a_time

logger = logging.getLogger(__name__)

Run: TypeAlias = Callable[[Tensor], Tensor]
"""Maps `(N, 3, side, side)` to `(N, 1, side, side)`, for the sizes of batches in `SIZES`."""
FORMAT: Final = 1
"""Increase it when the exported network changes; engines of other formats are not loaded."""
FOLDER: Final = "engines"
_EXAMPLE: Final = 2
"""Size of the batch that an export is traced with; with 1 torch would take it for constant."""


class Compiler(Protocol):
    """Makes engines of exported networks."""

    @property
    def version(self) -> str | None:
        """Versions that an engine depends on besides torch's; None if it is not installed."""

    @property
    def install(self) -> str:
        """What to install, as a command."""

    def compile(self, program: ExportedProgram, like: Tensor) -> Run:
        """Compile a program whose only input is like *like*, with batches of 1 to `SIZES[-1]`."""

    def save(self, engine: Run, like: Tensor, path: Path) -> None:
        """Write *engine*, which this compiler made for inputs like *like*."""

    def load(self, path: Path) -> Run:
        """Return the engine that *path* holds."""


@dataclass(frozen=True)
class NetworkKey:
    """What an engine depends on besides its input and versions."""

    weights_sha256: str
    architecture: str
    device: str
    """Name of the device, as its maker calls it."""


@dataclass(frozen=True)
class Engines:
    """Builds engines, and keeps them below *home*.

    Args:
        home: `RMBG_HOME`; None: nothing is kept.
        compiler: See `Compiler`.
    """

    home: Path | None
    compiler: Compiler

    @property
    def missing(self) -> str | None:
        """What is missing and how to install it; None if the compiler is installed."""
        if self.compiler.version is not None:
            return None
        return f"it is not installed: {self.compiler.install}"

    @torch.inference_mode(mode=False)
    def build(self, network: nn.Module, key: NetworkKey, like: Tensor) -> "Engine":
        """Return the kept engine of *network*, or compile one and keep it.

        Of several processes one compiles, the others wait for it.

        Args:
            network: In evaluation mode, with plain operators, on its device.
            key: See `NetworkKey`.
            like: An input `(N, 3, side, side)` on the device, of any N.

        Raises:
            InvalidOption: If the compiler is missing or fails.
        """
        if missing := self.missing:
            raise InvalidOption(f"RMBG_BACKEND=tensorrt cannot be used, as {missing}")
        like = like.new_zeros((_EXAMPLE, *like.shape[1:]))
        if self.home is None:
            return Engine(self._compile(network, like))
        path = self.home / FOLDER / f"{key.weights_sha256[:12]}-{self._digest(key, like)}.pt2"
        with suppress(OSError):
            path.parent.mkdir(parents=True, exist_ok=True)
        with one_at_a_time(path):
            run = self._kept(path)
            if run is None:
                run = self._compile(network, like)
                self._keep(run, like, path)
        return Engine(run)

    def _digest(self, key: NetworkKey, like: Tensor) -> str:
        facts = asdict(key) | {
            "format": FORMAT,
            "shape": like.shape[1:],
            "dtype": str(like.dtype),
            "sizes": SIZES,
            "torch": torch.__version__,
            "compiler": self.compiler.version,
            "rmbg-queue": version("rmbg-queue"),
        }
        return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()[:32]

    def _compile(self, network: nn.Module, like: Tensor) -> Run:
        logger.info("compiling the network, which takes minutes", extra={"backend": "tensorrt"})
        try:
            return self.compiler.compile(exported(network, like), like)
        except Exception as err:
            raise InvalidOption(
                f"RMBG_BACKEND=tensorrt cannot be used: the network was not compiled"
                f" ({type(err).__name__}: {err}); use another back end, or auto"
            ) from err

    def _kept(self, path: Path) -> Run | None:
        """Return the engine in *path*; None if there is none, or not an intact one."""
        if not path.exists():
            return None
        try:
            _check(path)
            return self.compiler.load(path)
        except Exception as err:  # noqa: BLE001 - of any library below
            facts = {"cause": f"{path}: {type(err).__name__}: {err}"}
            logger.warning("engine not loaded but compiled again", extra=facts)
            return None

    def _keep(self, run: Run, like: Tensor, path: Path) -> None:
        """Write an engine; it counts once its checksum is written, which is last."""
        part = path.with_name(f".{path.stem}.part.pt2")  # torch wants this suffix
        try:
            self.compiler.save(run, like, part)
            part.chmod(0o600)  # see `_check`
            part.replace(path)
            _checksum_path(path).write_text(file_sha256(path))
        except Exception as err:  # noqa: BLE001 - of any library below
            with suppress(OSError):
                part.unlink()
            facts = {"cause": f"{path}: {type(err).__name__}: {err}"}
            logger.warning("engine not stored; every start compiles", extra=facts)


class Engine(nn.Module):
    """An engine for batches of any size: padded to the next size, or split; see `Run`.

    Args:
        run: See `Run`; not registered as a part, so that moving this moves no weights of it.
        sizes: In ascending order.
    """

    def __init__(self, run: Run, sizes: Sequence[int] = SIZES) -> None:
        super().__init__()
        self._runs = (run,)
        self._sizes = sizes

    def forward(self, x: Tensor) -> Tensor:
        """Run the engine over *x*."""
        parts = [self._run_padded(part) for part in torch.split(x, self._sizes[-1])]
        return parts[0] if len(parts) == 1 else torch.cat(parts)

    def _run_padded(self, x: Tensor) -> Tensor:
        size = next(size for size in self._sizes if size >= len(x))
        if size == len(x):
            return self._runs[0](x.contiguous())
        padded = x.new_zeros((size, *x.shape[1:]))
        padded[: len(x)] = x
        return self._runs[0](padded)[: len(x)]


def exported(network: nn.Module, like: Tensor) -> ExportedProgram:
    """Export *network* for batches of 1 to `SIZES[-1]` inputs like *like*.

    Args:
        network: Takes one tensor.
        like: A batch of at least two.
    """
    batch = Dim("batch", min=1, max=SIZES[-1])
    with torch.no_grad():
        network.requires_grad_(False)  # noqa: FBT003 - torch's own signature
        return export(network, (like,), dynamic_shapes=({0: batch},), strict=False)


def _check(path: Path) -> None:
    """Raise `ValueError` unless *path* is intact and nobody else could have written it.

    An engine is code: whoever can write one runs what they like as this process.
    """
    status = path.stat()
    if status.st_uid not in (0, os.geteuid()) or status.st_mode & 0o022:
        raise ValueError("another user owns or may write it")
    if _checksum_path(path).read_text() != file_sha256(path):
        raise ValueError("its checksum differs")


def _checksum_path(path: Path) -> Path:
    return path.with_name(f"{path.name}.sha256")
