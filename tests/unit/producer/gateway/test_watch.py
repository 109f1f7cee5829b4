"""What the listeners of a job are told: items without gaps, or a reset."""

import asyncio
import json
from datetime import UTC, datetime

import pytest

from producer.gateway.listener import BEHIND_MOST, Listener
from producer.gateway.messages import COMMENT
from producer.gateway.watch import Watch
from shared.access import ApiKey
from shared.job.spec import JobState
from shared.jobstore.item_events import READ_MOST, ItemEvent, Position
from shared.jobstore.values import JobStatus

KEY = ApiKey(name="k", tenant="k", sha256="", bucket="inbox", created_at=datetime.now(UTC))


def status(done, *, state=JobState.RUNNING, generation=1):
    return JobStatus(
        job_id="j",
        state=state,
        waiting_for=None,
        total=9,
        done=done,
        failed=0,
        created_at=datetime.now(UTC),
        finished_at=None,
        images_per_s=None,
        eta_s=None,
        generation=generation,
        error_classes={},
        verdicts={},
    )


def items(*numbers, generation=1):
    return [ItemEvent(Position(generation, n), n, "done", "ok", "") for n in numbers]


@pytest.fixture
def watch():
    return Watch({Listener(KEY)}, Position(1, 2), status(2))


START = Position(0, 0)


def told(watch, at=START):
    """Return name and ID of all messages of the listener, and end it."""
    [listener] = watch.listeners

    async def read():
        return "".join([data.decode() async for data in listener.messages(at)])

    listener.end()
    listener.wake()
    texts = asyncio.run(read()).split("\n\n")[:-1]
    fields = [dict(line.split(": ", 1) for line in text.splitlines()) for text in texts]
    return [f"{each['event']} {each.get('id', '')}".strip() for each in fields]


def test_items_in_order_are_told_before_the_progress(watch):
    watch.tell(status(4), items(3, 4))

    assert told(watch) == ["item 1.3", "item 1.4", "progress"]


def test_a_status_that_has_not_changed_is_not_told_again(watch):
    watch.tell(watch.status, [])

    assert told(watch) == []


@pytest.mark.parametrize(
    ("now", "events"),
    [
        (status(5), items(3, 5)),  # one was not kept
        (status(5), items(3, 4)),  # the last was not written
        (status(5), []),
        (status(5, generation=2), []),  # a retry has begun
    ],
)
def test_a_gap_is_told_once(watch, now, events):
    watch.tell(now, events)
    watch.tell(now, [])

    resets = [each for each in told(watch) if each.startswith("reset")]
    assert resets == [f"reset {now.generation}.5"]


def test_events_after_the_status_are_no_gap(watch):
    watch.tell(status(3), items(3, 4, 5))

    assert told(watch) == ["item 1.3", "item 1.4", "item 1.5", "progress"]
    assert watch.at == Position(1, 5)


def test_the_end_comes_after_all_items(watch):
    ended = status(2 + READ_MOST + 1, state=JobState.DONE)
    watch.tell(ended, items(*range(3, 3 + READ_MOST)))
    assert watch.at == Position(1, 2 + READ_MOST)
    watch.tell(ended, items(3 + READ_MOST))

    seen = told(watch)
    assert seen[-2:] == [f"item 1.{3 + READ_MOST}", "done"]
    assert seen.count("done") == 1


def test_a_listener_skips_what_it_has(watch):
    watch.tell(status(5), items(3, 4, 5))

    assert told(watch, Position(1, 4)) == ["item 1.5", "progress"]


def test_a_listener_that_does_not_read_is_ended_and_holds_nothing():
    slow = Listener(KEY)
    for _ in range(BEHIND_MOST + 1):
        slow.put(COMMENT)
    slow.wake()

    async def read():
        return [data async for data in slow.messages(Position(1, 0))]

    assert asyncio.run(read()) == []


def test_data_are_json(watch):
    [listener] = watch.listeners
    watch.tell(status(3), items(3))
    body = listener._waiting[0].data.decode().splitlines()[2].removeprefix("data: ")

    assert json.loads(body) == {"index": 3, "state": "done", "verdict": "ok", "error": None}
