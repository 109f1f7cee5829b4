"""The phases in which a process leaves."""

import logging
import signal
import threading

import pytest

from worker.lifecycle import UNFIT_EXIT, Phase, Shutdown, start_loop


@pytest.fixture
def shutdown():
    return Shutdown()


def test_a_new_process_runs(shutdown):
    assert (shutdown.is_draining, shutdown.is_hurried, shutdown.is_unfit) == (False, False, False)
    assert shutdown.exit_code == 0


def test_the_phase_only_goes_up(shutdown):
    shutdown.advance(Phase.HURRIED)
    shutdown.advance(Phase.DRAINING)
    shutdown.drain("later")
    shutdown.advance(Phase.RUNNING)

    assert shutdown.is_draining
    assert shutdown.is_hurried
    assert not shutdown.wait(Phase.STOPPED, 0)


def test_the_exit_code_is_the_highest_that_was_asked_for(shutdown):
    for code in (0, UNFIT_EXIT, 1, 0):
        shutdown.drain("simulated", code)

    assert shutdown.exit_code == UNFIT_EXIT


@pytest.mark.parametrize(("code", "is_unfit"), [(0, False), (1, False), (UNFIT_EXIT, True)])
def test_a_process_is_unfit_only_with_that_exit_code(shutdown, code, is_unfit):
    shutdown.drain("simulated", code)

    assert shutdown.is_unfit is is_unfit


def test_draining_is_logged_once_with_its_first_reason(shutdown, caplog):
    caplog.set_level(logging.INFO)
    shutdown.drain("first")
    shutdown.drain("second", UNFIT_EXIT)

    assert [record.cause for record in caplog.records] == ["first"]


def test_a_wait_ends_when_the_phase_is_reached(shutdown):
    reached, waits = [], threading.Barrier(4)

    def wait(phase):
        waits.wait(10)
        reached.append(shutdown.wait(phase, 30))

    phases = (Phase.DRAINING, Phase.HURRIED, Phase.STOPPED)
    threads = [threading.Thread(target=wait, args=(phase,)) for phase in phases]
    for thread in threads:
        thread.start()
    waits.wait(10)
    shutdown.advance(Phase.STOPPED)
    for thread in threads:
        thread.join(10)

    assert reached == [True] * 3


def test_a_wait_ends_without_the_phase_after_its_timeout(shutdown):
    shutdown.drain("simulated")

    assert shutdown.wait(Phase.DRAINING, 0)
    assert not shutdown.wait(Phase.HURRIED, 0.001)


def test_a_request_of_a_signal_handler_is_carried_out_by_the_loop(shutdown):
    """The handler runs in the thread that holds the lock, which it must not take itself."""
    former = signal.signal(signal.SIGUSR1, lambda *_: shutdown.request("a signal", 3))
    try:
        with shutdown._changed:
            signal.raise_signal(signal.SIGUSR1)
            assert not shutdown.is_draining
    finally:
        signal.signal(signal.SIGUSR1, former)

    start_loop("signals", shutdown.serve_requests, shutdown=shutdown)

    assert shutdown.wait(Phase.DRAINING, 10)
    assert shutdown.exit_code == 3
