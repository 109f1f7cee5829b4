"""Streams of many callers: others are served while they are woken."""

import asyncio
from datetime import UTC, datetime
from itertools import groupby

from producer.gateway.listener import Listener
from producer.gateway.messages import COMMENT
from producer.gateway.streams import WOKEN_AT_ONCE, Streams
from producer.gateway.watch import Watch
from shared.access import ApiKey, digest
from shared.jobstore.item_events import Position

KEY = ApiKey(name="k", tenant="t", sha256=digest("text"), bucket="b", created_at=datetime.now(UTC))
CALLERS = 5 * WOKEN_AT_ONCE


def test_other_requests_go_on_while_many_callers_are_woken():
    streams, served = Streams(None, most=CALLERS), []

    async def read(listener):
        served.extend(["caller" async for _ in listener.messages(Position(0, 0))])

    async def other():
        while True:
            served.append("other")
            await asyncio.sleep(0)

    async def run():
        listeners = [Listener(KEY) for _ in range(CALLERS)]
        streams._watched["job"] = Watch(set(listeners))
        readers = [asyncio.create_task(read(each)) for each in listeners]
        beside = asyncio.create_task(other())
        await asyncio.sleep(0)
        for each in listeners:
            each.put(COMMENT)
            each.end()
        await streams._wake()
        await asyncio.gather(*readers)
        beside.cancel()

    asyncio.run(run())

    runs = [len(list(same)) for who, same in groupby(served) if who == "caller"]
    assert sum(runs) == CALLERS
    assert max(runs) <= WOKEN_AT_ONCE
