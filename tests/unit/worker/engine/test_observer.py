"""What the engine reports to its observers."""

import pytest
from support.engine_harness import EngineHarness
from support.stand_ins import QuickImaging

from shared.errors import DeviceLost
from worker.engine.payloads import Deferred, Finished
from worker.monitoring.event_log import EventLog
from worker.monitoring.metrics import Metrics

STAGES = ("download", "decode", "forward", "render", "upload")


class Notes:
    """An observer that records its calls."""

    def __init__(self):
        self.waits, self.stages, self.batches, self.retries, self.ends = [], [], [], [], []

    def started(self, name, waited_s):
        self.waits.append((name, waited_s))

    def stage(self, name, took_s):
        assert took_s >= 0
        self.stages.append(name)

    def batch(self, name, requests, *, wait_s, took_s, device_s):
        assert wait_s >= 0
        assert took_s >= device_s >= 0
        self.batches.append((name, [request.image_key for request in requests]))

    def retried(self, request, stage, err):
        self.retries.append((request.image_key, stage, type(err).__name__))

    def ended(self, request, outcome, *, took_s):
        assert took_s > 0
        self.ends.append((request.image_key, type(outcome)))


@pytest.fixture
def notes():
    return Notes()


@pytest.fixture
def harness(notes):
    made = EngineHarness(imaging=QuickImaging(), observers=[notes])
    yield made
    made.close()


def test_an_image_goes_through_each_stage_once(harness, notes):
    harness.put("a")

    harness.run("a")

    assert sorted(notes.stages) == sorted(set(STAGES) - {"forward"})
    assert notes.batches == [("forward", ["a"])]
    assert notes.ends == [("a", Finished)]
    assert notes.retries == []


def test_a_failed_stage_is_reported_and_so_is_the_end(harness, notes):
    harness.put("bad", b"bad")

    harness.run("bad", "missing")

    assert sorted(notes.stages) == ["decode", "download", "download"]
    assert sorted(notes.ends) == [("bad", Finished), ("missing", Finished)]


@pytest.mark.parametrize(("call", "stage"), [("get", "download"), ("put", "upload")])
def test_each_retry_is_reported_with_its_stage_and_cause(harness, notes, call, stage):
    harness.put("a")
    harness.fail_store(call, times=2)

    harness.run("a")

    assert notes.retries == [("a", stage, "StoreUnavailable")] * 2
    assert notes.ends == [("a", Finished)]


def test_a_deferred_item_is_reported_as_deferred(harness, notes):
    harness.put("a")
    harness.segmenter.before = raise_device_lost

    harness.run("a")

    assert notes.ends == [("a", Deferred)]


def raise_device_lost(_batch):
    raise DeviceLost("simulated")


def test_every_observer_gets_the_same_calls():
    first, second = Notes(), Notes()
    harness = EngineHarness(
        imaging=QuickImaging(), observers=(first, second, Metrics(STAGES), EventLog())
    )
    harness.put("a")
    harness.fail_store("get", times=1)

    harness.run("a")
    harness.close()

    assert vars(first) == vars(second)
    assert (len(first.ends), len(first.retries), len(first.batches)) == (1, 1, 1)


def test_counters_exist_from_the_start_for_each_stage_and_error_class():
    """A rate needs a first value; a counter that appears with the first event hides that event."""
    metrics = Metrics(STAGES)
    value = metrics.registry.get_sample_value

    assert {value("rmbg_retries_total", {"stage": stage}) for stage in STAGES} == {0}
    for error in ("ObjectMissing", "UndecodableImage", "RetriesExhausted"):
        assert value("rmbg_images_total", {"result": "failed", "error": error}) == 0
    assert value("rmbg_images_total", {"result": "done", "error": ""}) == 0


def test_a_batch_counts_its_images_its_wait_and_the_time_of_the_device(harness):
    metrics = Metrics(STAGES)
    request = harness.request("a")

    metrics.batch("forward", [request] * 3, wait_s=0.02, took_s=0.6, device_s=0.5)
    metrics.batch("forward", [request], wait_s=0.0, took_s=0.25, device_s=0.25)

    value = metrics.registry.get_sample_value
    assert value("rmbg_device_busy_seconds_total") == 0.75
    assert value("rmbg_batch_images_sum") == 4
    assert value("rmbg_batch_wait_seconds_bucket", {"le": "0.01"}) == 1
    assert value("rmbg_stage_seconds_count", {"stage": "forward"}) == 2
