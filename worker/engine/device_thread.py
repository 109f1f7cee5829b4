"""Run one batch in the thread of the device."""

from collections.abc import Iterator, Sequence
from typing import Any, cast

from shared.errors import WorkerUnfit
from worker.engine.payloads import Payload
from worker.engine.stage import BatchStage, Step


def run_batch(steps: Sequence[Step]) -> Iterator[tuple[Step, Payload | BaseException]]:
    """Run steps of one stage and one model together; yield what each of them became, or its error.

    A batch that fails is run again item by item, so that each item has its own outcome. If the
    device itself is lost or full, there is nothing to run again.
    """
    stage = cast("BatchStage[Any]", steps[0].stage)
    try:
        items, payloads = [step.item for step in steps], [step.payload for step in steps]
        ran = list(zip(steps, stage.run_batch(items, payloads), strict=True))
    except BaseException as err:  # noqa: BLE001 - decided item by item
        if len(steps) > 1 and not isinstance(err, WorkerUnfit):
            for step in steps:
                yield from run_batch([step])
        else:
            for step in steps:
                yield step, err
        return
    yield from ran
