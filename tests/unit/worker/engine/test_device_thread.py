"""What becomes of a batch: each item its own output or its own error."""

import pytest
from support.jobs import spec
from support.stand_ins import stand_in_model

from shared.errors import DeviceLost
from worker.engine.device_thread import collect, launch
from worker.engine.forward import Forward
from worker.engine.inflight import InFlight
from worker.engine.item import ItemRequest
from worker.engine.payloads import Decoded
from worker.engine.shared_masks import SharedMasks
from worker.engine.stage import Step


@pytest.fixture
def model():
    return stand_in_model()


def steps(model, count):
    inflight, stage = InFlight(count), Forward(SharedMasks(0))
    return [
        Step(
            inflight.enter(
                ItemRequest(
                    job_id="j",
                    sequence=1,
                    spec=spec(),
                    index=n,
                    image_key=f"{n}.jpg",
                    model=model,
                ),
                None,
                timeout_s=0,
            ),
            stage,
            Decoded("etag", None, (), n, n),
        )
        for n in range(count)
    ]


def run(batch):
    """Return what each item became, by index."""
    return {step.item.request.index: result for step, result in collect(launch(batch))}


def fail_for(bad, error):
    def before(batch):
        if bad in batch:
            raise error

    return before


def outputs(results):
    return {n: result.output.output for n, result in results.items()}


def test_a_batch_runs_once_and_each_item_gets_its_own_output(model):
    results = run(steps(model, 4))

    assert model.segmenter.batches == [4]
    assert {n: result.output.output for n, result in results.items()} == {
        n: 1 - n for n in range(4)
    }


def test_a_failed_batch_runs_again_item_by_item(model):
    model.segmenter.before = fail_for(2, ValueError("odd"))

    results = run(steps(model, 4))

    assert model.segmenter.batches == [4, 1, 1, 1, 1]
    assert str(results.pop(2)) == "odd"
    assert outputs(results) == {0: 1, 1: 0, 3: -2}


def test_a_lost_device_is_not_tried_again(model):
    model.segmenter.before = fail_for(2, DeviceLost("gone"))

    results = run(steps(model, 4))

    assert model.segmenter.batches == [4]
    assert [type(result) for result in results.values()] == [DeviceLost] * 4


def test_a_wrong_number_of_outputs_is_an_error_of_each_item(model):
    model.segmenter.forward = lambda batch: []

    results = run(steps(model, 2))

    assert [type(result) for result in results.values()] == [ValueError] * 2


def test_a_failed_batch_of_one_runs_once(model):
    model.segmenter.before = fail_for(0, ValueError("odd"))

    assert str(run(steps(model, 1))[0]) == "odd"
    assert model.segmenter.batches == [1]
