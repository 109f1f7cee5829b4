"""Two batches on the device at once: order, errors, and whom they are blamed on."""

import pytest
from support.engine_harness import EngineHarness
from support.stand_ins import QuickImaging, Valve, stand_in_model
from support.until import until

from shared.errors import DeviceLost, InferenceFailed
from worker.engine.device_state import DeviceState
from worker.engine.payloads import Deferred

BATCH = 2


class InFlight:
    """An engine whose device is held by a batch of one; `go` lets it run on."""

    def __init__(self, **options):
        model = stand_in_model(batch_size=BATCH, in_flight=2)
        self.harness = EngineHarness(imaging=QuickImaging(), model=model, **options)
        self.segmenter = model.segmenter
        self.segmenter.before = self.valve = Valve()
        self._offer("first", b"first")
        self.valve.wait_for_one()

    def offer(self, *keys, **data):
        """Let items wait for the device, in this order; *data* is what the images hold."""
        for key in keys:
            self._offer(key, data.get(key, key.encode()))
        until(lambda: self.harness.waiting_for_batch() == len(keys))
        self.segmenter.calls.clear()

    def _offer(self, key, data):
        self.harness.put(key, data)
        self.harness.offer(key)

    def go(self, before=lambda _batch: None):
        """Run the items that wait; *before* is called with each batch when it is collected."""
        self.segmenter.before = before
        self.valve.open()

    def run(self, before=lambda _batch: None):
        self.go(before)
        self.harness.wait()
        return self.harness.outcomes


@pytest.fixture
def engines():
    made = []

    def make(**options):
        made.append(InFlight(**options))
        return made[-1]

    yield make
    for each in made:
        each.harness.close()


def prepared(engine, key):
    """Return the level of an image by which the stand-in sees it."""
    image = engine.harness.imaging.decode(key.encode(), None, isolate=False).image
    return engine.segmenter.prepare(image)[0, 0]


def holds(batch, level):
    return any(each[0, 0] == level for each in batch)


def test_a_full_batch_is_launched_before_the_one_before_it_is_collected(engines):
    engine = engines()
    engine.offer(*"abcdef")

    outcomes = engine.run()

    launch, collect = ("launch", BATCH), ("collect", BATCH)
    assert engine.segmenter.calls == [launch, launch, collect, launch, collect, collect]
    assert {outcome.record.state for outcome in outcomes.values()} == {"done"}


def test_a_partial_batch_is_not_launched_while_another_one_runs(engines):
    """More items may come while the device is busy anyway."""
    engine = engines()
    engine.offer(*"abc")

    engine.run()

    assert engine.segmenter.calls == [
        ("launch", 2),
        ("collect", 2),
        ("launch", 1),
        ("collect", 1),
    ]


def test_a_poisoned_image_of_one_batch_fails_alone(engines):
    engine = engines()
    engine.offer(*"abcd")
    poison = prepared(engine, "b")

    def fail(batch):
        if holds(batch, poison):
            raise InferenceFailed("odd") if len(batch) == 1 else RuntimeError("not finite")

    outcomes = engine.run(fail)

    states = {key: outcome.record.state for key, outcome in outcomes.items()}
    assert states == {"first": "done", "a": "done", "b": "failed", "c": "done", "d": "done"}
    assert not engine.harness.shutdown.is_draining


def test_a_launch_that_fails_runs_again_when_the_batch_before_it_has_ended(engines):
    engine = engines()
    engine.offer(*"abcd")
    launch, failures = engine.segmenter.launch, iter([None, RuntimeError("full"), None])

    def launch_or_fail(batch):
        if error := next(failures, None):
            raise error
        return launch(batch)

    engine.segmenter.launch = launch_or_fail
    outcomes = engine.run()

    assert {outcome.record.state for outcome in outcomes.values()} == {"done"}
    assert engine.segmenter.calls == [
        ("launch", 2),
        ("collect", 2),
        *[("launch", 1), ("collect", 1)] * 2,
    ]


def test_a_lost_device_makes_both_batches_suspect_and_nothing_else(engines):
    engine = engines(device=DeviceState(lambda: True))
    engine.offer(*"abcdef")

    def lose(_batch):
        raise DeviceLost("the device fell off the bus")

    engine.go(lose)
    until(lambda: engine.harness.shutdown.is_draining)
    engine.harness.engine.drain()
    engine.harness.wait()

    found = engine.harness.outcomes
    assert [found[key] for key in "abcd"] == [Deferred(died=True)] * 4
    assert [found[key] for key in "ef"] == [Deferred()] * 2
    assert engine.harness.shutdown.is_unfit


def test_draining_finishes_the_batches_in_flight_and_defers_the_rest(engines):
    engine = engines()
    engine.offer(*"abcdef")
    valve = Valve()
    engine.go(lambda batch: valve() if len(batch) == BATCH else None)
    valve.wait_for_one()

    engine.harness.drain()
    valve.open()
    engine.harness.wait()

    outcomes = engine.harness.outcomes
    assert {outcomes[key].record.state for key in "abcd"} == {"done"}
    assert [outcomes[key] for key in "ef"] == [Deferred()] * 2


def test_equal_images_in_both_batches_make_one_pass(engines):
    engine = engines(shared_bytes=2**20)
    engine.offer(*"abcd", c=b"a", d=b"d")

    outcomes = engine.run()

    assert [size for call, size in engine.segmenter.calls if call == "launch"] == [2, 1]
    assert {key: outcome.record.mask for key, outcome in outcomes.items()} == {
        "first": None,
        "a": None,
        "b": None,
        "c": "shared",
        "d": None,
    }


def test_an_image_whose_equal_failed_in_the_batch_before_runs_itself(engines):
    engine = engines(shared_bytes=2**20)
    engine.offer(*"abcd", c=b"a")
    poison, failures = prepared(engine, "a"), []

    def fail_twice(batch):
        if holds(batch, poison) and len(failures) < 2:
            failures.append(1)
            raise InferenceFailed("odd") if len(batch) == 1 else RuntimeError("not finite")

    outcomes = engine.run(fail_twice)

    assert len(failures) == 2
    assert {outcome.record.state for outcome in outcomes.values()} == {"done"}
    assert outcomes["c"].record.mask is None
