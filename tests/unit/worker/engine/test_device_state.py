"""Who is to blame for images that the network fails on, one by one."""

import pytest

from shared.errors import DeviceFaulty, DeviceFull, DeviceLost
from worker.engine.device_state import MAX_SUSPECTS, MAX_TRIES, Blame, DeviceState


@pytest.fixture
def device():
    return DeviceState(lambda: True)


def test_an_image_is_to_blame_once_another_one_has_run(device):
    assert device.failed_on("a") is Blame.UNKNOWN

    device.ran()

    assert device.failed_on("a") is Blame.IMAGE


def test_a_success_before_the_first_failure_proves_nothing(device):
    device.ran()

    assert device.failed_on("a") is Blame.UNKNOWN


def test_an_image_that_fails_alone_again_and_again_is_to_blame(device):
    blames = [device.failed_on("a") for _ in range(MAX_TRIES)]

    assert blames == [Blame.UNKNOWN] * (MAX_TRIES - 1) + [Blame.IMAGE]


def test_the_device_is_to_blame_when_image_after_image_fails(device):
    images = range(MAX_SUSPECTS)
    for _ in range(MAX_TRIES - 1):
        assert [device.failed_on(image) for image in images] == [Blame.UNKNOWN] * MAX_SUSPECTS

    assert [device.failed_on(image) for image in images] == [Blame.DEVICE] * MAX_SUSPECTS


def test_the_device_is_to_blame_also_for_images_that_come_one_at_a_time(device):
    for image in range(MAX_SUSPECTS - 1):
        while device.failed_on(image) is Blame.UNKNOWN:
            pass

    blames = [device.failed_on("last") for _ in range(MAX_TRIES)]

    assert blames == [Blame.UNKNOWN] * (MAX_TRIES - 1) + [Blame.DEVICE]


def test_images_that_fail_one_after_another_are_to_blame_if_the_next_one_runs(device):
    images = range(10 * MAX_SUSPECTS)
    for image in images:
        device.failed_on(image)

    device.ran()

    assert [device.failed_on(image) for image in images] == [Blame.IMAGE] * len(images)


def test_a_success_ends_the_row_of_failures(device):
    for image in range(10 * MAX_SUSPECTS):
        while device.failed_on(image) is Blame.UNKNOWN:
            pass
        device.ran()

    blames = [device.failed_on("last") for _ in range(MAX_TRIES)]

    assert Blame.DEVICE not in blames


@pytest.mark.parametrize(
    ("error", "works", "may_be_an_item"),
    [
        (DeviceLost("gone"), True, True),
        (DeviceLost("gone"), False, False),
        (DeviceFull("full"), True, False),
        (DeviceFaulty("odd"), True, False),
    ],
)
def test_an_item_is_suspected_only_if_the_device_works_without_it(error, works, may_be_an_item):
    device = DeviceState(lambda: works)

    assert device.leave(error) is may_be_an_item
    assert device.fault == (None if may_be_an_item else f"device: {error}")
