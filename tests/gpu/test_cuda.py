"""On a GPU with random weights: the same masks as on a CPU, and real out-of-memory errors."""

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch
from support.outputs import soft_output
from support.photographs import NAMES, enlarged, photograph
from support.random_weights import write_random_weights

from worker.inference.architectures.isnet.fold import build
from worker.inference.architectures.isnet.tensors import load_state_dict
from worker.inference.backends import LEVELS
from worker.inference.engines import Engines
from worker.inference.pixels import preprocess
from worker.inference.segmenter import Segmenter
from worker.inference.tensorrt import TensorRt
from worker.monitoring.gpu import GpuFigures, load_nvml

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device"),
]

TOLERANCE = {"fp32": 1e-4, "bf16": 0.1, "fp16": 0.02}
"""Greatest difference of an output, 0 to 1, from the CPU's output in fp32."""
CUDA = torch.device("cuda", 0)


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    path = tmp_path_factory.mktemp("weights") / "model.pth"
    write_random_weights(path)
    return path


@pytest.fixture(scope="module")
def on_cpu(weights):
    return Segmenter.load(weights, device="cpu", precision="fp32")


NEEDS_TENSORRT = pytest.mark.skipif(
    Engines(None, TensorRt()).missing is not None, reason="TensorRT is not installed"
)


def outputs_of(segmenter, images):
    """Return the outputs for images that a CPU prepares: devices round a few pixels otherwise."""
    outputs = segmenter.forward([preprocess.prepare(image) for image in images])
    return [output.cpu() for output in outputs]


@pytest.mark.parametrize("precision", TOLERANCE)
def test_outputs_equal_those_of_a_cpu(weights, on_cpu, precision):
    images = [photograph(name) for name in NAMES[:4]]
    found = outputs_of(Segmenter.load(weights, device="cuda", precision=precision), images)
    expected = outputs_of(on_cpu, images)

    assert [output.dtype for output in found] == [torch.float32] * 4
    for one, other in zip(found, expected, strict=True):
        assert float((one - other).abs().max()) <= TOLERANCE[precision]


@pytest.mark.parametrize("precision", ["fp16", "bf16", "fp32"])
@pytest.mark.parametrize(
    "backend", ["fused", "graph", pytest.param("tensorrt", marks=NEEDS_TENSORRT)]
)
def test_a_back_end_has_the_outputs_of_the_plain_one(weights, backend, precision):
    """For any batch size, and when buffers are used again."""
    plain = Segmenter.load(weights, device="cuda", precision=precision, backend="eager")
    other = Segmenter.load(weights, device="cuda", precision=precision, backend=backend)
    expected = outputs_of(plain, [photograph(name) for name in NAMES[:4]])
    kept = []
    for size in (1, 3, 5, 8, 16):
        for first in range(2):
            numbers = [(first + n) % 4 for n in range(size)]
            prepared = [preprocess.prepare(photograph(NAMES[n])) for n in numbers]
            kept.append((numbers, other.forward(prepared)))
    for numbers, found in kept:
        for number, output in zip(numbers, found, strict=True):
            levels = 255 * float((output.cpu() - expected[number]).abs().max())
            assert levels <= LEVELS[precision]


@pytest.mark.parametrize("size", [(1, 3000), (700, 1300), (2000, 1999), (5000, 4000)])
def test_images_are_prepared_as_on_a_cpu(weights, on_cpu, size):
    """The last one is too large for float32 on the device."""
    image = enlarged("coffee", *size)
    found = Segmenter.load(weights, device="cuda").prepare(image).cpu()
    apart = (found.int() - on_cpu.prepare(image).int()).abs()

    assert apart.max() <= 1
    assert apart.count_nonzero() <= 2e-5 * apart.numel()


@pytest.mark.parametrize("size", [(1024, 1024), (300, 451), (2000, 1777), (5000, 4000)])
def test_masks_are_finished_as_on_a_cpu(weights, on_cpu, size):
    output = soft_output()
    cuda = Segmenter.load(weights, device="cuda")
    found = cuda.finish(output.to(CUDA), *size, stretch="seed").mask
    expected = on_cpu.finish(output, *size, stretch="seed").mask
    apart = np.abs(found.astype(int) - expected)

    assert found.shape == size
    assert apart.max() <= 1
    assert np.count_nonzero(apart) <= 0.01 * apart.size


def test_preparing_and_finishing_during_the_network_changes_no_mask(weights):
    """Each thread has its own stream; a missing wait would show as pixels of another image."""
    cuda = Segmenter.load(weights, device="cuda")
    images = [enlarged(name, 900 + 100 * n, 1200) for n, name in enumerate(NAMES[:4])] * 8

    def whole(image, output):
        return cuda.finish(output, *image.shape[:2], stretch="seed").mask

    alone = [whole(image, cuda.forward([cuda.prepare(image)])[0]) for image in images[:4]]
    with ThreadPoolExecutor(8) as pool:
        prepared = pool.map(cuda.prepare, images)
        found = []
        for image, one in zip(images, prepared, strict=True):
            (output,) = cuda.forward([one])
            found.append(pool.submit(whole, image, output))
    for number, mask in enumerate(found):
        assert np.array_equal(mask.result(), alone[number % 4])


@pytest.mark.parametrize("backend", ["eager", "graph"])
def test_two_batches_in_flight_have_the_outputs_of_one_after_the_other(weights, backend):
    """The fallback to the CPU is among them: its images are copied while a batch runs."""
    cuda = Segmenter.load(weights, device="cuda", backend=backend)
    photographs = [photograph(name) for name in NAMES[:4]]
    batches = [
        [cuda.prepare(image) for image in photographs],
        [preprocess.prepare(image) for image in photographs[::-1]],
    ] * 3
    expected = [[output.clone() for output in cuda.forward(batch)] for batch in batches[:2]]

    found, launched = [], None
    for batch in [*batches, None]:
        following = cuda.launch(batch) if batch else None
        if launched is not None:
            found.append(launched.collect())
            assert launched.device_s > 0
        launched = following

    for number, outputs in enumerate(found):
        assert all(map(torch.equal, outputs, expected[number % 2]))


def test_the_driver_reports_the_figures_of_the_device(weights):
    nvml = load_nvml()
    if nvml is None:
        pytest.skip("no nvidia-ml-py")
    cuda = Segmenter.load(weights, device="cuda")

    figures = GpuFigures(nvml).read(cuda.hardware.uuid)

    assert cuda.hardware.name == torch.cuda.get_device_name(0)
    assert 0 < figures["memory_used_bytes"] < figures["memory_bytes"]


def test_a_batch_that_does_not_fit_is_halved_and_no_image_is_lost(weights):
    """The memory limit is half of what a batch takes."""

    class Recording(torch.nn.Module):
        def __init__(self, network):
            super().__init__()
            self.network, self.tried = network, []

        def forward(self, x):
            self.tried.append(len(x))
            return self.network(x)

    network = Recording(build(load_state_dict(weights)).half())
    cuda = Segmenter(
        network, device=CUDA, dtype=torch.float16, weights_sha256="0" * 64, batch_size=16
    )
    images = [photograph(NAMES[n % 4]) for n in range(16)]
    torch.cuda.reset_peak_memory_stats()
    expected = outputs_of(cuda, images)
    half = torch.cuda.max_memory_allocated() / 2
    torch.cuda.empty_cache()
    whole = torch.cuda.get_device_properties(CUDA).total_memory
    torch.cuda.set_per_process_memory_fraction(half / whole)
    network.tried.clear()
    try:
        found = outputs_of(cuda, images)
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0)

    assert network.tried[0] == 16
    assert max(network.tried[-2:]) < 16
    for one, other in zip(found, expected, strict=True):
        assert float((one - other).abs().max()) <= TOLERANCE["fp16"]
