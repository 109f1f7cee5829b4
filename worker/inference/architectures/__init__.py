"""Network architectures, one package each, imported when a model needs it.

A package offers two functions, which raise `WeightsInvalid`:

* `load(path, dtype, *, on_cpu)` returns a network in evaluation mode with the contract of
  `worker.inference.forward.Forward`.
* `convert(path)` returns tensors that `load` reads from a `.safetensors` file to the same network,
  without conversions. When its result changes, increase `worker.inference.converted.FORMAT`.
"""

from importlib import import_module
from pathlib import Path

import torch
from torch import Tensor, nn


def load_network(architecture: str, path: Path, dtype: torch.dtype, *, on_cpu: bool) -> nn.Module:
    """Return the network of *architecture* with the weights in *path*, ready to run in *dtype*.

    Raises:
        WeightsInvalid: If the file does not hold weights of this network.
    """
    package = import_module(f"{__name__}.{architecture}")
    network: nn.Module = package.load(path, dtype, on_cpu=on_cpu)
    return network


def convert(architecture: str, path: Path) -> dict[str, Tensor]:
    """Return the tensors of *path* as the network of *architecture* uses them.

    Raises:
        WeightsInvalid: If the file does not hold weights of this network.
    """
    package = import_module(f"{__name__}.{architecture}")
    state: dict[str, Tensor] = package.convert(path)
    return state
