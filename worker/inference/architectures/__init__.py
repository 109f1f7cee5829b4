"""Network architectures, one package each, imported when a model needs it.

A package offers `load(path, dtype, *, on_cpu)`, which returns a network in evaluation mode with
the contract of `worker.inference.forward.Forward`, or raises `WeightsInvalid`.
"""

from importlib import import_module
from pathlib import Path

import torch
from torch import nn


def load_network(architecture: str, path: Path, dtype: torch.dtype, *, on_cpu: bool) -> nn.Module:
    """Return the network of *architecture* with the weights in *path*, ready to run in *dtype*.

    Raises:
        WeightsInvalid: If the file does not hold weights of this network.
    """
    package = import_module(f"{__name__}.{architecture}")
    network: nn.Module = package.load(path, dtype, on_cpu=on_cpu)
    return network
