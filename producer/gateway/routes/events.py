"""`/v1/jobs/{id}/events`: how a job goes on, as server-sent events."""

import asyncio
from functools import partial
from http import HTTPStatus
from typing import Annotated, Any, Final

from fastapi import APIRouter, Header, Response
from starlette.concurrency import run_in_threadpool
from starlette.types import Receive, Scope, Send

from producer.gateway.access import Reader
from producer.gateway.context import Here
from producer.gateway.listener import Listener
from producer.gateway.routes.jobs import JobId
from producer.gateway.streams import Stream, Streams
from producer.gateway.tenancy import own_spec
from shared.jobstore.item_events import Position

router: Final = APIRouter(prefix="/v1/jobs", tags=["jobs"])
_EVENT: Final[dict[str, Any]] = {
    "type": "object",
    "required": ["event", "data"],
    "properties": {
        "event": {"enum": ["progress", "item", "reset", "done", "gone"]},
        "id": {"type": "string", "pattern": r"^[0-9]+\.[0-9]+$"},
        "data": {"type": "string", "contentMediaType": "application/json"},
    },
}
"""Schema of one event."""
MEDIA_TYPE: Final = "text/event-stream"
_NOWHERE: Final = Position(0, 0)
"""A position that no job has."""


class _Events(Response):
    """A stream, which is closed with the connection.

    It costs two tasks less than a `StreamingResponse`, and their memory for every caller.
    """

    media_type = MEDIA_TYPE

    def __init__(self, streams: Streams, job_id: str, stream: Stream) -> None:
        super().__init__(headers={"X-Accel-Buffering": "no"})
        del self.headers["content-length"]
        self._stream = stream
        self._close = partial(streams.close, job_id, stream.listener)

    async def __call__(self, _scope: Scope, receive: Receive, send: Send) -> None:
        """Serve the stream."""
        leaving = asyncio.create_task(_end_with_connection(receive, self._stream.listener))
        try:
            start = {"status": self.status_code, "headers": self.raw_headers}
            await send({"type": "http.response.start", **start})
            async for data in self._stream.body():
                await send({"type": "http.response.body", "body": data, "more_body": True})
            await send({"type": "http.response.body", "body": b""})
        finally:
            leaving.cancel()
            self._close()


async def _end_with_connection(receive: Receive, listener: Listener) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
    listener.end()
    listener.wake()


@router.get(
    "/{job_id}/events",
    operation_id="listenToJob",
    response_class=Response,
    responses={
        HTTPStatus.OK: {
            "description": "The events",
            "content": {MEDIA_TYPE: {"schema": _EVENT}},
        },
        HTTPStatus.NO_CONTENT: {"description": "The job has ended, and the caller knows it"},
    },
)
async def events(
    gateway: Here,
    key: Reader,
    job_id: JobId,
    last_event_id: Annotated[
        str | None,
        Header(max_length=100, description="The `id` of the last event that was read"),
    ] = None,
) -> Response:
    """Return the events of a job as they happen, as `text/event-stream`.

    `progress` has the status of the job, at most twice a second; `item` an image that has ended;
    `done` the last status. `reset` says that events are missing: read the results again from its
    `cursor` on. A reader that comes back with `Last-Event-ID` misses nothing, or gets a `reset`.
    """
    await run_in_threadpool(own_spec, gateway.services, key, job_id)
    after = (Position.parse(last_event_id) or _NOWHERE) if last_event_id is not None else None
    stream = await gateway.streams.open(job_id, key, after)
    if stream is None:
        return Response(status_code=HTTPStatus.NO_CONTENT)
    return _Events(gateway.streams, job_id, stream)
