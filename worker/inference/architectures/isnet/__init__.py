"""IS-Net, the network of RMBG-1.4 and isnet-general-use."""

from collections.abc import Callable
from pathlib import Path
from typing import Final

import torch
from torch import Tensor, nn

from worker.inference.architectures import FuseFor
from worker.inference.architectures.isnet.fold import build, check, fold
from worker.inference.architectures.isnet.fuse import fuse
from worker.inference.architectures.isnet.fuse_cuda import fuse_cuda
from worker.inference.architectures.isnet.network import Network, lower
from worker.inference.architectures.isnet.tensors import load_state_dict

FUSERS: Final[dict[FuseFor, Callable[[Network], Network]]] = {"cpu": fuse, "cuda": fuse_cuda}


def load(path: Path, dtype: torch.dtype, *, fuse_for: FuseFor | None) -> nn.Module:
    """Return the network with batch norm folded into the convolutions; see `load_network`.

    Raises:
        WeightsInvalid: If the file does not hold weights of this network.
    """
    network = build(load_state_dict(path))
    lower(network, dtype)
    return FUSERS[fuse_for](network) if fuse_for else network


def convert(path: Path) -> dict[str, Tensor]:
    """Return the tensors of *path* with batch norm folded in, in float32.

    Raises:
        WeightsInvalid: If the file does not hold weights of this network.
    """
    state = load_state_dict(path)
    check(state)
    return fold(state)
