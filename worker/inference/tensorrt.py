"""TensorRT as a compiler of networks, by the package `torch-tensorrt`.

It is imported when an engine is compiled or loaded, never before.
"""

from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Final

import torch
from torch import Tensor
from torch.export import Dim, ExportedProgram

from worker.inference.engines import Run
from worker.inference.graphs import SIZES

_TENSORRT: Final = ("tensorrt", "tensorrt-cu13", "tensorrt-cu12")
"""Packages of TensorRT itself, the first one that is installed counts."""
_USUAL: Final = 16
"""Size of the batch that an engine is optimised for."""


class TensorRt:
    """See `worker.inference.engines.Compiler`.

    Engines keep the data types of the exported network: fp16 stays fp16, and sigmoid in fp32.
    """

    @property
    def version(self) -> str | None:
        """See `Compiler.version`."""
        bridge = _version("torch-tensorrt")
        found = [each for each in map(_version, _TENSORRT) if each]
        return f"torch-tensorrt {bridge}, tensorrt {found[0]}" if bridge and found else None

    @property
    def install(self) -> str:
        """See `Compiler.install`."""
        return "pip install 'rmbg-queue[tensorrt]' (several gigabytes)"

    def compile(self, program: ExportedProgram, like: Tensor) -> Run:
        """See `Compiler.compile`."""
        import torch_tensorrt  # noqa: PLC0415 - optional, and slow to import

        shape = like.shape[1:]
        return torch_tensorrt.dynamo.compile(  # type: ignore[no-any-return]  # it has no types
            program,
            arg_inputs=[
                torch_tensorrt.Input(
                    min_shape=(SIZES[0], *shape),
                    opt_shape=(_USUAL, *shape),
                    max_shape=(SIZES[-1], *shape),
                    dtype=like.dtype,
                )
            ],
            device=like.device,
            disable_tf32=True,  # as in the other back ends, which compute fp32 as fp32
        )

    def save(self, engine: Run, like: Tensor, path: Path) -> None:
        """See `Compiler.save`."""
        import torch_tensorrt  # noqa: PLC0415 - as above

        batch = Dim("batch", min=SIZES[0], max=SIZES[-1])
        torch_tensorrt.save(
            engine,
            str(path),
            output_format="exported_program",
            arg_inputs=[like],
            dynamic_shapes={"x": {0: batch}},
        )

    def load(self, path: Path) -> Run:
        """See `Compiler.load`."""
        import torch_tensorrt  # noqa: F401, PLC0415 - registers the operator that runs engines

        return torch.export.load(path).module()


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None
