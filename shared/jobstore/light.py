"""Light jobs: a few images that somebody waits for, without shards, results and report."""

import contextlib
import logging
import secrets
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Final

import redis

from shared.errors import JobConflict
from shared.job import manifest
from shared.job.record import ItemRecord
from shared.job.spec import TERMINAL_STATES, JobSpec, JobState
from shared.jobstore.connection import Connection, StorePart, to_ms
from shared.jobstore.values import Issued

logger = logging.getLogger(__name__)

UNTOUCHED_S: Final = 24 * 3600.0
"""How long Redis keeps a light job that no worker ends."""
_READ_S: Final = 1.0
"""Longest wait for a message before the thread looks whether it is to end, in seconds."""
_AGAIN_S: Final = 1.0
"""Pause before a lost subscription is opened again, in seconds."""


@dataclass(frozen=True)
class LightResult:
    """How far a light job is."""

    state: JobState
    records: tuple[ItemRecord, ...]
    """Those of the images that have ended, in item order."""

    @property
    def has_ended(self) -> bool:
        """Whether no further record will come."""
        return self.state in TERMINAL_STATES


class LightJobs(StorePart):
    """Creates light jobs and reads their records; workers process them as they do others.

    Redis keeps a light job for an hour after its end. No list of jobs has it.
    """

    def submit(
        self, job_id: str, spec: JobSpec, keys: Sequence[str], *, identity: str, channel: str
    ) -> list[Issued]:
        """Create a light job; return the tickets to publish, none if it exists.

        Args:
            job_id: ID of the job.
            spec: Its document, with `light`.
            keys: The image keys, at most `manifest.CHUNK_KEYS`.
            identity: What makes two submissions the same beside the parameters, such as the hash
                of the images.
            channel: Where the end of the job is published; see `Endings`.

        Raises:
            JobConflict: If the job exists with other images or parameters.
            RedisFull: If Redis is at its memory limit.
        """
        word, *flat = self.connection.run(
            "submit_light",
            job=job_id,
            fingerprint=spec.fingerprint(identity),
            total=len(keys),
            spec=spec.to_json(),
            added=spec.added_json(),
            needs=" ".join(spec.needs),
            model=spec.rem_mode,
            tenant=spec.tenant,
            chunk=manifest.pack(keys),
            kept_ms=to_ms(UNTOUCHED_S),
            channel=channel,
        )
        if word == b"CONFLICT":
            raise JobConflict(f"job {job_id} exists with another image or other parameters")
        return Issued.read(flat)

    def result(self, job_id: str) -> LightResult:
        """Return how far a light job is.

        Raises:
            UnknownJob: If there is no such light job, or no longer.
        """
        state, *records = self.connection.run("light_result", job=job_id) or [None]
        if state is None:
            raise self.connection.unknown_job(job_id)
        parsed = sorted(map(ItemRecord.from_json, records), key=lambda record: record.index)
        return LightResult(JobState(state.decode()), tuple(parsed))


class Endings:
    """Tells callers in this process when light jobs end, over one connection for all of them.

    A message can get lost, with Redis or its connection, so callers also ask from time to time.
    """

    def __init__(self, connection: Connection) -> None:
        self.channel: Final = f"rmbg:endings:{secrets.token_hex(8)}"
        self._connection = connection
        self._waiting: dict[str, set[Future[None]]] = {}
        self._lock = threading.Lock()
        self._is_closed = threading.Event()
        self._thread = threading.Thread(target=self._run, name="endings", daemon=True)

    def start(self) -> None:
        """Start to listen."""
        self._thread.start()

    def close(self) -> None:
        """Stop listening."""
        self._is_closed.set()
        self._thread.join()

    @contextlib.contextmanager
    def expecting(self, job_id: str) -> Iterator[Future[None]]:
        """Return a future that is done when the job ends; enter before the job is submitted."""
        future: Future[None] = Future()
        with self._lock:
            self._waiting.setdefault(job_id, set()).add(future)
        try:
            yield future
        finally:
            with self._lock:
                self._waiting[job_id].discard(future)
                if not self._waiting[job_id]:
                    del self._waiting[job_id]

    def _run(self) -> None:
        while not self._is_closed.is_set():
            try:
                self._listen()
            except redis.RedisError as err:
                logger.warning("endings wait for Redis", extra={"cause": str(err)})
                self._is_closed.wait(_AGAIN_S)

    def _listen(self) -> None:
        opened = self._connection.client.pubsub(ignore_subscribe_messages=True)  # type: ignore[no-untyped-call]
        with opened as subscription:
            subscription.subscribe(self.channel)
            while not self._is_closed.is_set():
                message = subscription.get_message(timeout=_READ_S)
                if message is not None:
                    self._tell(message["data"].decode())

    def _tell(self, job_id: str) -> None:
        with self._lock:
            waiting = list(self._waiting.get(job_id, ()))
        for future in waiting:
            if not future.done():
                future.set_result(None)
