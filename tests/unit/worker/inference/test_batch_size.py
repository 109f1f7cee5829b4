"""The batch size of a CPU: measured, and stored for the next start."""

import json

import pytest

from worker.inference.batch_size import (
    FILE_NAME,
    fastest_batch_size,
    initial_batch_size,
    stored_batch_size,
)

THREADS = 8


class Machine:
    """A machine with simulated clocks, whose passes take the given *seconds* for 1, 2, 4, 8 images.

    Other work doubles the time of the pass with the number *disturbed*.
    """

    def __init__(self, *seconds, threads=THREADS, disturbed=None):
        self._seconds = dict(zip((1, 2, 4, 8), seconds, strict=True))
        self._threads = threads
        self._disturbed = disturbed
        self._now_s = self._cpu_s = 0.0
        self.passes = []

    def fastest_batch_size(self):
        return fastest_batch_size(
            self._run,
            threads=self._threads,
            wall_clock=lambda: self._now_s,
            cpu_clock=lambda: self._cpu_s,
        )

    def _run(self, size):
        seconds = self._seconds[size]
        self._now_s += 2 * seconds if len(self.passes) == self._disturbed else seconds
        self._cpu_s += 0.95 * self._threads * seconds
        self.passes.append(size)


@pytest.mark.parametrize(
    ("seconds", "best"),
    [
        ((1.0, 2.2, 1.0, 1.0), 1),
        ((1.0, 1.98, 1.0, 1.0), 1),
        ((1.0, 1.5, 3.2, 1.0), 2),
        ((1.0, 1.5, 2.0, 4.0), 4),
        ((1.0, 1.5, 2.0, 3.0), 8),
    ],
)
def test_a_larger_batch_is_chosen_if_it_saves_two_percent_of_the_time_per_image(seconds, best):
    assert Machine(*seconds).fastest_batch_size() == best


@pytest.mark.parametrize(("threads", "best"), [(1, 1), (2, 2), (3, 2), (6, 4), (64, 8)])
def test_no_size_over_the_number_of_threads_is_tried(threads, best):
    machine = Machine(1.0, 1.5, 2.0, 3.0, threads=threads)

    assert machine.fastest_batch_size() == best
    assert max(machine.passes, default=1) == best


def test_no_size_after_the_first_one_that_saves_nothing_is_tried():
    machine = Machine(1.0, 2.2, 4.0, 8.0)

    machine.fastest_batch_size()

    assert machine.passes == [1, 2, 1, 2, 1, 2]


def test_a_busy_machine_gives_no_result():
    machine = Machine(1.0, 1.5, 3.2, 9.0, disturbed=7)

    assert machine.fastest_batch_size() is None
    assert machine.passes == [1, 2, 1, 2, 1, 2, 2, 4]


def test_a_failed_measurement_gives_1_and_is_not_stored(tmp_path):
    assert stored_batch_size(tmp_path, "here", lambda: None) == 1
    assert stored_batch_size(tmp_path, "here", lambda: 4) == 4


def test_a_measurement_is_stored_for_its_circumstances_only(tmp_path):
    measured = iter([2, 4])

    first = stored_batch_size(tmp_path, "one", lambda: next(measured))
    again = stored_batch_size(tmp_path, "one", lambda: next(measured))
    other = stored_batch_size(tmp_path, "two", lambda: next(measured))

    assert (first, again, other) == (2, 2, 4)
    assert [path.name for path in tmp_path.iterdir()] == [FILE_NAME]


@pytest.mark.parametrize("text", ["", "[]", "{", '{"here": 3}', '{"here": "x"}', '{"here": []}'])
def test_an_invalid_file_is_overwritten(tmp_path, text):
    path = tmp_path / FILE_NAME
    path.write_text(text)

    assert stored_batch_size(tmp_path, "here", lambda: 4) == 4
    assert json.loads(path.read_text()) == {"here": 4}


def test_every_start_measures_if_the_home_is_not_writable(tmp_path):
    home = tmp_path / "not-a-folder"
    home.touch()

    assert stored_batch_size(home, "here", lambda: 2) == 2
    assert stored_batch_size(home, "here", lambda: 4) == 4


@pytest.mark.parametrize(("device_gib", "size"), [(None, 1), (8, 16), (24, 16), (32, 32), (80, 32)])
def test_before_a_measurement_the_batch_size_follows_the_memory_of_the_device(device_gib, size):
    device_bytes = device_gib and device_gib * 2**30

    assert initial_batch_size(device_bytes) == size
