"""What the engine tells of its work."""

import pytest
from support.line import Line
from support.stand_ins import quick_stations

from shared.errors import DeviceLost
from worker.engine.item import Ended, GivenBack
from worker.engine.observer import STAGES, Observers
from worker.monitoring.event_log import Journal
from worker.monitoring.metrics import Metrics


class Notes:
    """Writes down what it is told."""

    def __init__(self):
        self.stages, self.batches, self.retries, self.ends = [], [], [], []

    def stage(self, name, took_s):
        assert took_s >= 0
        self.stages.append(name)

    def batch(self, works, *, wait_s, forward_s):
        assert wait_s >= 0
        assert forward_s >= 0
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
def line(notes):
    made = Line(stations=quick_stations(), observer=notes)
    made.put = lambda key, body=b"x": made.store.put("inbox", key, body, content_type="image/jpeg")
    yield made
    made.close()


def test_a_picture_goes_through_each_stage_once(line, notes):
    line.put("a")

    line.run("a")

    assert sorted(notes.stages) == sorted(set(STAGES) - {"forward"})
    assert notes.batches == [["a"]]
    assert notes.ends == [("a", Ended)]
    assert notes.retries == []


def test_a_failed_stage_is_told_with_the_end(line, notes):
    line.put("bad", b"bad")

    line.run("bad", "missing")

    assert sorted(notes.stages) == ["decode", "download", "download"]
    assert sorted(notes.ends) == [("bad", Ended), ("missing", Ended)]


@pytest.mark.parametrize(("call", "stage"), [("get", "download"), ("put", "upload")])
def test_each_retry_is_told_with_its_stage_and_cause(line, notes, call, stage):
    line.put("a")
    line.fail_store(call, times=2)

    line.run("a")

    assert notes.retries == [("a", stage, "StoreUnavailable")] * 2
    assert notes.ends == [("a", Ended)]


def test_an_item_that_is_given_back_is_told_as_such(line, notes):
    line.put("a")
    line.segmenter.before = raise_device_lost

    line.run("a")

    assert notes.ends == [("a", GivenBack)]


def raise_device_lost(_batch):
    raise DeviceLost("made up")


def test_all_that_observe_are_told_the_same():
    first, second = Notes(), Notes()
    line = Line(stations=quick_stations(), observer=Observers(first, second, Metrics(), Journal()))
    line.store.put("inbox", "a", b"x", content_type="image/jpeg")
    line.fail_store("get", times=1)

    line.run("a")
    line.close()

    assert vars(first) == vars(second)
    assert (len(first.ends), len(first.retries), len(first.batches)) == (1, 1, 1)


def test_metrics_know_each_stage_and_each_class_of_error():
    """A rate needs a first value: counters that appear with the first event hide it."""
    metrics = Metrics()
    value = metrics.registry.get_sample_value

    assert {value("rmbg_retries_total", {"stage": stage}) for stage in STAGES} == {0}
    for error in ("ObjectMissing", "UndecodableImage", "RetriesExhausted"):
        assert value("rmbg_images_total", {"result": "failed", "error": error}) == 0
    assert value("rmbg_images_total", {"result": "done", "error": ""}) == 0


def test_a_batch_is_counted_with_its_wait_and_the_device_with_its_time(line):
    metrics = Metrics()
    work = line.work("a")

    metrics.batch([work] * 3, wait_s=0.02, forward_s=0.5)
    metrics.batch([work], wait_s=0.0, forward_s=0.25)

    value = metrics.registry.get_sample_value
    assert value("rmbg_device_busy_seconds_total") == 0.75
    assert value("rmbg_batch_images_sum") == 4
    assert value("rmbg_batch_wait_seconds_bucket", {"le": "0.01"}) == 1
    assert value("rmbg_stage_seconds_count", {"stage": "forward"}) == 2
