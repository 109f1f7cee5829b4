"""The queues of the executors, on a clock that the test sets."""

import threading

import pytest
from support.jobs import spec
from support.stand_ins import stand_in_model

from worker.engine.inflight import InFlight
from worker.engine.item import ItemRequest
from worker.engine.payloads import Queued
from worker.engine.scheduler import StageScheduler
from worker.engine.stage import BatchStage, Executor, Stage, Step

WAIT_S = 0.05
HOUR_S = 3600.0
THREADS = {Executor.DOWNLOAD: 8, Executor.CPU: 2, Executor.UPLOAD: 8}


class Clock:
    now_s = 0.0

    def __call__(self):
        return self.now_s


class OnCpu(Stage):
    """A stage on the CPU; *priority* as in `Stage`."""

    name = "on-cpu"
    accepts = Queued
    executor = Executor.CPU

    def __init__(self, priority=0):
        self.priority = priority

    def run(self, item, payload):
        raise NotImplementedError


class Asking(OnCpu):
    """A stage that downloads from *bucket*."""

    executor = Executor.DOWNLOAD

    def __init__(self, bucket):
        super().__init__()
        self.bucket = bucket

    def shares(self, item):
        return self.bucket


class OnDevice(BatchStage):
    """A stage on the device."""

    name = "on-device"
    accepts = Queued

    def launch(self, items, payloads):
        raise NotImplementedError


class Queues:
    """A scheduler, and the items that are inside the engine."""

    def __init__(self):
        self.clock = Clock()
        self.inflight = InFlight(100, clock=self.clock)
        self.scheduler = StageScheduler(
            self.inflight, max_batch_wait_s=WAIT_S, threads=THREADS, clock=self.clock
        )
        self.model = stand_in_model(batch_size=4)
        self._count = 0

    def step(self, name, *, stage=None, urgent=False, model=None):
        request = ItemRequest(
            job_id="j",
            sequence=1,
            spec=spec(),
            index=self._count,
            image_key=name,
            model=model or self.model,
            urgent=urgent,
        )
        self._count += 1
        item = self.inflight.enter(request, None, timeout_s=0)
        return Step(item, stage or OnCpu(), Queued())

    def put(self, *names, delay_s=0.0, **details):
        for name in names:
            self.scheduler.put(self.step(name, **details), delay_s=delay_s)

    def put_on_device(self, *names, **details):
        self.put(*names, stage=OnDevice(), **details)

    def take(self, count):
        return [self.scheduler.take(Executor.CPU).item.request.image_key for _ in range(count)]

    def take_batch(self):
        batch = self.scheduler.batches.take()
        return batch and [step.item.request.image_key for step in batch.steps]


@pytest.fixture
def queues():
    return Queues()


# --- steps


def test_steps_are_taken_in_order_of_arrival_and_urgent_ones_first(queues):
    queues.put(*"abc")
    queues.put("urgent", urgent=True)

    assert queues.take(4) == ["urgent", "a", "b", "c"]


def test_of_two_stages_the_one_of_lower_priority_goes_first(queues):
    """Images that are nearly done go before those that fill the memory."""
    queues.put("decode", stage=OnCpu(1))
    queues.put("render", stage=OnCpu(0))

    assert queues.take(2) == ["render", "decode"]


def test_an_urgent_item_goes_first_in_every_stage(queues):
    """Otherwise the renders of a whole bulk batch would run before it is decoded."""
    queues.put("render", stage=OnCpu(0))
    queues.put("decode", stage=OnCpu(1))
    queues.put("urgent decode", stage=OnCpu(1), urgent=True)
    queues.put("urgent render", stage=OnCpu(0), urgent=True)

    assert queues.take(4) == ["urgent render", "urgent decode", "render", "decode"]


def test_a_delayed_step_is_taken_once_it_is_due(queues):
    queues.put("late", delay_s=10)
    queues.put("b")
    assert queues.take(1) == ["b"]

    queues.clock.now_s = 10

    assert queues.take(1) == ["late"]


def test_executors_do_not_share_a_queue(queues):
    stage = OnCpu()
    stage.executor = Executor.UPLOAD
    queues.put("upload", stage=stage)
    queues.put("cpu")

    assert queues.take(1) == ["cpu"]
    assert queues.scheduler.take(Executor.UPLOAD).item.request.image_key == "upload"


def test_a_closed_queue_hands_out_what_it_holds_and_then_ends_its_threads(queues):
    queues.put("a")
    queues.put("delayed", delay_s=HOUR_S)

    queues.scheduler.close()

    assert queues.take(2) == ["a", "delayed"]
    assert queues.scheduler.take(Executor.CPU) is None
    assert queues.scheduler.take(Executor.UPLOAD) is None


def test_closing_wakes_threads_that_wait(queues):
    ended = [threading.Event() for _ in range(3)]

    def serve(event):
        assert queues.scheduler.take(Executor.CPU) is None
        event.set()

    for event in ended:
        threading.Thread(target=serve, args=(event,), daemon=True).start()
    queues.scheduler.close()

    assert all(event.wait(10) for event in ended)


def test_hurry_ends_delays_and_returns_what_waits_for_the_device(queues):
    queues.put("delayed", delay_s=HOUR_S)
    queues.put_on_device("a", "b")
    queues.put_on_device("c", delay_s=HOUR_S)

    withdrawn = queues.scheduler.hurry()

    assert sorted(step.item.request.image_key for step in withdrawn) == ["a", "b", "c"]
    assert queues.take(1) == ["delayed"]
    assert queues.scheduler.hurry() == []


# --- shares


def running(queues, count):
    """Take *count* downloads; return the names of their buckets, and the steps."""
    steps = [queues.scheduler.take(Executor.DOWNLOAD) for _ in range(count)]
    return "".join(step.stage.bucket for step in steps), steps


def ask(queues, bucket, count):
    for n in range(count):
        queues.put(f"{bucket}{n}", stage=Asking(bucket))


def test_a_bucket_that_never_answers_takes_at_most_half_of_the_threads(queues):
    ask(queues, "a", 8)
    ask(queues, "b", 8)

    buckets, _ = running(queues, 6)

    assert THREADS[Executor.DOWNLOAD] == 8
    assert buckets == "aaaabb"


def test_buckets_that_never_answer_leave_a_thread_for_another_one(queues):
    for bucket in "abc":
        ask(queues, bucket, 8)

    buckets, _ = running(queues, 7)
    ask(queues, "d", 1)

    assert buckets == "aaaabbc"
    assert running(queues, 1)[0] == "d"


def test_a_bucket_alone_leaves_half_of_the_threads_free(queues):
    """Another one may come at any time, and a request that hangs gives no thread back."""
    ask(queues, "a", 8)
    running(queues, 4)

    ask(queues, "b", 1)

    assert running(queues, 1)[0] == "b"


def test_the_steps_of_a_bucket_that_wait_for_a_thread_can_be_withdrawn(queues):
    ask(queues, "a", 8)
    ask(queues, "b", 1)
    _, steps = running(queues, 4)

    withdrawn = queues.scheduler.withdraw(steps[0])

    names = sorted(step.item.request.image_key for step in withdrawn)
    assert names == ["a4", "a5", "a6", "a7"]
    assert running(queues, 1)[0] == "b"


def test_a_thread_that_becomes_free_goes_to_the_next_step_of_the_bucket(queues):
    ask(queues, "a", 8)
    _, steps = running(queues, 4)
    taken = []
    thread = threading.Thread(target=lambda: taken.append(running(queues, 1)[0]), daemon=True)
    thread.start()

    queues.scheduler.done(steps[0])
    thread.join(10)

    assert taken == ["a"]


def test_a_closed_queue_ends_its_threads_only_when_all_shares_are_empty(queues):
    ask(queues, "a", 5)
    _, steps = running(queues, 4)
    taken = []

    def serve():
        while step := queues.scheduler.take(Executor.DOWNLOAD):
            taken.append(step.item.request.image_key)
            queues.scheduler.done(step)

    threads = [threading.Thread(target=serve, daemon=True) for _ in range(3)]
    for thread in threads:
        thread.start()
    queues.scheduler.close()
    queues.scheduler.done(steps[0])
    for thread in threads:
        thread.join(10)

    assert not any(thread.is_alive() for thread in threads)
    assert taken == ["a4"]


# --- batches


def test_a_full_batch_is_taken_at_once(queues):
    queues.put_on_device(*"abcde")
    queues.put("upstream")

    assert queues.take_batch() == ["a", "b", "c", "d"]


def test_a_batch_does_not_wait_when_nothing_more_can_come(queues):
    queues.put_on_device("a", "b")

    assert queues.take_batch() == ["a", "b"]


def test_a_batch_does_not_wait_longer_than_configured(queues):
    queues.put_on_device("a")
    queues.put("upstream")
    queues.clock.now_s = WAIT_S

    batch = queues.scheduler.batches.take()

    assert [step.item.request.image_key for step in batch.steps] == ["a"]
    assert batch.waited_s == WAIT_S


def test_an_item_that_passes_without_the_device_lets_the_batch_go(queues):
    queues.put_on_device("a")
    passing = queues.step("passing")
    taken, asked = [], threading.Event()
    thread = threading.Thread(target=lambda: (asked.set(), taken.append(queues.take_batch())))
    thread.start()
    assert asked.wait(10)
    assert taken == []

    queues.inflight.pass_device(passing.item)
    queues.scheduler.batches.nudge()
    thread.join(10)

    assert taken == [["a"]]


def test_models_do_not_share_a_batch(queues):
    queues.put_on_device("a")
    queues.put_on_device("b", model=stand_in_model("other"))
    queues.put_on_device("c")

    assert queues.take_batch() == ["a", "c"]
    queues.clock.now_s = WAIT_S
    assert queues.take_batch() == ["b"]


def test_a_closed_batch_queue_hands_out_what_it_holds_and_then_ends_its_thread(queues):
    queues.put_on_device("a")
    queues.put_on_device("delayed", delay_s=HOUR_S)
    queues.put("upstream")

    queues.scheduler.close()

    assert queues.take_batch() == ["a", "delayed"]
    assert queues.take_batch() is None
