"""Background loops: how they end, and what they do about errors."""

import logging
import threading

import pytest

from worker.lifecycle import UNFIT_EXIT, Phase, Shutdown, start_loop, start_pool, start_thread
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


def join(threads):
    for thread in threads:
        thread.join(10)
        assert not thread.is_alive()


def test_the_threads_of_a_pool_count_their_failures_together(shutdown):
    meeting, failed = threading.Barrier(MAX_FAILURES), set()

    def step():
        if threading.get_ident() in failed:
            return False
        failed.add(threading.get_ident())
        meeting.wait(10)
        raise ValueError("simulated")

    join(start_pool("pool", MAX_FAILURES, step, shutdown=shutdown))

    assert len(failed) == MAX_FAILURES
    assert shutdown.is_unfit


def test_a_success_in_any_thread_of_a_pool_ends_the_row_of_failures(shutdown):
    has_failed, has_succeeded = threading.Event(), threading.Event()

    def fail_twice_and_once_more():
        yield ValueError("first")
        yield ValueError("second")
        has_failed.set()
        assert has_succeeded.wait(10)
        yield ValueError("third")
        yield False

    def succeed_in_between():
        assert has_failed.wait(10)
        yield None
        has_succeeded.set()
        yield False

    rounds = [fail_twice_and_once_more(), succeed_in_between()]
    own = threading.local()

    def step():
        if not hasattr(own, "results"):
            own.results = rounds.pop()
        result = next(own.results)
        if isinstance(result, Exception):
            raise result
        return result

    join(start_pool("pool", len(rounds), step, shutdown=shutdown))

    assert not shutdown.is_draining


def test_the_threads_of_a_pool_have_names_of_their_own(shutdown):
    threads = start_pool("pool", 2, lambda: False, shutdown=shutdown)
    join(threads)

    assert [thread.name for thread in threads] == ["pool-0", "pool-1"]
