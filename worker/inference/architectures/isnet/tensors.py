"""Read weights files (.pth, .safetensors, .onnx) as tensors under the published names."""

import zipfile
from collections.abc import Callable
from pathlib import Path
from pickle import UnpicklingError
from typing import Any, Final

import safetensors
import safetensors.torch
import torch
from torch import Tensor

from shared.errors import WeightsInvalid
from worker.inference.architectures.isnet.network import Network, convolutions


def load_state_dict(path: Path) -> dict[str, Tensor]:
    """Read the tensors of *path*, on the CPU, under the names of the published `model.pth`.

    Nothing in the file is executed: `.pth` is read with `weights_only=True`, and ONNX files
    may not point to other files.

    Returns:
        The content of `.pth` and `.safetensors` files. From `.onnx`, only the weights and biases
        of the convolutions in float32: exporters fold batch norm into them.

    Raises:
        WeightsInvalid: If the file cannot be read, has another format, or its convolutions differ
            from the network's. `isnet.fold.build` checks that all tensors are there.
    """
    readers: dict[str, Callable[[Path], dict[str, Tensor]]] = {
        ".pth": _read_pth,
        ".safetensors": safetensors.torch.load_file,
        ".onnx": _read_onnx,
    }
    reader = readers.get(path.suffix.lower())
    if reader is None:
        raise WeightsInvalid(f"{path}: not a weights file; supported are {', '.join(readers)}")
    try:
        return reader(path)
    except _FOREIGN_ERRORS as err:
        raise WeightsInvalid(f"{path}: cannot be read as {path.suffix}: {err}") from err


_FOREIGN_ERRORS: Final = (
    OSError,
    EOFError,
    KeyError,
    RuntimeError,
    TypeError,
    ValueError,
    UnpicklingError,
    zipfile.BadZipFile,
    safetensors.SafetensorError,
)
"""Exceptions that torch and safetensors raise on damaged files."""


def _read_pth(path: Path) -> dict[str, Tensor]:
    content: Any = torch.load(path, map_location="cpu", weights_only=True)
    if not isinstance(content, dict) or not all(
        isinstance(t, torch.Tensor) for t in content.values()
    ):
        raise WeightsInvalid(f"{path}: contains {type(content).__name__}, not a state dict")
    return dict(content)


def _read_onnx(path: Path) -> dict[str, Tensor]:
    import onnx  # noqa: PLC0415 - takes 0.1 s to import, and later starts read converted weights
    from google.protobuf.message import (  # type: ignore[import-untyped]  # noqa: PLC0415 - as onnx
        DecodeError,
    )

    try:
        graph = onnx.load(path, load_external_data=False).graph
    except DecodeError as err:
        raise ValueError(str(err)) from err
    values = {tensor.name: tensor for tensor in graph.initializer}
    found = [node.input[1:3] for node in graph.node if node.op_type == "Conv"]
    with torch.device("meta"):
        expected = convolutions(Network(norm=False))
    if len(found) != len(expected):
        raise WeightsInvalid(f"{path}: {len(found)} convolutions; the network has {len(expected)}")
    state = {}
    for (name, conv), inputs in zip(expected.items(), found, strict=True):
        shapes = [tuple(values[i].dims) if i in values else None for i in inputs]
        if shapes != [tuple(conv.weight.shape), (conv.out_channels,)]:
            raise WeightsInvalid(
                f"{path}: the convolution at the position of {name} has weight and bias {shapes},"
                f" not {[tuple(conv.weight.shape), (conv.out_channels,)]}"
            )
        for part, source in zip(("weight", "bias"), inputs, strict=True):
            array = onnx.numpy_helper.to_array(values[source])
            state[f"{name}.{part}"] = torch.from_numpy(array.copy()).float()
    return state
