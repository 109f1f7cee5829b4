"""Preprocessing, batches and postprocessing around the network, and selection of the device."""

import gc
import weakref

import numpy as np
import pytest
import torch
import torch.nn.functional as F  # noqa: N812  (torch's own spelling)
from support.outputs import soft_output
from support.photographs import NAMES, enlarged, photograph

from shared.errors import (
    DeviceFull,
    DeviceLost,
    DeviceMissing,
    InferenceFailed,
    InvalidOption,
)
from worker.inference.architectures.isnet.network import Network
from worker.inference.batch_runner import GOOD_BATCHES
from worker.inference.devices import cpu_multiplies_bf16, pick_device, pick_dtype
from worker.inference.pixels.postprocess import EMPTY_BELOW, finish
from worker.inference.pixels.preprocess import prepare
from worker.inference.segmenter import Segmenter
from worker.inference.torch_errors import PassFailed

CPU = torch.device("cpu")


class Brightness(torch.nn.Module):
    """A trivial network: brightness is foreground. Records the size of each batch."""

    def __init__(self, fits=99, error="CUDA out of memory. Tried to allocate 2 GiB"):
        super().__init__()
        self.fits, self.error = fits, error
        self.tried = []

    def forward(self, x):
        self.tried.append(len(x))
        if len(x) > self.fits:
            raise RuntimeError(self.error)
        return (x.mean(1, keepdim=True) + 0.5).float()


def segmenter(network, *, batch_size=8, dtype=torch.float32):
    return Segmenter(
        network, device=CPU, dtype=dtype, weights_sha256="0" * 64, batch_size=batch_size
    )


def images(*levels):
    return [prepare(np.full((8, 8, 3), level, np.uint8)) for level in levels]


def reference_prepare(image):
    """Prepare like the node: convert to float, resize with torch, truncate."""
    floats = torch.from_numpy(image.astype(np.float32)).permute(2, 0, 1)[None]
    return F.interpolate(floats, size=(1024, 1024), mode="bilinear")[0].to(torch.uint8)


def assert_prepared_like_the_node(image):
    """Allow a difference of one level at two pixels in 100,000, from rounding errors."""
    apart = (prepare(image).int() - reference_prepare(image).int()).abs()

    assert apart.max() <= 1
    assert apart.count_nonzero() <= 2e-5 * apart.numel()


@pytest.mark.parametrize("name", NAMES)
def test_photographs_are_prepared_as_in_the_node(name):
    assert_prepared_like_the_node(photograph(name))


@pytest.mark.parametrize("size", [(1, 1), (1, 3000), (2500, 3), (1024, 1024), (2000, 1999)])
def test_any_shape_is_prepared_as_in_the_node(size):
    assert_prepared_like_the_node(enlarged("coffee", *size))


def test_a_uniform_image_keeps_its_level():
    """Truncation must not lose a level if the weights add up to just under one."""
    for level in range(0, 256, 5):
        image = np.full((37, 91, 3), level, np.uint8)

        assert torch.equal(prepare(image), reference_prepare(image))


@pytest.mark.parametrize("size", [(700, 1300), (3001, 2000)])
def test_subsampled_images_are_prepared_to_the_same_result(size):
    image = enlarged("flower", *size)

    direct = prepare(image)
    subsampled = prepare(image, max_float_pixels=1000)

    assert subsampled.shape == (3, 1024, 1024)
    assert (subsampled.int() - direct.int()).abs().max() <= 1
    assert (subsampled != direct).sum() <= 2e-5 * direct.numel()


def test_the_network_gets_values_from_minus_a_half_to_a_half():
    inputs = []

    class Recording(Brightness):
        def forward(self, x):
            inputs.append(x)
            return super().forward(x)

    segmenter(Recording()).forward(images(0, 255, 51))

    (x,) = inputs
    assert x.shape == (3, 3, 1024, 1024)
    assert x.is_contiguous(memory_format=torch.channels_last)
    assert x[:, 0, 5, 5].tolist() == pytest.approx([-0.5, 0.5, -0.3])


def test_outputs_are_in_the_order_of_the_batch():
    outputs = segmenter(Brightness()).forward(images(0, 102, 255))

    assert [float(o[7, 7]) for o in outputs] == pytest.approx([0, 0.4, 1])
    assert {(o.shape, o.dtype, o.device) for o in outputs} == {((1024, 1024), torch.float32, CPU)}


def test_an_empty_batch_gives_no_outputs_and_runs_nothing():
    network = Brightness()

    assert segmenter(network).forward([]) == []
    assert network.tried == []


def test_outputs_require_no_gradients():
    weighted = torch.nn.Conv2d(3, 1, 1)

    assert not segmenter(weighted).forward(images(9))[0].requires_grad


def test_a_batch_over_the_limit_is_run_in_parts():
    network = Brightness()
    outputs = segmenter(network, batch_size=2).forward(images(0, 51, 102, 153, 204))

    assert network.tried == [2, 2, 1]
    assert [float(o[0, 0]) for o in outputs] == pytest.approx([0, 0.2, 0.4, 0.6, 0.8])


@pytest.mark.parametrize(
    "error",
    [
        "CUDA out of memory. Tried to allocate 2 GiB",
        "[enforce fail at alloc_cpu.cpp:127] DefaultCPUAllocator: can't allocate memory",
        "cuDNN error: CUDNN_STATUS_ALLOC_FAILED",
        "cuDNN error: CUDNN_STATUS_INTERNAL_ERROR_DEVICE_ALLOCATION_FAILED",
        "cuDNN error: CUDNN_STATUS_NOT_INITIALIZED",
        "GET was unable to find an engine to execute this computation",
        "std::bad_alloc",
    ],
)
def test_out_of_memory_halves_the_batch_and_loses_no_image(error):
    network = Brightness(fits=2, error=error)
    outputs = segmenter(network).forward(images(0, 51, 102, 153, 204))

    assert network.tried == [5, 2, 2, 1]
    assert [float(o[0, 0]) for o in outputs] == pytest.approx([0, 0.2, 0.4, 0.6, 0.8])


def test_a_halved_batch_is_logged_as_a_warning(caplog):
    segmenter(Brightness(fits=2)).forward(images(0, 1, 2, 3))

    (record,) = caplog.records
    assert (record.levelname, record.message) == ("WARNING", "batch halved")
    assert record.batch_size == 4
    assert record.cause.startswith("cpu is out of memory in the network: ")


@pytest.mark.parametrize("error", [MemoryError, torch.OutOfMemoryError])
def test_out_of_memory_is_also_recognised_by_its_class(error):
    class Full(Brightness):
        def forward(self, x):
            if len(x) > 1:
                raise error
            return super().forward(x)

    assert len(segmenter(Full()).forward(images(0, 255))) == 2


def test_the_batch_size_recovers_slowly():
    """It grows by one size after `GOOD_BATCHES` full batches, up to its initial value."""
    network = Brightness(fits=1)
    tight = segmenter(network, batch_size=3)
    tight.forward(images(1, 2, 3))
    network.fits = 99
    network.tried.clear()
    tight.forward(images(1) * (GOOD_BATCHES - 3))
    assert set(network.tried) == {1}

    network.tried.clear()
    tight.forward(images(1) * (2 * GOOD_BATCHES + 30))
    assert network.tried == [2] * GOOD_BATCHES + [3] * 10


def test_no_memory_for_a_single_image_is_not_the_fault_of_the_image():
    network = Brightness(fits=0)

    with pytest.raises(DeviceFull, match="cpu has no memory for one image"):
        segmenter(network).forward(images(0, 1, 2, 3))
    assert network.tried == [4, 2, 1]


ODD = 51


class FailsOn(Brightness):
    """Fails in one precision, or in all, on images of the level `ODD`; on all if *always*."""

    def __init__(self, how, *, always=False, dtype=None):
        super().__init__()
        self.how, self.always, self.dtype = how, always, dtype

    def forward(self, x):
        output = super().forward(x)
        is_odd = abs(float(x.float().mean(dim=(1, 2, 3)).add(0.5).mul(255).sub(ODD).abs().min()))
        if (self.always or is_odd < 1) and self.dtype in (None, x.dtype):
            if self.how == "nan":
                output[:, :, 3, 3] = torch.nan
            else:
                raise self.how
        return output


FAULTS = {
    "a value that is not finite": "nan",
    "a failed assertion": RuntimeError("CUDA error: device-side assert triggered"),
    "an error that is no RuntimeError": LookupError("no kernel image"),
}


@pytest.mark.parametrize("how", FAULTS.values(), ids=FAULTS)
def test_a_batch_that_fails_says_nothing_of_its_images(how):
    with pytest.raises(PassFailed):
        segmenter(FailsOn(how)).forward(images(0, ODD))


@pytest.mark.parametrize("how", FAULTS.values(), ids=FAULTS)
def test_an_image_that_fails_alone_is_the_cause_if_a_blank_one_passes(how):
    with pytest.raises(InferenceFailed, match="the network fails on this image: cpu"):
        segmenter(FailsOn(how)).forward(images(ODD))


@pytest.mark.parametrize("how", FAULTS.values(), ids=FAULTS)
def test_the_device_is_lost_if_a_blank_image_fails_too(how):
    lost = segmenter(FailsOn(how, always=True))

    with pytest.raises(DeviceLost, match="a blank image fails, too: cpu"):
        lost.forward(images(ODD))
    with pytest.raises(DeviceLost):
        lost.check()


@pytest.mark.parametrize("how", FAULTS.values(), ids=FAULTS)
def test_an_image_that_fails_in_a_low_precision_only_is_run_in_fp32(how):
    loaded = []

    def load_precise():
        loaded.append(1)
        return Brightness()

    low = Segmenter(
        FailsOn(how, dtype=torch.bfloat16),
        device=CPU,
        dtype=torch.bfloat16,
        weights_sha256="0" * 64,
        load_precise=load_precise,
    )
    assert float(low.forward(images(0))[0][5, 5]) == pytest.approx(0, abs=0.01)
    assert loaded == []

    for _ in range(2):
        [output] = low.forward(images(ODD))
        assert float(output[5, 5]) == pytest.approx(ODD / 255)
    assert loaded == [1]


def test_no_memory_for_the_weights_in_fp32_is_not_the_fault_of_the_image():
    def load_precise():
        raise RuntimeError("CUDA out of memory")

    low = Segmenter(
        FailsOn("nan"),
        device=CPU,
        dtype=torch.bfloat16,
        weights_sha256="0" * 64,
        load_precise=load_precise,
    )

    with pytest.raises(DeviceFull, match="for the weights in fp32"):
        low.forward(images(ODD))


def test_a_failure_while_outputs_are_checked_means_that_the_device_is_lost():
    class Unreadable(torch.Tensor):
        @classmethod
        def __torch_function__(cls, func, types, args=(), kwargs=None):
            if func is torch.Tensor.sum:
                raise RuntimeError("CUDA error: unspecified launch failure")
            return super().__torch_function__(func, types, args, kwargs or {})

    class Failing(Brightness):
        def forward(self, x):
            return super().forward(x).as_subclass(Unreadable)

    with pytest.raises(DeviceLost, match="launch failure"):
        segmenter(Failing()).forward(images(7))


def ramp(low, high):
    return np.linspace(low, high, 1024 * 1024, dtype=np.float32).reshape(1024, 1024)


def reference_finish(output, height, width):
    """Finish like the node: resize with torch, stretch, truncate."""
    sized = F.interpolate(torch.from_numpy(output)[None, None], (height, width), mode="bilinear")
    sized = (sized - sized.min()) / (sized.max() - sized.min())
    return (sized[0, 0] * 255).numpy().astype(np.uint8)


@pytest.mark.parametrize("size", [(1024, 1024), (300, 451), (2000, 1777), (2, 900), (4000, 3)])
def test_a_mask_is_stretched_by_its_range_at_the_size_of_the_image(size):
    output = soft_output().numpy()
    mask = finish(output, *size, stretch="guarded").mask
    apart = np.abs(mask.astype(int) - reference_finish(output, *size))

    assert mask.shape == size
    assert (mask.min(), mask.max()) == (0, 255)
    assert apart.max() <= 1
    assert np.count_nonzero(apart) <= 0.01 * apart.size


def test_the_range_before_stretching_is_returned():
    segmented = finish(ramp(0.25, 0.75), 1024, 1024, stretch="guarded")

    assert (segmented.low, segmented.high) == (0.25, 0.75)
    assert segmented.mask[0, 0] == 0
    assert segmented.mask[-1, -1] == 255


@pytest.mark.parametrize("stretch", ["guarded", "seed"])
@pytest.mark.parametrize("level", [0.0, 0.6, 1.0])
def test_a_constant_output_gives_an_empty_mask(level, stretch):
    """The node divides 0 by 0 here."""
    segmented = finish(np.full((1024, 1024), level, np.float32), 30, 40, stretch=stretch)

    assert segmented.mask.shape == (30, 40)
    assert not segmented.mask.any()


@pytest.mark.parametrize("size", [(1, 1), (1, 7), (7, 1)])
def test_the_smallest_images_have_masks(size):
    assert finish(ramp(0, 1), *size, stretch="seed").mask.shape == size


def test_noise_gives_an_empty_mask_with_guarded_and_is_stretched_with_seed():
    noise = ramp(0.0, EMPTY_BELOW * 0.99)

    assert not finish(noise, 64, 64, stretch="guarded").mask.any()
    assert finish(noise, 64, 64, stretch="seed").mask.max() == 255


def test_a_faint_subject_is_stretched():
    assert finish(ramp(0.0, EMPTY_BELOW * 1.01), 64, 64, stretch="guarded").mask.max() == 255


def test_every_range_is_stretched_to_exactly_0_to_255():
    """Rounding errors must not give 254, nor 256, which would wrap around to 0."""
    rng = np.random.default_rng(3)
    for low, high in rng.uniform(0, 1, (300, 2)).astype(np.float32):
        output = np.full((1024, 1024), low, np.float32)
        output[:512] = high
        mask = finish(output, 64, 64, stretch="seed").mask

        assert {int(mask[0, 0]), int(mask[-1, -1])} == {0, 255}


def test_finishing_does_not_change_the_output():
    """Not even at its own size, where it is not resized."""
    output = ramp(0.1, 0.9)
    finish(output, 1024, 1024, stretch="seed")

    assert np.array_equal(output, ramp(0.1, 0.9))


def test_cuda_without_a_gpu_is_an_error_and_not_replaced_by_the_cpu():
    if torch.cuda.is_available():
        pytest.skip("CUDA is available")
    for name in ("cuda", "cuda:1"):
        with pytest.raises(DeviceMissing, match=name):
            pick_device(name)
    assert pick_device("auto") == pick_device("cpu") == CPU


def test_a_cuda_device_with_too_high_a_number_is_an_error():
    with pytest.raises(DeviceMissing, match="cuda:99"):
        pick_device("cuda:99")


@pytest.mark.parametrize("name", ["gpu", "cuda:", "cuda:x", "", "CPU", "mps"])
def test_an_unknown_device_name_is_an_error(name):
    with pytest.raises(InvalidOption, match="auto, cpu, cuda or cuda:N"):
        pick_device(name)


def test_auto_precision_is_the_fastest_within_tolerance():
    native = torch.bfloat16 if cpu_multiplies_bf16() else torch.float32

    assert pick_dtype("auto", CPU) == native
    assert pick_dtype("auto", torch.device("cuda", 0)) == torch.float16
    assert pick_dtype("fp32", CPU) == torch.float32
    assert pick_dtype("bf16", CPU) == torch.bfloat16
    with pytest.raises(InvalidOption, match="needs CUDA"):
        pick_dtype("fp16", CPU)
    with pytest.raises(InvalidOption, match="auto, fp32, bf16, fp16"):
        pick_dtype("int8", CPU)


def test_a_segmenter_is_loaded_from_a_weights_file(tmp_path):
    """From a file in the published format to a mask, with random weights."""
    torch.manual_seed(0)
    torch.save(Network().state_dict(), tmp_path / "model.pth")
    loaded = Segmenter.load(tmp_path / "model.pth", device="cpu", precision="fp32")
    (output,) = loaded.forward([loaded.prepare(photograph("astronaut"))])
    segmented = loaded.finish(output, 512, 512, stretch="seed")

    assert (loaded.device, loaded.precision, loaded.batch_size) == ("cpu", "fp32", 1)
    assert len(loaded.weights_sha256) == 64
    assert segmented.mask.shape == (512, 512)
    assert (segmented.mask.min(), segmented.mask.max()) == (0, 255)


def test_memory_of_a_pass_that_did_not_fit_is_free_before_the_next_one():
    """Whatever else refers to the error: here the pass itself does, in a reference cycle."""
    maps = []
    alive = []

    class Keeping(Brightness):
        def forward(self, x):
            alive.append(sum(each() is not None for each in maps))
            activations = x + 1
            maps.append(weakref.ref(activations))
            try:
                return super().forward(x)
            except RuntimeError as err:
                kept = err  # refers to this frame, which refers to it
                raise kept from None

    gc.disable()
    try:
        segmenter(Keeping(fits=1)).forward(images(0, 1, 2, 3))
    finally:
        gc.enable()
    assert alive[:3] == [0, 0, 0]
