"""Build the network from published weights, with batch norm folded into the convolutions."""

from collections.abc import Mapping
from typing import Final

import torch
from torch import Tensor

from shared.errors import WeightsInvalid
from worker.inference.architectures.isnet.network import BATCH_NORM_EPS, Network

_SHOWN: Final = 3
_NORM_PARTS: Final = ("weight", "bias", "running_mean", "running_var")


def build(state: Mapping[str, Tensor]) -> Network:
    """Return the network with the weights *state*, folded, in float32 and in evaluation mode.

    Args:
        state: Tensors under the names of the published `model.pth`, with or without batch norm;
            see `worker.inference.architectures.isnet.tensors`.

    Raises:
        WeightsInvalid: If a tensor is missing, unknown or of another shape.
    """
    check(state)
    with torch.device("meta"):
        network = Network(norm=False)
    network.load_state_dict(fold(state), assign=True)
    return network.eval().requires_grad_(requires_grad=False)


def fold(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Fold batch norm into weight and bias of the convolution before it, in float64 arithmetic.

    A state without batch norm is returned unchanged, in float32.
    """
    folded = {name: t.float() for name, t in state.items() if ".bn_s1." not in name}
    for block in (
        name.removesuffix(".bn_s1.weight") for name in state if name.endswith(".bn_s1.weight")
    ):
        norm = {part: state[f"{block}.bn_s1.{part}"].double() for part in _NORM_PARTS}
        scale = norm["weight"] / torch.sqrt(norm["running_var"] + BATCH_NORM_EPS)
        weight, bias = f"{block}.conv_s1.weight", f"{block}.conv_s1.bias"
        folded[weight] = (state[weight].double() * scale[:, None, None, None]).float()
        shifted = (state[bias].double() - norm["running_mean"]) * scale + norm["bias"]
        folded[bias] = shifted.float()
    return folded


def check(state: Mapping[str, Tensor]) -> None:
    """Compare *state* with the tensors of the network, with or without batch norm.

    Raises:
        WeightsInvalid: If a tensor is missing, unknown or of another shape; names the first three
            and counts the others.
    """
    with torch.device("meta"):
        expected = Network(norm=any(".bn_s1." in name for name in state)).state_dict()
    wrong = [f"{name} is missing" for name in expected if name not in state]
    wrong += [f"{name} is unknown" for name in state if name not in expected]
    wrong += [
        f"{name} is {tuple(state[name].shape)}, not {tuple(tensor.shape)}"
        for name, tensor in expected.items()
        if name in state and state[name].shape != tensor.shape
    ]
    if wrong:
        more = f" and {len(wrong) - _SHOWN} more" if len(wrong) > _SHOWN else ""
        raise WeightsInvalid(f"weights of another network: {', '.join(wrong[:_SHOWN])}{more}")
