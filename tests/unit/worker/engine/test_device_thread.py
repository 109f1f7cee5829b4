"""The device's thread: which pictures run together, and what becomes of a failed batch."""

import pytest
from support.jobs import spec
from support.stand_ins import Valve, stand_in_model
from support.until import until

from shared.errors import DeviceLost
from worker.engine.device_thread import DeviceThread
from worker.engine.item import Flow
from worker.storage.item_ref import Work

HOUR_S = 3600.0


class Desk:
    """A device thread, and who waits for it. `upstream` is what is said to be on its way."""

    def __init__(self, *, max_wait_s=HOUR_S, batch_size=4):
        self.model = stand_in_model(batch_size=batch_size)
        self.upstream = 1000
        self.ran, self.broke = [], []
        self.thread = DeviceThread(
            max_wait_s=max_wait_s,
            upstream=lambda: self.upstream,
            ran=lambda flow, output: self.ran.append((flow.order, output)),
            broke=lambda flow, err: self.broke.append((flow.order, err)),
        )

    @property
    def batches(self):
        return self.model.segmenter.batches

    def put(self, *orders, model=None, urgent=False):
        for order in orders:
            work = Work(
                job_id="j",
                sequence=1,
                spec=spec(),
                index=order,
                image_key=f"{order}.jpg",
                model=model or self.model,
                urgent=urgent,
            )
            flow = Flow(work, lambda *_: None, order, 0.0)
            flow.prepared = order
            self.thread.put(flow)

    def wait_for(self, count):
        until(lambda: len(self.ran) + len(self.broke) >= count)


@pytest.fixture
def desks():
    made = []

    def make(**details):
        made.append(Desk(**details))
        return made[-1]

    yield make
    for desk in made:
        desk.thread.close()


def test_a_full_batch_runs_and_each_output_goes_to_its_picture(desks):
    desk = desks()

    desk.put(0, 1, 2, 3)
    desk.wait_for(4)

    assert desk.batches == [4]
    assert desk.ran == [(n, 1 - n) for n in range(4)]


def test_where_nothing_more_can_come_a_batch_does_not_wait(desks):
    desk = desks()
    desk.upstream = 2

    desk.put(0, 1)
    desk.wait_for(2)

    assert len(desk.ran) == 2


def test_what_ends_upstream_without_arriving_lets_the_rest_go(desks):
    desk = desks()
    desk.upstream = 3
    desk.put(0, 1)

    desk.upstream = 2
    desk.thread.nudge()
    desk.wait_for(2)

    assert desk.batches == [2]


def test_company_is_not_waited_for_longer_than_allowed(desks):
    desk = desks(max_wait_s=0.01)

    desk.put(0)
    desk.wait_for(1)

    assert desk.batches == [1]


def test_models_take_turns_on_the_one_device(desks):
    desk, other = desks(max_wait_s=0), stand_in_model("other")

    desk.put(0)
    desk.put(1, model=other)
    desk.put(2)
    desk.wait_for(3)

    assert sum(desk.batches) == 2
    assert other.segmenter.batches == [1]


def fail_for(bad, error):
    def before(batch):
        if bad in batch:
            raise error

    return before


def test_a_failed_batch_is_run_picture_by_picture(desks):
    desk = desks()
    desk.model.segmenter.before = fail_for(2, ValueError("odd"))

    desk.put(0, 1, 2, 3)
    desk.wait_for(4)

    assert desk.batches == [4, 1, 1, 1, 1]
    assert sorted(order for order, _ in desk.ran) == [0, 1, 3]
    [(order, error)] = desk.broke
    assert (order, str(error)) == (2, "odd")


def test_a_lost_device_is_not_tried_again(desks):
    desk = desks()
    desk.model.segmenter.before = fail_for(2, DeviceLost("gone"))

    desk.put(0, 1, 2, 3)
    desk.wait_for(4)

    assert desk.batches == [4]
    assert [order for order, _ in desk.broke] == [0, 1, 2, 3]


def test_a_wrong_number_of_outputs_does_not_end_the_thread(desks):
    desk = desks(batch_size=1)
    forward = desk.model.segmenter.forward
    desk.model.segmenter.forward = lambda batch: []
    desk.put(0)
    desk.wait_for(1)
    assert desk.broke

    desk.model.segmenter.forward = forward
    desk.put(1)
    desk.wait_for(2)

    assert desk.ran == [(1, 0)]


def test_what_waits_can_be_withdrawn_and_what_runs_goes_on(desks):
    desk = desks(batch_size=1)
    desk.model.segmenter.before = valve = Valve()
    desk.put(0, 1, 2)
    valve.wait_for_one()

    withdrawn = desk.thread.withdraw()
    valve.open()
    desk.wait_for(1)

    assert [flow.order for flow in withdrawn] == [1, 2]
    assert [order for order, _ in desk.ran] == [0]


def test_closing_runs_what_waits_and_ends_the_thread(desks):
    desk = desks()
    desk.put(0)

    desk.thread.close()
    desk.thread._thread.join(10)

    assert not desk.thread._thread.is_alive()
    assert [order for order, _ in desk.ran] == [0]


def test_it_counts_batches_and_pictures_and_the_time_it_was_busy(desks):
    desk = desks()

    desk.put(*range(8))
    until(lambda: desk.thread.items == 8)

    assert desk.thread.batches == 2
    assert desk.thread.busy_s > 0
