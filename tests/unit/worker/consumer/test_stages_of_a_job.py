"""A stage that is added to the list alone runs in whole jobs."""

import threading

import pytest

from shared.job.spec import JobState
from worker.engine.payloads import Decoded, Rendered
from worker.engine.stage import Executor, Stage
from worker.monitoring.event_log import EventLog
from worker.monitoring.metrics import Metrics


class NoOp(Stage):
    """A stage that returns its payload; its first call fails with a transient error."""

    executor = Executor.CPU

    def __init__(self, name, accepts):
        self.name, self.accepts = name, accepts
        self.calls = 0
        self._lock = threading.Lock()

    def run(self, item, payload):
        with self._lock:
            self.calls += 1
            if self.calls == 1:
                raise MemoryError("simulated")
        return payload


def insert_after(name, added):
    """Return a change of the list of stages that puts *added* behind the stage *name*."""

    def change(stages):
        place = [stage.name for stage in stages].index(name) + 1
        return (*stages[:place], added, *stages[place:])

    return change


@pytest.mark.parametrize(("former", "accepts"), [("decode", Decoded), ("render", Rendered)])
def test_a_no_op_stage_added_to_the_list_runs_a_whole_job(consumers, caplog, former, accepts):
    stage = NoOp(f"after-{former}", accepts)
    names = ("download", "decode", "forward", "render", "upload", stage.name)
    metrics = Metrics(names)
    worker = consumers(change_stages=insert_after(former, stage), observers=(metrics, EventLog()))
    job_id = worker.submit(5)

    worker.run()

    status = worker.store.queries.status(job_id)
    assert (status.state, status.done, status.failed) == (JobState.DONE, 5, 0)
    assert stage.calls == 6
    value = metrics.registry.get_sample_value
    assert value("rmbg_stage_seconds_count", {"stage": stage.name}) == 6
    assert value("rmbg_retries_total", {"stage": stage.name}) == 1
    [retried] = [record for record in caplog.records if record.message == "item retried"]
    assert (retried.stage, retried.cause) == (stage.name, "MemoryError")
