"""Small models in ONNX with the signature of background removers."""

import hashlib

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from shared.models.card import Source
from shared.models.registry import get
from support.cards import card


def made_model(
    path, side_px, *, images="images", planes=1, inputs=("input",), is_mixed=False, red=0.9
):
    """Write a network to *path*, and return it: a sum of channels, blurred and bent.

    Args:
        path: An ONNX file.
        side_px: Width and height of input and output.
        images: Size or name of the first dimension.
        planes: Size of the second dimension of the output.
        inputs: Names of the inputs; only the first one is used.
        red: Weight of the red channel.
        is_mixed: Whether an image changes the outputs of others in its batch.
    """
    kernel = np.zeros((planes, 3, 5, 5), np.float32)
    kernel[:] = np.array([red, -0.4, 0.3], np.float32)[:, None, None] / 25
    constants = {"kernel": kernel, "axis": np.array([0]), "share": np.float32(is_mixed / 2)}
    nodes = [
        helper.make_node("Conv", [inputs[0], "kernel"], ["sums"], pads=[2, 2, 2, 2]),
        helper.make_node("ReduceMean", ["sums", "axis"], ["mean"]),
        helper.make_node("Mul", ["mean", "share"], ["added"]),
        helper.make_node("Add", ["sums", "added"], ["all"]),
        helper.make_node("Tanh", ["all"], ["output"]),
    ]
    sides = [side_px, side_px]
    graph = helper.make_graph(
        nodes,
        "made",
        [helper.make_tensor_value_info(n, TensorProto.FLOAT, [images, 3, *sides]) for n in inputs],
        [helper.make_tensor_value_info("output", TensorProto.FLOAT, [images, planes, *sides])],
        [numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items()],
    )
    opset = [helper.make_opsetid("", 18)]
    onnx.save(helper.make_model(graph, opset_imports=opset, ir_version=8), path)
    return path


def made_card(path, **changes):
    """Return a card for the model in *path*, with the arithmetic of u2net unless *changes* say."""
    checksum = f"sha256:{hashlib.sha256(path.read_bytes()).hexdigest()}"
    source = Source(
        kind="github", location="http://127.0.0.1:1/", file_name=path.name, checksum=checksum
    )
    like = get("u2net")
    given = {"architecture": "onnx", "input": like.input, "output": like.output}
    return card(source, **given | changes)
