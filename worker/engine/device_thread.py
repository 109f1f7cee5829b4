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
    ran = _attempt(steps)
    if not isinstance(ran, BaseException):
        yield from ran
    elif len(steps) > 1 and not isinstance(ran, WorkerUnfit):
        for step in steps:
            yield from run_batch([step])
    else:
        for step in steps:
            yield step, ran


def _attempt(steps: Sequence[Step]) -> Sequence[tuple[Step, Payload]] | BaseException:
    """Run steps together; return what each of them became, or the error.

    Not in the generator: whoever gets the error may clear the frames of its traceback, which would
    end a generator among them.
    """
    stage = cast("BatchStage[Any]", steps[0].stage)
    try:
        items, payloads = [step.item for step in steps], [step.payload for step in steps]
        return list(zip(steps, stage.run_batch(items, payloads), strict=True))
    except BaseException as err:  # noqa: BLE001 - decided item by item
        return err
