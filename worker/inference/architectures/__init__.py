"""Network architectures, one package each, imported when a model needs it.

A package offers two functions, which raise `WeightsInvalid`:

* `load(path, dtype, *, fuse_for)` returns a network in evaluation mode with the contract of
  `worker.inference.forward.Forward`.
* `convert(path)` returns tensors that `load` reads from a `.safetensors` file to the same network,
  without conversions. When its result changes, increase `worker.inference.converted.FORMAT`.
"""

from importlib import import_module
from pathlib import Path
from typing import Literal, TypeAlias

import torch
from torch import Tensor, nn

FuseFor: TypeAlias = Literal["cpu", "cuda"]
"""Type of a device."""


def load_network(
    architecture: str, path: Path, dtype: torch.dtype, *, fuse_for: FuseFor | None
) -> nn.Module:
    """Return the network of *architecture* with the weights in *path*, ready to run in *dtype*.

    Args:
        architecture: Name of a package beside this module.
        path: A weights file.
        dtype: Data type of the parameters.
        fuse_for: Device for which operators are fused, as far as it supports that; None: none are.

    Raises:
        WeightsInvalid: If the file does not hold weights of this network.
    """
    package = import_module(f"{__name__}.{architecture}")
    network: nn.Module = package.load(path, dtype, fuse_for=fuse_for)
    return network


def convert(architecture: str, path: Path) -> dict[str, Tensor]:
    """Return the tensors of *path* as the network of *architecture* uses them.

    Raises:
        WeightsInvalid: If the file does not hold weights of this network.
    """
    package = import_module(f"{__name__}.{architecture}")
    state: dict[str, Tensor] = package.convert(path)
    return state
