"""Decoding in child processes: an image that kills one affects nothing else."""

import os
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import asdict

import numpy as np
import psutil
import pytest
from support.pictures import encoded, exif, photo, plain, png, quadrants, stored
from support.until import until

from shared.errors import ImageTooLarge, UndecodableImage, UnsupportedImage, WorkerUnfit
from worker.imaging.decode import Limits, decode
from worker.imaging.decode.isolated.decoder import IsolatedDecoder
from worker.imaging.decode.isolated.process import BOOT, DecoderProcess

LIMITS = Limits()
FORMATS = ["JPEG", "PNG", "WEBP", "AVIF", "TIFF", "GIF", "BMP"]
DEADLINE_S = 60


@pytest.fixture(scope="module")
def shared():
    with closing(IsolatedDecoder(LIMITS)) as decoder:
        yield decoder


@pytest.fixture(scope="module")
def slow():
    """Return a file of 64 MP that takes some 100 MB and most of a second to decode."""
    return png(np.zeros((8_000, 8_000), np.uint8))


def pids(decoder):
    """Return the ids of the decoder's running processes."""
    return tuple(child._process.pid for child in decoder._children if child.alive)


def data_bytes(pid):
    try:
        return psutil.Process(pid).memory_info().data
    except psutil.NoSuchProcess:
        return 0


def kill_at_work(decoder, idle_bytes, number, times):
    """Send a signal to the process once it has allocated memory for an image, *times* times."""
    killed = set()
    for _ in range(times):
        until(lambda: at_work(decoder, idle_bytes) - killed, within_s=DEADLINE_S)
        for pid in at_work(decoder, idle_bytes) - killed:
            killed.add(pid)
            os.kill(pid, number)
    return killed


def at_work(decoder, idle_bytes):
    return {pid for pid in pids(decoder) if data_bytes(pid) > idle_bytes + 50 * 2**20}


@pytest.fixture
def fresh():
    """Return a new decoder whose process has started."""
    with closing(IsolatedDecoder(LIMITS)) as decoder:
        decoder.decode(encoded(quadrants(), "PNG"))
        yield decoder


@pytest.fixture
def killer(fresh):
    """Return a function that kills the process of *fresh* as soon as it decodes."""
    idle_bytes = data_bytes(pids(fresh)[0])
    with ThreadPoolExecutor(1) as thread:
        yield lambda number, times: thread.submit(kill_at_work, fresh, idle_bytes, number, times)


@pytest.mark.parametrize("image_format", FORMATS)
def test_a_child_decodes_to_the_same_pixels(shared, image_format):
    data = encoded(photo(), image_format)

    isolated, direct = shared.decode(data), decode(data, LIMITS)

    assert np.array_equal(isolated.image, direct.image)
    assert isolated.image.flags.writeable
    assert isolated.notes == direct.notes


def test_a_child_returns_alpha_colours_and_notes(shared):
    alpha = np.linspace(0, 255, 48).astype(np.uint8) * np.ones((32, 1), np.uint8)
    turned = stored(np.dstack([quadrants(), alpha]), 8)
    data = encoded(turned, "WEBP", lossless=True, exact=True, exif=exif(8))

    isolated, direct = shared.decode(data), decode(data, LIMITS)

    assert np.array_equal(isolated.alpha, alpha)
    assert np.array_equal(isolated.straight, direct.straight)
    assert np.array_equal(isolated.image, direct.image)
    assert isolated.notes == direct.notes
    assert isolated.notes[0].startswith("has alpha")


def test_a_child_returns_errors_with_class_and_reason(shared):
    with pytest.raises(UndecodableImage, match="is text/HTML, not an image"):
        shared.decode(b"<html>")
    with pytest.raises(UnsupportedImage, match="PDF"):
        shared.decode(b"%PDF-1.4")
    with pytest.raises(UndecodableImage, match="GIF: image file is truncated"):
        shared.decode(encoded(photo(), "GIF")[:2_000])


def test_a_child_accepts_a_truncated_file_on_request(shared):
    decoded = shared.decode(encoded(photo(), "GIF")[:6_000], truncated="accept")

    assert decoded.image.shape == (120, 160, 3)
    assert "file is truncated" in decoded.notes[0]


def test_the_limits_apply_in_a_child():
    with (
        closing(IsolatedDecoder(Limits(max_pixels=1_000))) as decoder,
        pytest.raises(ImageTooLarge, match="the limit is 1,000 pixels"),
    ):
        decoder.decode(encoded(photo(), "WEBP"))


def test_the_process_is_reused_for_further_images(shared):
    data = encoded(quadrants(), "GIF")
    shared.decode(data)
    before = pids(shared)

    shared.decode(data)

    assert pids(shared) == before
    assert len(before) == 1


def test_the_process_is_not_in_the_workers_process_group(shared):
    """Otherwise Ctrl-C would kill it while the worker finishes its items."""
    shared.decode(encoded(quadrants(), "GIF"))

    assert os.getpgid(pids(shared)[0]) != os.getpgid(0)


def test_the_child_imports_neither_torch_nor_pydantic_nor_boto3(tmp_path):
    """Ask the real child, after it has decoded one image of each format, for its `sys.modules`."""
    listing = tmp_path / "modules"
    boot = f"{BOOT}; open({str(listing)!r}, 'w').write(' '.join(sys.modules))"
    config = {"limits": asdict(LIMITS), "memory_bytes": 2**30, "timeout_s": 30.0}

    child = DecoderProcess(config, boot)
    child.wait_ready()
    for image_format in FORMATS:
        child.ask(encoded(photo(), image_format), "fail", timeout_s=30.0)

    assert child.reap(grace_s=DEADLINE_S) == "exit code 0"
    imported = {module.partition(".")[0] for module in listing.read_text().split()}
    assert {"worker", "shared", "PIL", "numpy"} <= imported
    assert not imported & {"torch", "pydantic", "boto3", "botocore", "celery", "redis"}


@pytest.mark.skipif(sys.platform != "linux", reason="RLIMIT_DATA counts all memory on Linux only")
def test_an_image_over_the_memory_limit_fails_and_the_process_continues(slow):
    with closing(IsolatedDecoder(LIMITS, memory_bytes=32 * 2**20)) as decoder:
        decoder.decode(encoded(quadrants(), "GIF"))
        before = pids(decoder)

        with pytest.raises(ImageTooLarge, match=r"out of memory .* limit is 33,554,432 bytes"):
            decoder.decode(slow)

        assert decoder.decode(encoded(quadrants(), "GIF")).image.shape == (32, 48, 3)
        assert pids(decoder) == before


def test_an_image_that_kills_its_process_twice_fails_with_the_name_of_the_signal(
    fresh, killer, slow
):
    killed = killer(signal.SIGSEGV, times=2)

    with pytest.raises(
        UndecodableImage, match=r"the decoder process died twice: signal 11 \(SIGSEGV\)"
    ):
        fresh.decode(slow)

    assert len(killed.result(DEADLINE_S)) == 2
    assert np.array_equal(fresh.decode(encoded(quadrants(), "PNG")).image, quadrants())


def test_an_image_whose_process_dies_once_is_decoded_by_another(fresh, killer, slow):
    """The kernel may have killed the process because of another one's memory."""
    killed = killer(signal.SIGKILL, times=1)

    assert fresh.decode(slow).image.shape == (8_000, 8_000, 3)
    assert len(killed.result(DEADLINE_S)) == 1


def test_a_process_killed_while_idle_is_replaced(fresh):
    (before,) = pids(fresh)
    os.kill(before, signal.SIGKILL)
    until(lambda: not pids(fresh), within_s=DEADLINE_S)

    assert np.array_equal(fresh.decode(encoded(quadrants(), "PNG")).image, quadrants())
    assert pids(fresh) != (before,)


def test_a_process_that_hangs_is_killed_and_replaced():
    """SIGSTOP simulates the hang."""
    with closing(IsolatedDecoder(LIMITS, timeout_s=0.5)) as decoder:
        decoder.decode(encoded(quadrants(), "PNG"))
        (before,) = pids(decoder)
        os.kill(before, signal.SIGSTOP)

        with pytest.raises(UndecodableImage, match=r"decoding took longer than 0.5 s"):
            decoder.decode(encoded(quadrants(), "PNG"))

        assert not psutil.pid_exists(before)
        assert np.array_equal(decoder.decode(encoded(quadrants(), "PNG")).image, quadrants())


def test_many_threads_share_few_processes():
    """Each thread gets the image that it asked for."""
    colours = [(n * 8, 255 - n * 8, n) for n in range(32)]
    files = [encoded(plain(colour), "GIF") for colour in colours]
    isolated = IsolatedDecoder(LIMITS, children=2)
    with closing(isolated) as decoder, ThreadPoolExecutor(8) as threads:
        answers = list(threads.map(decoder.decode, files))

        assert len(pids(decoder)) <= 2
    assert [tuple(answer.image[3, 3].tolist()) for answer in answers] == colours


def test_closing_ends_the_processes_and_rejects_further_calls(fresh):
    (pid,) = pids(fresh)

    fresh.close()
    fresh.close()

    assert not psutil.pid_exists(pid)
    with pytest.raises(WorkerUnfit, match="closed"):
        fresh.decode(encoded(quadrants(), "PNG"))


def test_closing_raises_worker_unfit_in_calls_in_progress(fresh):
    (pid,) = pids(fresh)
    os.kill(pid, signal.SIGSTOP)
    with ThreadPoolExecutor(1) as threads:
        asked = threads.submit(fresh.decode, encoded(quadrants(), "PNG"))
        until(asked.running)

        fresh.close()

        with pytest.raises(WorkerUnfit, match="closed"):
            asked.result(DEADLINE_S)
    assert not psutil.pid_exists(pid)


def test_a_process_that_does_not_start_is_no_item_error(capfd):
    with (
        closing(IsolatedDecoder(LIMITS, boot="raise SystemExit(3)")) as decoder,
        pytest.raises(WorkerUnfit, match="the decoder process did not start: exit code 3"),
    ):
        decoder.decode(encoded(quadrants(), "PNG"))


def test_the_processes_exit_when_the_worker_is_killed():
    code = (
        "import os, sys; sys.path[:] = sys.argv[1:]\n"
        "from support.pictures import encoded, quadrants\n"
        "from worker.imaging.decode import Limits\n"
        "from worker.imaging.decode.isolated.decoder import IsolatedDecoder\n"
        "decoder = IsolatedDecoder(Limits())\n"
        "decoder.decode(encoded(quadrants(), 'PNG'))\n"
        "print(*[child._process.pid for child in decoder._children], flush=True)\n"
        "os.kill(os.getpid(), 9)\n"
    )

    ended = subprocess.run(
        [sys.executable, "-c", code, *sys.path], capture_output=True, text=True, check=False
    )

    assert ended.returncode == -signal.SIGKILL
    until(lambda: gone(int(ended.stdout)), within_s=DEADLINE_S)
    assert ended.stderr == ""


def gone(pid):
    try:
        return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True
