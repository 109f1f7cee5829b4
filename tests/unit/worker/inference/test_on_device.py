"""The device's preprocessing and postprocessing, run on the CPU, gives the same results."""

from typing import get_args

import numpy as np
import pytest
import torch
from support.outputs import soft_output
from support.photographs import NAMES, enlarged, photograph
from support.soft_masks import soft_mask

from shared.errors import DeviceLost
from worker.imaging.compose import Edges, compose
from worker.inference.pixels import postprocess, preprocess
from worker.inference.pixels.on_device import OnDevice
from worker.inference.pixels.postprocess import EMPTY_BELOW
from worker.inference.segmenter import Segmenter

CPU = torch.device("cpu")


@pytest.fixture
def on_cpu():
    return OnDevice(CPU)


class Broken(OnDevice):
    """A device on which every call fails with *error*."""

    def __init__(self, error):
        super().__init__(CPU)
        self._error = RuntimeError(error)

    def prepare(self, image):
        raise self._error

    def finish(self, output, height, width, *, stretch):
        raise self._error

    def compose(self, image, mask, *, edges):
        raise self._error


class Counting(OnDevice):
    """Records the sizes that it is called with."""

    def __init__(self):
        super().__init__(CPU)
        self.calls = []

    def prepare(self, image):
        self.calls.append(image.shape[:2])
        return super().prepare(image)

    def finish(self, output, height, width, *, stretch):
        self.calls.append((height, width))
        return super().finish(output, height, width, stretch=stretch)

    def compose(self, image, mask, *, edges):
        self.calls.append(edges)
        return super().compose(image, mask, edges=edges)


class Brightness(torch.nn.Module):
    def forward(self, x):
        return (x.mean(1, keepdim=True) + 0.5).float()


def segmenter(on_device):
    return Segmenter(
        Brightness(),
        device=CPU,
        dtype=torch.float32,
        weights_sha256="0" * 64,
        on_device=on_device,
    )


def mask_of(segmenter, image):
    (output,) = segmenter.forward([segmenter.prepare(image)])
    return segmenter.finish(output, *image.shape[:2], stretch="guarded").mask


@pytest.mark.parametrize("name", NAMES)
def test_a_photograph_is_prepared_as_on_a_cpu(on_cpu, name):
    image = photograph(name)
    apart = (on_cpu.prepare(image).int() - preprocess.prepare(image).int()).abs()

    assert apart.max() <= 1
    assert apart.count_nonzero() <= 2e-5 * apart.numel()


@pytest.mark.parametrize("size", [(1, 1), (1, 3000), (2500, 3), (1024, 1024), (2000, 1999)])
def test_any_shape_is_prepared_as_on_a_cpu(on_cpu, size):
    image = enlarged("coffee", *size)
    prepared = on_cpu.prepare(image)
    apart = (prepared.int() - preprocess.prepare(image).int()).abs()

    assert (prepared.shape, prepared.dtype) == ((3, 1024, 1024), torch.uint8)
    assert apart.max() <= 1
    assert apart.count_nonzero() <= 2e-5 * apart.numel()


def test_a_read_only_image_is_prepared_without_a_warning(on_cpu):
    """Pillow returns such arrays, torch warns about them, and warnings are errors in tests."""
    image = photograph("coffee").copy()
    image.flags.writeable = False

    assert on_cpu.prepare(image).shape == (3, 1024, 1024)


@pytest.mark.parametrize("size", [(1024, 1024), (300, 451), (2000, 1777), (2, 900), (4000, 3)])
@pytest.mark.parametrize("stretch", ["guarded", "seed"])
def test_a_mask_is_finished_as_on_a_cpu(on_cpu, size, stretch):
    output = soft_output()
    found = on_cpu.finish(output, *size, stretch=stretch)
    expected = postprocess.finish(output.numpy(), *size, stretch=stretch)
    apart = np.abs(found.mask.astype(int) - expected.mask)

    assert (found.mask.shape, found.mask.dtype) == (size, np.uint8)
    assert (found.mask.min(), found.mask.max()) == (0, 255)
    assert apart.max() <= 1
    assert np.count_nonzero(apart) <= 0.01 * apart.size
    assert (found.low, found.high) == pytest.approx((expected.low, expected.high), abs=1e-6)


@pytest.mark.parametrize(
    ("low", "high", "stretch", "brightest"),
    [
        (0.6, 0.6, "seed", 0),
        (0.6, 0.6, "guarded", 0),
        (0.0, EMPTY_BELOW * 0.99, "guarded", 0),
        (0.0, EMPTY_BELOW * 0.99, "seed", 255),
        (0.0, EMPTY_BELOW * 1.01, "guarded", 255),
    ],
)
def test_flat_and_faint_outputs_are_finished_as_on_a_cpu(on_cpu, low, high, stretch, brightest):
    output = torch.linspace(low, high, 1024 * 1024).reshape(1024, 1024)

    assert on_cpu.finish(output, 64, 64, stretch=stretch).mask.max() == brightest


def test_finishing_does_not_change_the_output(on_cpu):
    output = soft_output()
    before = output.clone()
    on_cpu.finish(output, 1024, 1024, stretch="seed")

    assert torch.equal(output, before)


def test_a_segmenter_prepares_and_finishes_on_its_device():
    device = Counting()
    image = photograph("flower")
    mask = mask_of(segmenter(device), image)

    assert device.calls == [image.shape[:2]] * 2
    assert np.abs(mask.astype(int) - mask_of(segmenter(None), image)).max() <= 1


def test_a_segmenter_composes_estimated_edges_on_its_device():
    """The transfer of an image takes longer than all other ways to compose it."""
    device = Counting()
    image = photograph("flower")
    mask = soft_mask(*image.shape[:2])
    for edges in get_args(Edges):
        found = segmenter(device).compose(image, mask, edges=edges)
        assert np.array_equal(found, compose(image, mask, edges=edges))

    assert device.calls == ["estimate"]


def test_a_segmenter_without_a_device_composes_on_the_cpu():
    image = photograph("flower")
    mask = soft_mask(*image.shape[:2])

    found = segmenter(None).compose(image, mask, edges="estimate")

    assert np.array_equal(found, compose(image, mask, edges="estimate"))


@pytest.mark.parametrize("error", ["CUDA out of memory. Tried to allocate 2 GiB", "odd sizes"])
def test_the_cpu_composes_when_the_device_cannot(error):
    image = photograph("flower")
    mask = soft_mask(*image.shape[:2])

    found = segmenter(Broken(error)).compose(image, mask, edges="estimate")

    assert np.array_equal(found, compose(image, mask, edges="estimate"))


def test_very_large_images_are_processed_on_the_cpu():
    """As floats, several at once would take gigabytes of device memory."""
    device = Counting()
    image = enlarged("flower", preprocess.MAX_FLOAT_PIXELS // 4000 + 1, 4000)

    assert np.array_equal(mask_of(segmenter(device), image), mask_of(segmenter(None), image))
    assert device.calls == []


def test_the_cpu_takes_over_when_the_device_is_out_of_memory():
    image = photograph("flower")
    full = segmenter(Broken("CUDA out of memory. Tried to allocate 2 GiB"))

    assert np.array_equal(mask_of(full, image), mask_of(segmenter(None), image))


def test_the_cpu_takes_over_when_the_device_fails_on_one_image_only():
    image = photograph("flower")
    odd = segmenter(Broken("upsample: input and output sizes do not fit"))

    assert np.array_equal(mask_of(odd, image), mask_of(segmenter(None), image))


def test_the_device_is_lost_if_it_fails_in_a_test_after_an_image_too():
    broken = segmenter(Broken("CUDA error: an illegal memory access was encountered"))
    broken.device = "cpu:no-such-device"  # torch refuses it, as it does any call after a fault

    with pytest.raises(DeviceLost, match=r"failed a test after this: .* CUDA error: an ill"):
        broken.prepare(photograph("flower"))
    with pytest.raises(DeviceLost, match="illegal"):
        broken.compose(photograph("flower"), soft_mask(427, 640), edges="estimate")
    with pytest.raises(DeviceLost, match="illegal"):
        broken.finish(soft_output(), 9, 9, stretch="seed")


class Unreadable(torch.Tensor):
    """An output that cannot be copied from its device."""

    @classmethod
    def __torch_function__(cls, func, types, args=(), kwargs=None):
        if func is torch.Tensor.cpu:
            raise RuntimeError(cls.error)
        return super().__torch_function__(func, types, args, kwargs or {})


@pytest.mark.parametrize(
    ("error", "raised"),
    [
        ("CUDA error: an illegal memory access was encountered", DeviceLost),
        ("DefaultCPUAllocator: can't allocate memory", MemoryError),
    ],
)
def test_an_output_that_cannot_be_copied_is_no_item_error(error, raised):
    """Happens with a very large image, whose mask the CPU finishes, after a device failure."""
    output = soft_output().as_subclass(Unreadable)
    Unreadable.error = error

    with pytest.raises(raised):
        segmenter(None).finish(output, 9, 9, stretch="seed")
