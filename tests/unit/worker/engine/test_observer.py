"""What the engine tells of its work."""

import pytest
from support.engine_harness import EngineHarness
from support.stand_ins import QuickImaging

from shared.errors import DeviceLost
from worker.engine.observer import Observers
from worker.engine.payloads import Deferred, Finished
from worker.monitoring.event_log import EventLog
from worker.monitoring.metrics import Metrics


class Notes:
    """Writes down what it is told."""

    def __init__(self):
        self.stages, self.batches, self.retries, self.ends = [], [], [], []

    def stage(self, name, took_s):
        assert took_s >= 0
        self.stages.append(name)

    def batch(self, works, *, wait_s, took_s):
        assert wait_s >= 0
        assert took_s >= 0
        self.batches.append([work.image_key for work in works])

    def retried(self, work, stage, err):
        self.retries.append((work.image_key, stage, type(err).__name__))

    def ended(self, work, outcome, *, took_s):
        assert took_s > 0
        self.ends.append((work.image_key, type(outcome)))


@pytest.fixture
def notes():
    return Notes()


@pytest.fixture
def harness(notes):
    made = EngineHarness(imaging=QuickImaging(), observer=notes)
    made.put = lambda key, body=b"x": made.store.put("inbox", key, body, content_type="image/jpeg")
    yield made
    made.close()


def test_a_picture_goes_through_each_stage_once(harness, notes):
    harness.put("a")

    harness.run("a")

    assert sorted(notes.stages) == sorted(set(STAGES) - {"forward"})
    assert notes.batches == [["a"]]
    assert notes.ends == [("a", Finished)]
    assert notes.retries == []


def test_a_failed_stage_is_told_with_the_end(harness, notes):
    harness.put("bad", b"bad")

    harness.run("bad", "missing")

    assert sorted(notes.stages) == ["decode", "download", "download"]
    assert sorted(notes.ends) == [("bad", Finished), ("missing", Finished)]


@pytest.mark.parametrize(("call", "stage"), [("get", "download"), ("put", "upload")])
def test_each_retry_is_told_with_its_stage_and_cause(harness, notes, call, stage):
    harness.put("a")
    harness.fail_store(call, times=2)

    harness.run("a")

    assert notes.retries == [("a", stage, "StoreUnavailable")] * 2
    assert notes.ends == [("a", Finished)]


def test_an_item_that_is_given_back_is_told_as_such(harness, notes):
    harness.put("a")
    harness.segmenter.before = raise_device_lost

    harness.run("a")

    assert notes.ends == [("a", Deferred)]


def raise_device_lost(_batch):
    raise DeviceLost("made up")


def test_all_that_observe_are_told_the_same():
    first, second = Notes(), Notes()
    harness = EngineHarness(
        imaging=QuickImaging(), observer=Observers(first, second, Metrics(STAGES), EventLog())
    )
    harness.store.put("inbox", "a", b"x", content_type="image/jpeg")
    harness.fail_store("get", times=1)

    harness.run("a")
    harness.close()

    assert vars(first) == vars(second)
    assert (len(first.ends), len(first.retries), len(first.batches)) == (1, 1, 1)


def test_metrics_know_each_stage_and_each_class_of_error():
    """A rate needs a first value: counters that appear with the first event hide it."""
    metrics = Metrics(STAGES)
    value = metrics.registry.get_sample_value

    assert {value("rmbg_retries_total", {"stage": stage}) for stage in STAGES} == {0}
    for error in ("ObjectMissing", "UndecodableImage", "RetriesExhausted"):
        assert value("rmbg_images_total", {"result": "failed", "error": error}) == 0
    assert value("rmbg_images_total", {"result": "done", "error": ""}) == 0


def test_a_batch_is_counted_with_its_wait_and_the_device_with_its_time(harness):
    metrics = Metrics(STAGES)
    work = harness.work("a")

    metrics.batch([work] * 3, wait_s=0.02, took_s=0.5)
    metrics.batch([work], wait_s=0.0, took_s=0.25)

    value = metrics.registry.get_sample_value
    assert value("rmbg_device_busy_seconds_total") == 0.75
    assert value("rmbg_batch_images_sum") == 4
    assert value("rmbg_batch_wait_seconds_bucket", {"le": "0.01"}) == 1
    assert value("rmbg_stage_seconds_count", {"stage": "forward"}) == 2
