"""One item through an engine, without a queue."""

import pytest
from support.engine_harness import EngineHarness
from support.stand_ins import QuickImaging, Valve

from worker.engine import run_single


@pytest.fixture
def harnesses():
    made = []

    def make(imaging):
        made.append(EngineHarness(imaging=imaging))
        return made[-1]

    yield make
    for each in made:
        each.close()


def test_the_outcome_of_the_item_is_returned(harnesses):
    harness = harnesses(QuickImaging())
    request = harness.request(harness.put("a.jpg"))

    assert run_single(harness.engine, request, timeout_s=60).record.state == "done"


def test_an_item_that_takes_too_long_has_no_outcome(harnesses):
    valve = Valve()
    harness = harnesses(QuickImaging(measure=lambda *_: valve() or {"verdict": "ok"}))
    request = harness.request(harness.put("a.jpg"))

    assert run_single(harness.engine, request, timeout_s=0) is None
    valve.open()
