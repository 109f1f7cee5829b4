"""The producer's side: to make jobs, stop them, and redo what failed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from redis.exceptions import ResponseError

from shared.errors import JobConflict, JobNotDone, NoKeys, RedisFull, RedisUnavailable, UnknownJob
from shared.job.manifest import CHUNK_KEYS, MAX_REDIS_KEYS
from shared.job.spec import JobState, Json, Priority
from shared.jobstore import layout
from shared.jobstore.connection import ANSWER_S, Connection, to_ms
from shared.jobstore.values import Submission, Submitted


class Submitting(Connection):
    """What a producer does to jobs."""

    def stage(self, nonce: str, first_chunk: int, chunks: Sequence[bytes]) -> None:
        """Keep packed chunks of keys under *nonce* until a submission takes them over.

        Without one they vanish after `Rules.staged_s`. A repetition writes the same again.

        Raises:
            RedisFull: If Redis is near its memory limit.
            RedisUnavailable: If it cannot be asked.
        """
        self._refuse_if_full()
        key = layout.staged(nonce)
        with self._translated(), self._client.pipeline() as pipe:
            for number, chunk in enumerate(chunks, start=first_chunk):
                pipe.hset(key, str(number), chunk)
            pipe.pexpire(key, to_ms(self._rules.staged_s))
            pipe.execute()

    def submit(self, submission: Submission) -> Submitted:
        """Make the job, or join the one that this very submission made before.

        A given id always means its job. Without one, the job of the same keys and parameters is
        joined while it runs and for `Rules.join_after_end_s` after it is done. Any number of
        submissions at once make one job. What `recover` answers next holds its first tickets.

        After any error but `NoKeys` and `JobConflict` the job may have been made all the same, if
        the answer got lost. The very same submission then says `created` again.

        Raises:
            NoKeys: If there is no item.
            JobConflict: If the given id means other keys or parameters.
            RedisFull: If Redis is near its memory limit.
            RedisUnavailable: If it cannot be asked, or has lost the staged keys: stage them again.
        """
        if submission.total < 1:
            raise NoKeys("a job needs at least one image key")
        self._refuse_if_full()
        spec = submission.spec
        in_redis = min(submission.total, MAX_REDIS_KEYS)
        answer, *job_id = self._run(
            "submit",
            given=submission.job_id or "",
            fingerprint=spec.fingerprint(submission.keys_sha256),
            total=submission.total,
            chunks=-(-in_redis // CHUNK_KEYS),
            spec=spec.to_json(),
            queue="rmbg.interactive" if spec.priority == Priority.INTERACTIVE else "rmbg.bulk",
            nonce=submission.manifest,
            join_ms=to_ms(self._rules.join_after_end_s),
            model=spec.rem_mode,
        )
        if answer == b"UNSTAGED":
            raise RedisUnavailable(f"{self._where()} has not the staged keys (any more)")
        name = job_id[0].decode()
        if answer == b"CONFLICT":
            raise JobConflict(f"job {name} exists already, with other keys or parameters")
        return Submitted(name, created=answer == b"CREATED")

    def cancel(self, job_id: str) -> None:
        """Let nothing new of the job start; a job whose items have all ended stays as it is.

        What was in flight still counts and is recorded; then the job is `cancelled` for good.
        A repetition changes nothing.

        Raises:
            UnknownJob: If there is no such job.
        """
        if not self._run("cancel", job=job_id):
            raise UnknownJob(f"no job {job_id} is known to {self._where()}")

    def retry(self, job_id: str) -> int:
        """Open a done job again for its failed items, and return how many those are.

        With none nothing happens. What `recover` answers next holds the first tickets.

        Raises:
            UnknownJob: If there is no such job.
            JobNotDone: If it runs, or was cancelled.
        """
        return self._reopened(job_id, self._run("reopen", job=job_id, bits="", generation=""))

    def reopen(
        self, job_id: str, bitmap: bytes, *, generation: int, verdicts: Mapping[str, int]
    ) -> int:
        """Open a done job again for some of its done items, and return how many those are.

        They are taken off the counters, and count anew when they end. With none nothing happens.
        What `recover` answers next holds the first tickets.

        Args:
            job_id: The job.
            bitmap: Item i is bit i, the highest of a byte first, as Redis counts.
            generation: The one in which they were found to be done.
            verdicts: Quality verdict -> how many of the items have it.

        Raises:
            UnknownJob: If there is no such job.
            JobNotDone: If it runs, was cancelled, or is not what it was in that generation.
        """
        answer = self._run(
            "reopen", verdicts.items(), job=job_id, bits=bitmap, generation=generation
        )
        return self._reopened(job_id, answer)

    def _reopened(self, job_id: str, answer: list[Json]) -> int:
        if not answer:
            raise UnknownJob(f"no job {job_id} is known to {self._where()}")
        state = answer[0].decode()
        if state == "changed":
            raise JobNotDone(f"job {job_id} was opened again since it was looked at")
        if state != JobState.DONE:
            raise JobNotDone(f"job {job_id} is {state}; only a done job can be opened again")
        return int(answer[1])

    def reserve_numbers(self, bucket: str, stem: str, *, listed_highest: int, count: int) -> int:
        """Reserve *count* file numbers for *bucket* and *stem*; return the first of them.

        It is one above the higher of *listed_highest* (what lies in the bucket) and what was
        reserved before. A repetition reserves new numbers; gaps are allowed.
        """
        return int(
            self._run(
                "reserve_numbers",
                key=layout.numbers(bucket, stem),
                listed_highest=listed_highest,
                count=count,
                kept_ms=to_ms(self._rules.numbers_kept_s),
            )
        )

    def durable(self, timeout_s: float) -> bool:
        """Wait until all that was written so far lies on the server's disk; tell whether it does.

        False after *timeout_s*, and where the server has no append-only file or no `WAITAOF`
        (Redis before 7.2).
        """
        timeout_s = min(timeout_s, ANSWER_S / 2)
        with self._translated(), self._client.pipeline(transaction=False) as pipe:
            # WAITAOF waits for the writes of its own connection, hence one on that connection;
            # everything before it reaches the disk first.
            pipe.set(layout.DURABLE, 1)
            pipe.waitaof(1, 0, to_ms(timeout_s))
            answer = pipe.execute(raise_on_error=False)[1]
        return not isinstance(answer, ResponseError) and answer[0] == 1

    def _refuse_if_full(self) -> None:
        with self._translated():
            memory = self._client.info("memory")
        limit_bytes, used_bytes = memory["maxmemory"], memory["used_memory"]
        if limit_bytes and used_bytes > limit_bytes * self._rules.memory_share:
            raise RedisFull(
                f"{self._where()} uses {used_bytes:,} of {limit_bytes:,} bytes; jobs are taken "
                f"below {self._rules.memory_share:.0%}: try again when others have ended"
            )
