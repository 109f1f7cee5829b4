"""Weights files of every format, complete and damaged."""

import pickle

import numpy as np
import onnx
import pytest
import safetensors.torch
import torch

from shared.errors import WeightsInvalid
from worker.inference.architectures.isnet.fold import build
from worker.inference.architectures.isnet.network import Network, convolutions
from worker.inference.architectures.isnet.tensors import load_state_dict


@pytest.fixture(scope="module")
def folded():
    torch.manual_seed(0)
    return Network(norm=False)


def write_onnx(path, arrays):
    """Write a graph that contains only convolutions with these pairs of weight and bias."""
    nodes, initializers = [], []
    for n, pair in enumerate(arrays):
        names = [f"onnx::Conv_{n}_{part}" for part in range(len(pair))]
        nodes.append(onnx.helper.make_node("Conv", [f"x{n}", *names], [f"x{n + 1}"]))
        pairs = zip(pair, names, strict=True)
        initializers += [onnx.numpy_helper.from_array(a, name) for a, name in pairs]
    graph = onnx.helper.make_graph(nodes, "net", [], [], initializers)
    onnx.save(onnx.helper.make_model(graph), path)


def arrays_of(network, dtype):
    return [
        (conv.weight.detach().numpy().astype(dtype), conv.bias.detach().numpy().astype(dtype))
        for conv in convolutions(network).values()
    ]


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_pth_and_safetensors_files_are_read_unchanged(tmp_path, folded, suffix):
    path = tmp_path / f"model{suffix}"
    save = torch.save if suffix == ".pth" else safetensors.torch.save_file
    save(folded.state_dict(), path)
    loaded = load_state_dict(path)

    assert loaded.keys() == folded.state_dict().keys()
    assert all(torch.equal(loaded[name], t) for name, t in folded.state_dict().items())


@pytest.mark.parametrize("dtype", [np.float32, np.float16])
def test_onnx_convolutions_are_assigned_in_order(tmp_path, folded, dtype):
    write_onnx(tmp_path / "net.onnx", arrays_of(folded, dtype))
    state = load_state_dict(tmp_path / "net.onnx")
    network = build(state)

    for name, tensor in folded.state_dict().items():
        expected = tensor.numpy().astype(dtype).astype(np.float32)
        assert state[name].dtype == torch.float32
        assert np.array_equal(network.state_dict()[name].numpy(), expected)


def test_an_onnx_file_with_too_few_convolutions_is_rejected(tmp_path, folded):
    write_onnx(tmp_path / "net.onnx", arrays_of(folded, np.float16)[:-1])

    with pytest.raises(WeightsInvalid, match="118 convolutions; the network has 119"):
        load_state_dict(tmp_path / "net.onnx")


def test_an_onnx_file_with_another_convolution_is_rejected_with_name_and_shape(tmp_path, folded):
    arrays = arrays_of(folded, np.float16)
    arrays[2] = (arrays[2][0][:, :-1], arrays[2][1])
    write_onnx(tmp_path / "net.onnx", arrays)

    with pytest.raises(WeightsInvalid, match=r"stage1\.rebnconv1\.conv_s1 .*\(32, 63, 3, 3\)"):
        load_state_dict(tmp_path / "net.onnx")


def test_an_onnx_convolution_without_bias_is_rejected(tmp_path, folded):
    """Its batch norm is not folded in and would be lost."""
    arrays = arrays_of(folded, np.float16)
    arrays[0] = arrays[0][:1]
    write_onnx(tmp_path / "net.onnx", arrays)

    with pytest.raises(WeightsInvalid, match="the position of conv_in has"):
        load_state_dict(tmp_path / "net.onnx")


class Bomb:
    def __reduce__(self):
        return (print, ("executed",))


def test_a_pickle_with_code_is_rejected_and_not_executed(tmp_path, capsys):
    torch.save({"conv_in.weight": Bomb()}, tmp_path / "model.pth")
    (tmp_path / "old.pth").write_bytes(pickle.dumps(Bomb(), protocol=2))

    for name in ("model.pth", "old.pth"):
        with pytest.raises(WeightsInvalid, match=r"cannot be read as \.pth"):
            load_state_dict(tmp_path / name)
    assert "executed" not in capsys.readouterr().out


@pytest.mark.parametrize("content", [[1, 2], {"conv_in.weight": 3}], ids=["list", "no tensors"])
def test_a_pth_file_without_a_state_dict_is_rejected(tmp_path, content):
    torch.save(content, tmp_path / "model.pth")

    with pytest.raises(WeightsInvalid, match="not a state dict"):
        load_state_dict(tmp_path / "model.pth")


@pytest.mark.parametrize("suffix", [".pth", ".safetensors", ".onnx"])
@pytest.mark.parametrize("body", [b"", b"<html>not found</html>", b"PK\x03\x04" + b"\0" * 99])
def test_damaged_files_are_rejected_with_their_name(tmp_path, suffix, body):
    path = tmp_path / f"model{suffix}"
    path.write_bytes(body)

    with pytest.raises(WeightsInvalid, match=f"model{suffix}"):
        load_state_dict(path)


def test_a_truncated_pth_file_is_rejected(tmp_path):
    path = tmp_path / "model.pth"
    torch.save({"x": torch.zeros(1000)}, path)
    path.write_bytes(path.read_bytes()[:-500])

    with pytest.raises(WeightsInvalid, match="cannot be read"):
        load_state_dict(path)


@pytest.mark.parametrize("name", ["model.pth", "model.safetensors", "model.onnx", "model.bin"])
def test_a_missing_or_unknown_file_is_rejected(tmp_path, name):
    with pytest.raises(WeightsInvalid, match=name):
        load_state_dict(tmp_path / name)
