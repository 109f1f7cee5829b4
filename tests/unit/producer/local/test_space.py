"""A full disk is named as the cause, whichever part of a run fails first."""

import errno
import os
import re

import pytest

from producer.local.space import LEAST_BYTES, Space
from shared.errors import InvalidOption, RedisUnavailable, StoreUnavailable

FULL = (
    r"no space left in OUT_DIR \(.*\): \d+ MB free are too few; make room on this disk, then repeat"
)
COMPLAINTS = [
    "write cutouts_1.dat: no space left on device",
    "error: No writable volumes and no free volumes left for {",
    "Error writing to the AOF file: No space left on device",
    "write 1.dat: disk quota exceeded",
]


@pytest.fixture
def log(tmp_path):
    path = tmp_path / "s3.log"
    path.write_text("write of an earlier run: no space left on device\n")
    return path


def space_of(tmp_path, *logs, free_bytes=10 * LEAST_BYTES):
    return Space(tmp_path, logs, free_bytes=lambda _: free_bytes)


def test_a_disk_with_room_is_accepted(tmp_path, log):
    space = space_of(tmp_path, log, tmp_path / "not-yet.log", free_bytes=LEAST_BYTES)

    space.check()
    Space(tmp_path).check()


def test_a_disk_without_room_is_named(tmp_path):
    with pytest.raises(InvalidOption, match=FULL) as caught:
        space_of(tmp_path, free_bytes=LEAST_BYTES - 1).check()

    assert f"({tmp_path}): 67 MB free" in str(caught.value)


@pytest.mark.parametrize("complaint", COMPLAINTS)
def test_what_a_server_logs_of_the_disk_counts(tmp_path, log, complaint):
    """SeaweedFS can run out of volumes, and users out of quota, on a disk with free space."""
    space = space_of(tmp_path, log)
    space.check()
    half = len(complaint) // 2
    with log.open("a") as file:
        file.write(complaint[:half])
        file.flush()
        space.check()
        file.write(complaint[half:] + "\n")

    with pytest.raises(InvalidOption, match=FULL):
        space.check()


@pytest.mark.parametrize(
    "error",
    [StoreUnavailable("InternalError"), RedisUnavailable("MISCONF"), InvalidOption("x"), OSError()],
)
def test_an_error_on_a_full_disk_is_explained(tmp_path, error):
    with (
        pytest.raises(InvalidOption, match=FULL),
        space_of(tmp_path, free_bytes=0).explained(),
    ):
        raise error


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT])
def test_a_file_that_exceeds_a_quota_is_explained(tmp_path, number):
    """The disk itself has room."""
    refusal = OSError(number, os.strerror(number))
    with pytest.raises(InvalidOption, match=FULL), space_of(tmp_path).explained():
        raise InvalidOption("cannot write a.png") from refusal


def test_other_errors_stay_as_they_are(tmp_path, log):
    error = StoreUnavailable("InternalError")

    with (
        pytest.raises(StoreUnavailable, match=re.escape("InternalError")) as caught,
        space_of(tmp_path, log).explained(),
    ):
        raise error

    assert caught.value is error
