"""How many of our calls lie between a Celery message and the request to the object store."""

import sys
from pathlib import Path

from celery import Celery

from shared.broker.app import TASK
from worker.consumer.task import register

ROOT = Path(__file__).parents[4]
MAX_FRAMES = 16


def our_frames():
    """Return the functions of this thread's stack that are under worker/ or shared/."""
    frame, found = sys._getframe(), []
    while frame is not None:
        path = Path(frame.f_code.co_filename)
        if path.is_relative_to(ROOT / "worker") or path.is_relative_to(ROOT / "shared"):
            found.append(frame.f_code.co_qualname)
        frame = frame.f_back
    return found


def test_few_calls_lie_between_the_task_and_the_object_store(consumer):
    """Counted from the task to the hand-over, and in the engine's thread to `ObjectStore.get`."""
    stacks = {}
    scheduler, put = consumer.harness.engine.scheduler, consumer.harness.engine.scheduler.put

    def record_put(step, **options):
        stacks.setdefault("hand-over", our_frames())
        put(step, **options)

    def record_get(call, bucket, _key):
        if (call, bucket) == ("get", "inbox"):
            stacks.setdefault("get", our_frames())

    scheduler.put = record_put
    consumer.objects.before = record_get
    app = Celery("test", set_as_current=False)
    register(app, consumer.consumer)
    consumer.submit(1)

    app.tasks[TASK].run(*consumer.published.pop(0).ticket.to_args())

    assert stacks["hand-over"][-1].endswith("serve_ticket")
    count = sum(map(len, stacks.values()))
    assert count <= MAX_FRAMES, f"{count} frames: {stacks}"
