"""What probes are answered, state by state; integration tests ask real processes."""

import pytest
from celery import Celery
from support.engine_harness import EngineHarness
from support.stand_ins import QuickImaging, Valve
from support.until import until

from worker.monitoring import liveness
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
    return Health(engine=harness.engine, loop=loop, stall_s=0.05)


def test_readiness_goes_through_the_life_of_a_process(health, loop):
    said = [health.ready()]
    health.is_loaded = True
    said.append(health.ready())
    health.is_serving = True
    said.append(health.ready())
    loop.is_connected = True
    said.append(health.ready())
    loop.disconnected()
    said.append(health.ready())
    loop.is_connected = True
    health.is_draining = True
    said.append(health.ready())

    assert said == [
        "models are being loaded",
        "not serving yet",
        "not connected to the queue",
        None,
        "not connected to the queue",
        "draining",
    ]


def test_a_loop_that_stands_still_is_not_alive_until_it_turns(health, loop):
    loop.turned()
    assert health.alive() is None
    loop.limit_s = 0.02

    assert "event loop has stood still" in until(health.alive)
    assert loop.lag_s() > 0.02
    loop.limit_s = 60.0
    loop.turned()
    assert health.alive() is None


def test_a_loop_without_a_connection_is_alive_however_long(health, loop):
    """It waits for Redis, and starting it again would not bring that back."""
    loop.limit_s = 0.0
    loop.turned()
    until(health.alive)

    loop.disconnected()

    assert health.alive() is None


def test_an_engine_that_hangs_is_not_alive_until_it_moves(health, harness):
    harness.segmenter.before = valve = Valve()
    key = harness.store.put("inbox", "a", b"a", content_type="image/jpeg") and "a"
    harness.offer(key)
    valve.wait_for_one()

    assert until(health.alive) == "nothing has moved for 0 s"
    valve.open()
    harness.wait()
    assert until(lambda: health.alive() is None)


def test_an_engine_that_waits_for_the_store_is_alive(health, harness):
    harness.segmenter.before = valve = Valve()
    harness.store.put("inbox", "a", b"a", content_type="image/jpeg")
    harness.offer("a")
    valve.wait_for_one()
    until(health.alive)

    for _ in range(5):
        harness.engine.breaker.failed()

    assert health.alive() is None
    valve.open()
    harness.wait()


def test_a_picture_that_decodes_for_ever_is_told(health, harness, monkeypatch):
    monkeypatch.setattr(liveness, "DECODE_S", -1.0)

    assert "decoding or drawing" in health.alive()
