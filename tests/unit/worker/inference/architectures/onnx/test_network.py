"""Models in ONNX Runtime: what is refused, where operators run, which batches are safe."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from support.onnx_models import made_card, made_model
from support.pictures import photo

from shared.errors import DeviceLost, DeviceUnsupported, InferenceFailed, WeightsInvalid
from shared.models.registry import get
from worker.inference.api import Done
from worker.inference.architectures.onnx.network import Network, takes_batches
from worker.inference.architectures.onnx.segmenter import OnnxSegmenter
from worker.inference.architectures.onnx.session import (
    PROVIDERS,
    check_placement,
    heavy_operators_elsewhere,
    open_session,
)
from worker.inference.forward import NotFinite
from worker.inference.torch_errors import PassFailed

CPU = torch.device("cpu")
SIDE_PX = 320
WIDE = get("isnet-anime").input


def network_of(folder, **options):
    path = made_model(folder / "net.onnx", SIDE_PX, **options)
    return Network(open_session(path, CPU, threads=1), made_card(path))


def images(count):
    rng = np.random.default_rng(3)
    return [
        torch.from_numpy(rng.integers(0, 256, (3, SIDE_PX, SIDE_PX), np.uint8))
        for _ in range(count)
    ]


# --- what is refused


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"planes": 2}, r"output 0 is .*; a mask is \(images, 1, height, width\)"),
        ({"inputs": ("input", "prompt")}, r"needs one input \(images, 3, 320, 320\).*prompt"),
    ],
)
def test_a_model_unlike_its_card_is_refused(options, said, tmp_path):
    with pytest.raises(WeightsInvalid, match=said):
        network_of(tmp_path, **options)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"input": WIDE}, r"needs one input \(images, 3, 1024, 1024\)"),
        ({"output": get("u2net").output.model_copy(update={"index": 6})}, "names output 6.*has 1"),
    ],
)
def test_a_card_unlike_its_model_is_refused(changes, said, tmp_path):
    path = made_model(tmp_path / "net.onnx", SIDE_PX)
    session = open_session(path, CPU, threads=1)

    with pytest.raises(WeightsInvalid, match=said):
        Network(session, made_card(path, **changes))


def test_a_file_that_is_no_model_is_refused(tmp_path):
    path = tmp_path / "net.onnx"
    path.write_bytes(b"no model")

    with pytest.raises(WeightsInvalid, match=r"net\.onnx: ONNX Runtime does not load it"):
        open_session(path, CPU, threads=1)


def test_a_device_that_the_build_does_not_know_is_refused(tmp_path):
    path = made_model(tmp_path / "net.onnx", SIDE_PX)

    with pytest.raises(DeviceUnsupported, match=r"no CUDAExecutionProvider: install .*onnx-gpu"):
        open_session(path, torch.device("cuda", 0), threads=1)


# --- where the operators run


def subgraph(provider, *operators):
    nodes = [SimpleNamespace(op_type=each) for each in operators]
    return SimpleNamespace(ep_name=provider, get_nodes=lambda: nodes)


def test_heavy_operators_elsewhere_are_counted_by_provider():
    found = heavy_operators_elsewhere(
        [
            subgraph("CUDAExecutionProvider", "Conv", "Conv"),
            subgraph("CPUExecutionProvider", "Conv", "Resize", "MatMul"),
            subgraph("CPUExecutionProvider", "Gemm"),
            subgraph("Other", "Shape"),
        ],
        "CUDAExecutionProvider",
    )

    assert found == {"CPUExecutionProvider": 3}


def test_a_real_session_reports_its_operators(tmp_path):
    session = open_session(made_model(tmp_path / "net.onnx", SIDE_PX), CPU, threads=1)
    assigned = session.get_provider_graph_assignment_info()

    assert heavy_operators_elsewhere(assigned, PROVIDERS["cpu"]) == {}
    assert heavy_operators_elsewhere(assigned, "Other") == {PROVIDERS["cpu"]: 1}


def test_a_session_on_another_device_is_refused(tmp_path):
    session = open_session(made_model(tmp_path / "net.onnx", SIDE_PX), CPU, threads=1)

    with pytest.raises(DeviceUnsupported, match="chose CPUExecutionProvider and not CUDA"):
        check_placement(session, PROVIDERS["cuda"])


# --- batches


def test_a_model_that_computes_each_image_alone_takes_batches(tmp_path):
    network = network_of(tmp_path)
    pair = images(2)

    assert takes_batches(network)
    together, alone = network.together(pair), network.one_by_one(pair)
    assert [torch.equal(a, b) for a, b in zip(together, alone, strict=True)] == [True, True]


@pytest.mark.parametrize("options", [{"images": 1}, {"is_mixed": True}])
def test_a_model_of_one_image_takes_none(options, tmp_path):
    """It says so, or it mixes the images of a batch without saying so."""
    assert not takes_batches(network_of(tmp_path, **options))


# --- failures


class Stub:
    """A network that fails on images with a white first pixel, or on all."""

    def __init__(self, *, always=False):
        self._always = always

    def launch(self, given, *, is_batched):
        assert not is_batched
        if self._always or any(image[0, 0, 0] == 255 for image in given):
            raise RuntimeError("Non-zero status code returned while running Conv node")
        return Done([torch.zeros(SIDE_PX, SIDE_PX) for _ in given])


def segmenter(network):
    return OnnxSegmenter(network, get("u2net"), device="cpu", weights_sha256="0", batch_size=1)


def white():
    return torch.full((3, SIDE_PX, SIDE_PX), 255, dtype=torch.uint8)


def test_an_image_that_the_network_fails_on_fails_alone():
    tried = segmenter(Stub())

    assert len(tried.forward(images(2))) == 2
    with pytest.raises(PassFailed):
        tried.forward([images(1)[0], white()])
    with pytest.raises(InferenceFailed, match="Non-zero status code"):
        tried.forward([white()])


def test_a_device_that_fails_on_a_blank_image_is_lost():
    with pytest.raises(DeviceLost, match="a blank image fails, too"):
        segmenter(Stub(always=True)).forward([white()])


def test_a_loaded_model_makes_masks_of_the_size_of_the_image(tmp_path):
    path = made_model(tmp_path / "net.onnx", SIDE_PX)
    card, image = made_card(path), photo(width=64, height=48, seed=2)
    loaded = OnnxSegmenter.load(path, card, device="cpu", threads=1, weights_sha256="0a")

    loaded.check()
    outputs = loaded.forward([loaded.prepare(image)] * 3)
    found = [loaded.finish(each, 48, 64, stretch="guarded").mask for each in outputs]

    assert [mask.shape for mask in found] == [(48, 64)] * 3
    assert found[0].max() > 200
    assert (loaded.device, loaded.batch_size, loaded.weights_sha256) == ("cpu", 1, "0a")


def test_outputs_that_are_not_finite_are_a_failure_of_the_image(tmp_path):
    network = network_of(tmp_path, red=np.nan)

    with pytest.raises(NotFinite):
        network.launch(images(1), is_batched=False)
