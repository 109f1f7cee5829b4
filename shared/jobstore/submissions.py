"""Submit, cancel, retry and reopen jobs."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from redis.exceptions import ResponseError

from shared.errors import (
    JobConflict,
    JobNotDone,
    NoKeys,
    RedisFull,
    RedisUnavailable,
    ServiceUnfit,
    TooManyOpen,
)
from shared.job.features import describe_need
from shared.job.manifest import CHUNK_KEYS
from shared.job.spec import JobSpec, JobState, Json, Priority
from shared.jobstore import layout
from shared.jobstore.connection import ANSWER_S, StorePart, to_ms
from shared.jobstore.memory import EVICTS_JOBS, Memory


@dataclass(frozen=True, kw_only=True)
class Submission:
    """A job to be created; its keys are staged."""

    spec: JobSpec
    total: int
    """Items, at least 1."""
    keys_sha256: str
    """Hash of all keys in order; together with the parameters it identifies the same job."""
    job_id: str | None
    """An id chosen by the user, or None to derive one."""
    weight: int = 1
    """Weight of the tenant beside others; see `_feeding.lua`."""
    most_open: int = 0
    """Most images of the tenant that have not ended, these included; 0: any number."""
    manifest: str
    """The nonce under which the keys were staged."""
    proposed: str = ""
    """ID of the job if it is created without *job_id*; "" derives one from its sequence."""


@dataclass(frozen=True)
class Submitted:
    """The job that a submission created or joined."""

    job_id: str
    created: bool
    warnings: tuple[str, ...] = ()
    """What the user should know, a sentence each."""


class Submissions(StorePart):
    """What a producer does with jobs."""

    def stage(self, nonce: str, first_chunk: int, chunks: Sequence[bytes]) -> None:
        """Store packed chunks of keys under *nonce* for a submission.

        They expire after `Rules.staged_s` unless they are submitted. A repetition writes the same.

        Raises:
            RedisFull: If Redis is near its memory limit.
        """
        self.check_memory()
        key = layout.staged(nonce)
        with self.connection.commands() as client, client.pipeline() as pipe:
            for number, chunk in enumerate(chunks, start=first_chunk):
                pipe.hset(key, str(number), chunk)
            pipe.pexpire(key, to_ms(self.rules.staged_s))
            pipe.execute()

    def submit(self, submission: Submission) -> Submitted:
        """Create the job, or join the one that the same submission created before.

        A given id always identifies its job. Without an id, the job with the same keys and
        parameters is joined while it runs and for `Rules.join_after_end_s` after it is done. Any
        number of concurrent submissions create one job. The next `recover` returns its first
        tickets.

        After any error but `NoKeys`, `JobConflict` and `TooManyOpen` the job may exist, if only the
        reply got lost. A repetition of the submission then returns `created` again.

        Raises:
            NoKeys: If there is no item.
            JobConflict: If the given id exists with other keys or parameters.
            TooManyOpen: If the tenant would have more open images than allowed.
            RedisFull: If Redis is near its memory limit.
            RedisUnavailable: If it cannot be reached, or has lost the staged keys: stage again.
        """
        if submission.total < 1:
            raise NoKeys("the job has no items; submit at least one image key")
        self.check_memory()
        spec = submission.spec
        in_redis = min(submission.total, self.rules.keys_in_redis)
        answer, *job_id = self.connection.run(
            "submit",
            given=submission.job_id or "",
            proposed=submission.proposed,
            fingerprint=spec.fingerprint(submission.keys_sha256),
            total=submission.total,
            chunks=-(-in_redis // CHUNK_KEYS),
            spec=spec.to_json(),
            added=spec.added_json(),
            needs=" ".join(spec.needs),
            needs_reason=describe_need(spec.needs, spec.version),
            queue="rmbg.interactive" if spec.priority == Priority.INTERACTIVE else "rmbg.bulk",
            nonce=submission.manifest,
            join_ms=to_ms(self.rules.join_after_end_s),
            model=spec.rem_mode,
            tenant=spec.tenant,
            weight=submission.weight,
            most_open=submission.most_open,
        )
        if answer == b"OVER":
            raise TooManyOpen(
                f"{spec.tenant} has {int(job_id[0]):,} images in progress and may have "
                f"{submission.most_open:,}; submit {submission.total:,} more when others have ended"
            )
        if answer == b"UNSTAGED":
            raise RedisUnavailable(
                f"staged keys are missing from {self.connection.where()}; submit again"
            )
        name = job_id[0].decode()
        if answer == b"CONFLICT":
            raise JobConflict(f"job {name} exists with other keys or parameters; choose another id")
        return Submitted(name, created=answer == b"CREATED")

    def cancel(self, job_id: str) -> None:
        """Cancel the job: no further item starts. No effect once all its items have ended.

        Items in flight are still recorded and counted; then the job is `cancelled`, which is
        final. A repetition changes nothing.

        Raises:
            UnknownJob: If the job is not in Redis.
        """
        if not self.connection.run("cancel", job=job_id):
            raise self.connection.unknown_job(job_id)

    def retry(self, job_id: str) -> int:
        """Open a done job again for its failed items, and return their number.

        Nothing changes if there are none. The next `recover` returns the first tickets.

        Raises:
            UnknownJob: If the job is not in Redis.
            JobNotDone: If it runs or was cancelled.
        """
        return self._reopened(
            job_id, self.connection.run("reopen", job=job_id, bits="", generation="")
        )

    def reopen(
        self, job_id: str, bitmap: bytes, *, generation: int, verdicts: Mapping[str, int]
    ) -> int:
        """Open a done job again for some of its done items, and return their number.

        They are subtracted from the counters, and count again when they end. Nothing changes if
        there are none. The next `recover` returns the first tickets.

        Args:
            job_id: The job.
            bitmap: Item i is bit i, the highest bit of a byte first, as in Redis.
            generation: The generation in which the items were checked.
            verdicts: Quality verdict -> number of the items with it.

        Raises:
            UnknownJob: If the job is not in Redis.
            JobNotDone: If it runs, was cancelled, or has changed since that generation.
        """
        answer = self.connection.run(
            "reopen", verdicts.items(), job=job_id, bits=bitmap, generation=generation
        )
        return self._reopened(job_id, answer)

    def _reopened(self, job_id: str, answer: list[Json]) -> int:
        if not answer:
            raise self.connection.unknown_job(job_id)
        state = answer[0].decode()
        if state == "changed":
            raise JobNotDone(f"job {job_id} has been reopened since it was checked; check it again")
        if state != JobState.DONE:
            raise JobNotDone(f"job {job_id} is {state}; only a done job can be reopened")
        return int(answer[1])

    def hold(self, submission_id: str, owner: str, ttl_s: float, *, is_held: bool) -> bool:
        """Hold a submission that is made into a job, for *ttl_s*; return whether *owner* has it.

        It only saves work: two that made the same job would create one.

        Args:
            submission_id: The submission.
            owner: Who makes it into a job.
            ttl_s: After this time another may do it.
            is_held: Whether *owner* has it already, and wants to keep it.
        """
        key = layout.submitting(submission_id)
        with self.connection.commands() as client:
            return bool(client.set(key, owner, px=to_ms(ttl_s), nx=not is_held))

    def reserve_numbers(self, bucket: str, stem: str, *, listed_highest: int, count: int) -> int:
        """Reserve *count* file numbers for *bucket* and *stem*; return the first of them.

        The first is one above *listed_highest* (the highest in the bucket) and above all numbers
        reserved before. A repetition reserves new numbers; gaps are allowed.
        """
        return int(
            self.connection.run(
                "reserve_numbers",
                key=layout.numbers(bucket, stem),
                listed_highest=listed_highest,
                count=count,
                kept_ms=to_ms(self.rules.numbers_kept_s),
            )
        )

    def durable(self, timeout_s: float) -> bool:
        """Wait until all writes so far are on the server's disk; return whether they are.

        False after *timeout_s* seconds, and if the server has no append-only file or no `WAITAOF`
        (Redis before 7.2). Threads that wait at the same time share a connection.
        """
        return self.connection.disk_waits.ask(lambda: self._durable(min(timeout_s, ANSWER_S / 2)))

    def _durable(self, timeout_s: float) -> bool:
        with self.connection.commands() as client, client.pipeline(transaction=False) as pipe:
            # WAITAOF waits for the writes of its own connection, so this writes on that
            # connection; earlier writes of others reach the disk first.
            pipe.set(layout.DURABLE, 1)
            pipe.waitaof(1, 0, to_ms(timeout_s))
            answer = pipe.execute(raise_on_error=False)[1]
        return not isinstance(answer, ResponseError) and answer[0] == 1

    def check_memory(self) -> None:
        """Check that Redis has room for a job and will not delete it.

        Raises:
            RedisFull: If Redis is near its memory limit.
            ServiceUnfit: If Redis deletes open jobs at its limit, unless the rules allow that.
        """
        with self.connection.commands() as client:
            memory = Memory.of(client.info("memory"))
        where, share = self.connection.where(), self.rules.memory_share
        if memory.evicts_jobs and not self.rules.allow_eviction:
            raise ServiceUnfit(f"{where}: {EVICTS_JOBS.format(policy=memory.policy)}")
        if memory.is_full(share):
            raise RedisFull(
                f"{where} uses {memory.used_bytes:,} of {memory.limit_bytes:,} bytes; it accepts "
                f"new jobs below {share:.0%}: try again when others have ended"
            )
