"""The batch size of a CPU: what a machine's passes say, and what is remembered of it."""

import json

import pytest

from worker.inference.batch_size import FILE_NAME, fastest_batch, remembered_batch

THREADS = 8


class Machine:
    """Passes whose seconds are given by their size; time and processor time are its own.

    *disturbed* is the number of the pass that other work doubles the time of.
    """

    def __init__(self, *seconds, threads=THREADS, disturbed=None):
        self._seconds = dict(zip((1, 2, 4, 8), seconds, strict=True))
        self._threads = threads
        self._disturbed = disturbed
        self._now_s = self._cpu_s = 0.0
        self.passes = []

    def fastest_batch(self):
        return fastest_batch(
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
def test_a_larger_batch_is_taken_while_it_saves_a_fiftieth_of_an_images_time(seconds, best):
    assert Machine(*seconds).fastest_batch() == best


@pytest.mark.parametrize(("threads", "best"), [(1, 1), (2, 2), (3, 2), (6, 4), (64, 8)])
def test_no_more_pictures_than_threads_are_tried(threads, best):
    machine = Machine(1.0, 1.5, 2.0, 3.0, threads=threads)

    assert machine.fastest_batch() == best
    assert max(machine.passes, default=1) == best


def test_nothing_beyond_the_first_size_that_does_not_pay_is_tried():
    machine = Machine(1.0, 2.2, 4.0, 8.0)

    machine.fastest_batch()

    assert machine.passes == [1, 2, 1, 2, 1, 2]


def test_on_a_busy_machine_nothing_is_concluded():
    machine = Machine(1.0, 1.5, 3.2, 9.0, disturbed=7)

    assert machine.fastest_batch() is None
    assert machine.passes == [1, 2, 1, 2, 1, 2, 2, 4]


def test_what_could_not_be_measured_is_one_for_now_and_is_not_remembered(tmp_path):
    assert remembered_batch(tmp_path, "here", lambda: None) == 1
    assert remembered_batch(tmp_path, "here", lambda: 4) == 4


def test_what_was_measured_is_remembered_for_the_same_circumstances_alone(tmp_path):
    measured = iter([2, 4])

    first = remembered_batch(tmp_path, "one", lambda: next(measured))
    again = remembered_batch(tmp_path, "one", lambda: next(measured))
    other = remembered_batch(tmp_path, "two", lambda: next(measured))

    assert (first, again, other) == (2, 2, 4)
    assert [path.name for path in tmp_path.iterdir()] == [FILE_NAME]


@pytest.mark.parametrize("text", ["", "[]", "{", '{"here": 3}', '{"here": "x"}', '{"here": []}'])
def test_a_file_that_is_not_ours_is_measured_over(tmp_path, text):
    path = tmp_path / FILE_NAME
    path.write_text(text)

    assert remembered_batch(tmp_path, "here", lambda: 4) == 4
    assert json.loads(path.read_text()) == {"here": 4}


def test_a_home_that_cannot_be_written_to_is_measured_in_at_every_start(tmp_path):
    home = tmp_path / "not-a-folder"
    home.touch()

    assert remembered_batch(home, "here", lambda: 2) == 2
    assert remembered_batch(home, "here", lambda: 4) == 4
