"""Background loops: how they end, and what they do about errors."""

import logging

import pytest

from worker.lifecycle import UNFIT_EXIT, Phase, Shutdown, start_loop, start_thread
from worker.lifecycle.threads import MAX_FAILURES


@pytest.fixture
def shutdown():
    made = Shutdown()
    yield made
    made.advance(Phase.STOPPED)


class Step:
    """One round of a loop; `results` are what its calls return or raise, then it ends."""

    def __init__(self, *results):
        self._results = list(results)
        self.calls = 0

    def __call__(self):
        self.calls += 1
        if not self._results:
            return False
        result = self._results.pop(0)
        if isinstance(result, BaseException):
            raise result
        return result


def run(step, shutdown, **details):
    thread = start_loop("test", step, shutdown=shutdown, **details)
    thread.join(10)
    assert not thread.is_alive()


def test_a_loop_runs_until_its_step_returns_false(shutdown):
    step = Step(*[None, True, None])

    run(step, shutdown)

    assert step.calls == 4
    assert not shutdown.is_draining


def test_a_failure_is_logged_and_the_loop_goes_on(shutdown, caplog):
    step = Step(ValueError("first"), None)

    run(step, shutdown)

    assert step.calls == 3
    [record] = caplog.records
    assert (record.levelno, record.loop, record.failures) == (logging.ERROR, "test", 1)
    assert str(record.exc_info[1]) == "first"


class PanicError(BaseException):
    """What extension modules may raise, for example those written in Rust."""


ANYTHING = [
    ValueError("simulated"),
    MemoryError(),
    RecursionError(),
    SystemExit(3),
    KeyboardInterrupt(),
    GeneratorExit(),
    PanicError("simulated"),
]


def name_of(error):
    return type(error).__name__


@pytest.mark.parametrize("error", ANYTHING, ids=name_of)
def test_a_loop_goes_on_after_anything_that_is_raised(shutdown, error):
    step = Step(error, None, error, error, None)

    run(step, shutdown)

    assert step.calls == 6
    assert not shutdown.is_draining


@pytest.mark.parametrize("error", ANYTHING, ids=name_of)
def test_three_failures_in_a_row_drain_the_process_as_unfit(shutdown, error):
    """The loop goes on until the process has left: its items need it."""
    step = Step(*[error] * MAX_FAILURES, None)

    run(step, shutdown)

    assert MAX_FAILURES == 3
    assert step.calls == 5
    assert shutdown.exit_code == UNFIT_EXIT == 70
    assert shutdown.is_unfit
    assert shutdown.blames_items


def test_a_loop_that_always_fails_ends_with_the_process(shutdown):
    def step():
        raise ValueError("simulated")

    thread = start_loop("test", step, shutdown=shutdown)
    assert shutdown.wait(Phase.DRAINING, 10)
    assert thread.is_alive()

    shutdown.advance(Phase.STOPPED)

    thread.join(10)
    assert not thread.is_alive()


def test_an_error_that_cannot_even_be_logged_is_counted(shutdown):
    class Unprintable(Exception):
        def __str__(self):
            raise MemoryError

    run(Step(*[Unprintable()] * MAX_FAILURES), shutdown)

    assert shutdown.is_unfit


def test_failures_that_are_not_in_a_row_do_not_drain_the_process(shutdown):
    error = ValueError("simulated")

    run(Step(error, error, None, error, error, None), shutdown)

    assert not shutdown.is_draining


def test_an_outage_skips_a_round_and_does_not_count_as_a_failure(shutdown, caplog):
    outage, error = ConnectionError("simulated"), ValueError("simulated")
    step = Step(*[outage] * MAX_FAILURES, error, error, outage, error, None)

    run(step, shutdown, outages=(ConnectionError,))

    assert step.calls == MAX_FAILURES + 6
    assert not shutdown.is_draining
    assert [record.levelno for record in caplog.records].count(logging.WARNING) == MAX_FAILURES + 1
    assert (caplog.records[0].loop, caplog.records[0].cause) == ("test", "simulated")


def test_a_loop_with_an_interval_ends_once_the_process_has_stopped(shutdown):
    calls = []

    def step():
        calls.append(1)
        shutdown.advance(Phase.STOPPED)

    run(step, shutdown, every_s=3600)

    assert calls == [1]


def test_a_draining_process_keeps_its_loops(shutdown):
    """Leases are renewed until the last ticket is closed."""
    shutdown.drain("simulated")
    step = Step(None, None)

    run(step, shutdown, every_s=0.001)

    assert step.calls == 3


def test_threads_do_not_keep_the_process_from_ending():
    thread = start_thread("test", lambda: None)
    thread.join(10)

    assert thread.daemon
    assert thread.name == "test"
