"""IS-Net, the network of RMBG-1.4 and isnet-general-use."""

from pathlib import Path

import torch
from torch import Tensor, nn

from worker.inference.architectures.isnet.fold import build, check, fold
from worker.inference.architectures.isnet.fuse import fuse
from worker.inference.architectures.isnet.network import lower
from worker.inference.architectures.isnet.tensors import load_state_dict


def load(path: Path, dtype: torch.dtype, *, on_cpu: bool) -> nn.Module:
    """Return the network with batch norm folded into the convolutions, and fused for a CPU.

    Raises:
        WeightsInvalid: If the file does not hold weights of this network.
    """
    network = build(load_state_dict(path))
    lower(network, dtype)
    return fuse(network) if on_cpu else network


def convert(path: Path) -> dict[str, Tensor]:
    """Return the tensors of *path* with batch norm folded in, in float32.

    Raises:
        WeightsInvalid: If the file does not hold weights of this network.
    """
    state = load_state_dict(path)
    check(state)
    return fold(state)
