"""What the probes report in each state; integration tests ask real processes."""

import pytest
from celery import Celery
from support.engine_harness import EngineHarness
from support.stand_ins import QuickImaging, Valve
from support.until import until

from worker.monitoring.health import Health
from worker.monitoring.liveness import LoopStamp


@pytest.fixture
def harness():
    made = EngineHarness(imaging=QuickImaging())
    yield made
    made.close()


@pytest.fixture
def loop():
    return LoopStamp(Celery("test", set_as_current=False))


@pytest.fixture
def health(harness, loop):
    return Health(engine=harness.engine, loop=loop, shutdown=harness.shutdown, stall_s=0.05)


def test_readiness_follows_the_life_of_a_process(health, harness, loop):
    reported = [health.ready()]
    health.is_loaded = True
    reported.append(health.ready())
    health.is_serving = True
    reported.append(health.ready())
    loop.is_connected = True
    reported.append(health.ready())
    loop.disconnected()
    reported.append(health.ready())
    loop.is_connected = True
    harness.shutdown.drain("the test asked for it")
    reported.append(health.ready())

    assert reported == [
        "models are being loaded",
        "not serving yet",
        "not connected to the queue",
        None,
        "not connected to the queue",
        "draining",
    ]


def test_a_blocked_event_loop_is_not_alive_until_it_runs_again(health, loop):
    loop.ran()
    assert health.alive() is None
    loop.limit_s = 0.02

    assert "event loop has stood still" in until(health.alive)
    assert loop.lag_s() > 0.02
    loop.limit_s = 60.0
    loop.ran()
    assert health.alive() is None


def test_an_event_loop_without_a_connection_is_alive(health, loop):
    """It waits for Redis, and a restart would not help."""
    loop.limit_s = 0.0
    loop.ran()
    until(health.alive)

    loop.disconnected()

    assert health.alive() is None


def test_an_engine_that_hangs_is_not_alive_until_it_moves(health, harness):
    harness.segmenter.before = valve = Valve()
    harness.offer(harness.put("a"))
    valve.wait_for_one()

    assert until(health.alive) == "no item has moved for 0 s"
    valve.open()
    harness.wait()
    assert until(lambda: health.alive() is None)


def test_an_engine_that_waits_for_the_store_is_alive(health, harness):
    harness.fail_store("get", "check", times=10**9)
    harness.offer(harness.put("a"))
    until(lambda: harness.engine.inflight.waiting == 1)

    assert health.alive() is None


def test_a_device_that_hangs_beside_a_bucket_that_is_down_is_reported(health, harness):
    """An item that waits for its bucket excuses only itself."""
    harness.segmenter.before = valve = Valve()
    harness.offer(harness.put("a"))
    valve.wait_for_one()
    harness.fail_store("get", "check", times=10**9)
    harness.offer(harness.put("b"))
    until(lambda: harness.engine.inflight.waiting == 1)

    assert until(lambda: harness.engine.inflight.waiting == 1 and health.alive())
    valve.open()
    harness.wait(1)


def test_an_image_that_decodes_for_too_long_is_reported(harness, loop):
    health = Health(
        engine=harness.engine, loop=loop, shutdown=harness.shutdown, stall_s=60, decode_s=-1.0
    )

    assert "decoding or rendering" in health.alive()
