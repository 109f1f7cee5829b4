"""Batches of which several are launched before the first is collected."""

import logging

import pytest
import torch

from shared.errors import DeviceFull
from worker.inference.batch_runner import GOOD_BATCHES, BatchRunner
from worker.inference.torch_errors import PassFailed


class Device:
    """Has room for *room* images at once, from their launch until they are collected."""

    def __init__(self, room):
        self.room = room
        self.held = 0
        self.calls = []

    def launch(self, images):
        self.calls.append(f"launch {len(images)}")
        if self.held + len(images) > self.room:
            raise torch.OutOfMemoryError("CUDA out of memory")
        self.held += len(images)
        return Launched(self, images)

    def free(self):
        self.calls.append("free")


class Launched:
    device_s = 0.5

    def __init__(self, device, images):
        self.device, self.images = device, images

    def collect(self):
        self.device.calls.append(f"collect {len(self.images)}")
        self.device.held -= len(self.images)
        return [10 * image for image in self.images]


def runner(device, *, launch=None, batch_size=4):
    return BatchRunner(launch or device.launch, device.free, device="cuda:0", batch_size=batch_size)


def test_a_batch_that_does_not_fit_beside_another_one_waits_for_it_and_is_halved(caplog):
    device = Device(room=6)
    running = runner(device)
    first, second = running.launch([1, 2, 3, 4]), running.launch([5, 6, 7, 8])

    with caplog.at_level(logging.WARNING):
        assert (first.collect(), second.collect()) == ([10, 20, 30, 40], [50, 60, 70, 80])

    assert device.calls == [
        *("launch 4", "launch 4", "collect 4", "free"),
        *("launch 2", "collect 2", "launch 2", "collect 2"),
    ]
    assert [record.message for record in caplog.records] == ["batch halved"]


def test_two_batches_of_the_size_that_fits_are_in_flight_afterwards():
    device = Device(room=6)
    running = runner(device)
    first, second = running.launch([1, 2, 3, 4]), running.launch([5, 6, 7, 8])
    first.collect()
    second.collect()
    device.calls.clear()

    first, second = running.launch([1, 2, 3]), running.launch([4, 5])

    assert device.calls == ["launch 2", "launch 2"]
    assert (first.collect(), second.collect()) == ([10, 20, 30], [40, 50])


def test_no_memory_for_one_image_shows_when_the_batch_is_collected():
    device = Device(room=0)

    launched = runner(device).launch([1])

    with pytest.raises(DeviceFull, match="no memory for one image"):
        launched.collect()


def test_an_error_of_a_launch_shows_when_the_batch_is_collected():
    device = Device(room=9)

    def fail(images):
        raise RuntimeError("CUDA error: device-side assert triggered")

    launched = runner(device, launch=fail).launch([1, 2])

    with pytest.raises(PassFailed, match="device-side assert"):
        launched.collect()


def test_the_time_of_the_device_is_that_of_all_parts():
    device = Device(room=2)
    launched = runner(device).launch([1, 2, 3, 4])

    assert launched.collect() == [10, 20, 30, 40]
    assert launched.device_s == 1.0


def test_batches_shrink_to_sizes_of_graphs_and_grow_to_the_next_one():
    """A graph pads 12 images to 16, so that 12 take as much memory as 16."""
    device = Device(room=9)
    running = runner(device, batch_size=24)
    running(range(24))
    assert device.calls[:3] == ["launch 24", "free", "launch 8"]

    device.room = 99
    sizes = []
    for _ in range(3 * GOOD_BATCHES):
        device.calls.clear()
        running(range(24))
        sizes.append(device.calls[0])
    assert list(dict.fromkeys(sizes)) == ["launch 8", "launch 16", "launch 24"]
