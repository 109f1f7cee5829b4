"""Failures of the network: by one image, by a full device, by a broken one. Only one is blamed."""

import zlib

import pytest
import torch
from support.consumer_harness import MODEL

from shared.job.spec import JobState
from worker.engine.device_state import DeviceState
from worker.engine.failure_policy import RetryLimits
from worker.inference.api import Model
from worker.inference.segmenter import Segmenter
from worker.lifecycle import UNFIT_EXIT


class Network(torch.nn.Module):
    """Takes brightness for foreground; `before` is called with the batch first."""

    def __init__(self, before):
        super().__init__()
        self.before = before

    def forward(self, x):
        output = (x.mean(1, keepdim=True) + 0.5).float()
        return self.before(x, output)


def model(before):
    segmenter = Segmenter(
        Network(before),
        device=torch.device("cpu"),
        dtype=torch.float32,
        weights_sha256="5" * 64,
        batch_size=4,
    )
    return Model(name=MODEL, licence="none", segmenter=segmenter)


def level_of(index):
    """Return the level of the image that the stand-in makes of source *index*."""
    return zlib.crc32(b"%d" % index) % 256


def fails_on(index, how):
    def before(x, output):
        levels = (x[:, 0, 0, 0] + 0.5) * 255
        is_odd = (levels - level_of(index)).abs() < 0.5
        if bool(is_odd.any()) and how == "raises":
            raise RuntimeError("an error of torch")
        output[is_odd] = torch.nan
        return output

    return before


@pytest.mark.parametrize("how", ["raises", "returns nan"])
def test_one_poisoned_image_of_four_fails_alone_and_the_worker_stays(consumers, how):
    consumer = consumers(
        model=model(fails_on(2, how)),
        device=DeviceState(lambda: pytest.fail("a process was started")),
    )
    job_id = consumer.submit(4)

    consumer.run()

    status = consumer.store.queries.status(job_id)
    assert (status.state, status.done, status.failed) == (JobState.DONE, 3, 1)
    assert status.error_classes == {"InferenceFailed": 1}
    assert not consumer.shutdown.is_draining
    assert consumer.store.queries.status(job_id).generation == 1


class Holder:
    """Another process that holds the device's memory for so many passes."""

    def __init__(self, passes):
        self.passes = passes

    def __call__(self, x, output):
        self.passes -= 1
        if self.passes >= 0:
            raise RuntimeError("CUDA out of memory. Tried to allocate 2 GiB")
        return output


def test_images_wait_while_another_process_holds_the_memory_of_the_device(consumers):
    consumer = consumers(
        model=model(Holder(40)), retries=RetryLimits(device_full_s=60.0, device_again_s=0.01)
    )
    job_id = consumer.submit(4)

    consumer.run()

    status = consumer.store.queries.status(job_id)
    assert (status.state, status.done, status.failed) == (JobState.DONE, 4, 0)
    assert not consumer.shutdown.is_draining


def test_a_worker_without_memory_for_a_minute_leaves_and_blames_nobody(consumers):
    consumer = consumers(
        model=model(Holder(10**9)), retries=RetryLimits(device_full_s=0.2, device_again_s=0.01)
    )
    job_id = consumer.submit(4)

    consumer.serve_leaving()

    assert_nobody_is_blamed(consumer, job_id)
    assert consumer.waiting_for(job_id) == "device: cpu has no memory for one image"


def broken(x, _output):
    raise RuntimeError("CUDA error: unspecified launch failure")


def test_a_device_that_is_broken_for_good_blames_nobody_and_is_named(consumers):
    consumer = consumers(model=model(broken), device=DeviceState(lambda: False))
    job_id = consumer.submit(4)

    consumer.serve_leaving()

    assert_nobody_is_blamed(consumer, job_id)
    assert consumer.waiting_for(job_id).startswith("device: a blank image fails, too: cpu failed")


def test_a_device_that_works_in_a_new_process_counts_a_death(consumers):
    """An image may have broken it: two more such deaths, and the image runs alone."""
    consumer = consumers(model=model(broken), device=DeviceState(lambda: True))
    job_id = consumer.submit(4)

    consumer.serve_leaving()

    assert consumer.shutdown.exit_code == UNFIT_EXIT
    assert consumer.deaths(job_id) == [b"1"]


def assert_nobody_is_blamed(consumer, job_id):
    status = consumer.store.queries.status(job_id)
    assert (status.done, status.failed) == (0, 0)
    assert consumer.shutdown.exit_code == UNFIT_EXIT
    assert consumer.deaths(job_id) == [None]
    assert consumer.placed("parked") == 1


def fails_unless_blank(x, output):
    """Fail as a device does that is broken in part."""
    output[x[:, 0, 0, 0] > -0.5] = torch.nan
    return output


def test_a_device_that_fails_on_real_images_only_blames_nobody_and_is_named(consumers):
    consumer = consumers(
        model=model(fails_unless_blank),
        device=DeviceState(lambda: True),
        retries=RetryLimits(device_again_s=0.01),
    )
    job_id = consumer.submit(8)

    consumer.serve_leaving()

    assert_nobody_is_blamed(consumer, job_id)
    assert consumer.waiting_for(job_id).startswith("device: image after image fails, the last one")


def fails_on_first(count):
    """Fail on the *count* images that are seen first, always."""
    seen = []

    def before(x, output):
        levels = [round(float(level)) for level in (x[:, 0, 0, 0] + 0.5) * 255]
        seen.extend(level for level in levels if level and level not in seen)
        odd = [level in seen[:count] for level in levels]
        output[torch.tensor(odd)] = torch.nan
        return output

    return before


@pytest.mark.parametrize("poisoned", [1, 3, 5])
def test_images_that_fail_one_after_another_are_blamed_if_a_later_one_runs(consumers, poisoned):
    consumer = consumers(
        model=model(fails_on_first(poisoned)), retries=RetryLimits(device_again_s=0.01)
    )
    job_id = consumer.submit(8)

    consumer.run()

    status = consumer.store.queries.status(job_id)
    assert (status.done, status.failed) == (8 - poisoned, poisoned)
    assert status.error_classes == {"InferenceFailed": poisoned}
    assert not consumer.shutdown.is_draining


def test_a_job_of_one_poisoned_image_ends(consumers):
    consumer = consumers(model=model(fails_unless_blank), retries=RetryLimits(device_again_s=0.01))
    job_id = consumer.submit(1)

    consumer.run()

    assert consumer.store.queries.status(job_id).failed == 1
    assert not consumer.shutdown.is_draining
