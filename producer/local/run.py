"""`rmbg run`: the whole system on one machine, from a folder of pictures to a folder of cutouts."""

from __future__ import annotations

import hashlib
import itertools
import shutil
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Final

import click

from producer.local.collect import Collector
from producer.local.helper import WorkerProcess
from producer.local.pictures import Folder, scan, upload
from producer.local.servers import EmbeddedServers
from producer.local.weights import fetch
from producer.progress import exit_code, screen_for, watch
from producer.results.reader import follow, records
from producer.services import Services
from producer.submission.options import JobOptions
from producer.submission.sources import KeySource
from producer.submission.submit import plan, submit
from shared.errors import NoKeys, UnknownJob
from shared.job.keys import report_key
from shared.job.spec import TERMINAL_STATES, JobState
from shared.jobstore.values import JobStatus
from shared.models import registry as models
from shared.models import weights
from shared.settings import ServiceSettings

DATA: Final = ".rmbg"
"""Below OUT_DIR: data of the embedded servers, until the job has ended."""
SURROUNDINGS: Final = ("RMBG_REDIS_URL", "RMBG_S3_", "RMBG_INPUT_BUCKETS", "RMBG_OUTPUT_BUCKET")
"""Variables of other systems that this one must not touch."""
FOLLOW_S: Final = 0.5
NAMED: Final = 5
"""Files that a warning names; it counts them all."""


def run(src: Path, out: Path, options: JobOptions, env: Mapping[str, str]) -> int:
    """Remove the backgrounds of the pictures below *src*; return the exit code.

    The same call goes on where an earlier one was interrupted.

    Raises:
        NoKeys: If there is no picture below *src*.
        InvalidOption: If another run uses *out*, if a file there cannot be written, or if the
            embedded servers are not installed.
        WeightsInvalid: If the model's weights are neither here nor to be had.
        ServiceUnavailable: If the job cannot go on; the same call tries again.
    """
    folder = scan(src, without=out)
    _warn("skipped", folder.skipped)
    if not folder.keys:
        raise NoKeys(f"{src}: no picture among {folder.ignored} files")
    out.mkdir(parents=True, exist_ok=True)
    env = {name: text for name, text in env.items() if not name.startswith(SURROUNDINGS)}
    settings = ServiceSettings.from_env(env)
    _fetch_weights(options, settings, env)
    with EmbeddedServers(out / DATA) as servers:
        env |= servers.settings()
        services = Services(ServiceSettings.from_env(env))
        code = _Run(services, folder, out, options).to_its_end(env)
    shutil.rmtree(out / DATA)
    return code


class _GivenUp(Exception):
    """The run ends before its job does: nothing more is fetched now."""


class _Run:
    """One job over one folder, with servers that are up."""

    def __init__(self, services: Services, folder: Folder, out: Path, options: JobOptions) -> None:
        self._services = services
        self._folder = folder
        self._options = options
        bucket = services.settings.output_bucket
        self._collector = Collector(services.objects, bucket, out, options.naming)
        self._log = out / DATA / "worker.log"

    def to_its_end(self, env: Mapping[str, str]) -> int:
        """Submit or join the job, have it worked off, fetch all results; return the exit code."""
        services, folder = self._services, self._folder
        click.echo(
            f"{len(folder.keys)} pictures ({folder.ignored} other files ignored), "
            f"{self._options.rem_mode}",
            err=True,
        )
        uploaded = upload(folder, services.objects, services.settings.input_buckets[0])
        _warn("cannot be read and will fail", uploaded.unread)
        job_id = self._submit(uploaded.digest)
        with WorkerProcess(env, self._options.rem_mode, self._log) as worker:
            status = self._attend(job_id, lambda ended: worker.keep_alive(ended=ended))
        self._collector.results(records(services, job_id))
        if status.state is JobState.DONE:
            self._collector.document(report_key(job_id), "report.html")
        return exit_code(status)

    def _submit(self, digest: str) -> str:
        """Return the id of the job over the pictures of *digest*; a resumed run joins it.

        Jobs of other pictures or options, which earlier runs left unfinished, are cancelled:
        they would be worked off first, and nobody waits for them.
        """
        spec = plan(self._services, self._options)
        said = f"{digest}\0{spec.model_copy(update={'date': ''}).to_json()}"
        name = f"run-{hashlib.sha256(said.encode()).hexdigest()[:16]}"
        job_id = self._options.job_id or self._not_cancelled(name)
        source = KeySource(self._folder.keys)
        job_id = submit(self._services, source, spec, job_id=job_id).job_id
        jobs = self._services.jobs
        for other in jobs.queries.jobs():
            if other.job_id != job_id and other.state not in TERMINAL_STATES:
                jobs.submissions.cancel(other.job_id)
        return job_id

    def _not_cancelled(self, name: str) -> str:
        """Return *name* with the first number whose job was not cancelled for another's sake."""
        for number in itertools.count(1):
            with suppress(UnknownJob):
                if _is_cancelled(self._services.jobs.queries.status(f"{name}-{number}")):
                    continue
            break
        return f"{name}-{number}"

    def _attend(self, job_id: str, keep_alive: Callable[[int], None]) -> JobStatus:
        """Show the job's progress and fetch its pictures until it has ended.

        Args:
            job_id: The job.
            keep_alive: Called twice a second with the number of items that have ended.

        Raises:
            InvalidOption: If a picture cannot be written; at once, not at the job's end.
        """
        ended = threading.Event()
        with ThreadPoolExecutor(1) as pool:
            fetched = pool.submit(self._collect, job_id, ended)

            def poll() -> JobStatus:
                self._collector.check()
                if fetched.done():
                    fetched.result()
                status = self._services.jobs.queries.status(job_id)
                keep_alive(status.done + status.failed)
                return status

            try:
                status = watch(poll, screen_for(sys.stderr))
            finally:
                ended.set()
            fetched.result()
        return status

    def _collect(self, job_id: str, ended: threading.Event) -> None:
        """Fetch pictures as they are known; all of them if the job ended, some if we gave up."""

        def pause() -> None:
            if ended.wait(FOLLOW_S) and not self._has_ended(job_id):
                raise _GivenUp

        with suppress(_GivenUp):
            self._collector.pictures(follow(self._services, job_id, pause=pause))

    def _has_ended(self, job_id: str) -> bool:
        return self._services.jobs.queries.status(job_id).state in TERMINAL_STATES


def _is_cancelled(status: JobStatus) -> bool:
    """Tell whether the job was cancelled, which it is called only when it has ended."""
    is_whole = status.done + status.failed == status.total
    return status.state is JobState.CANCELLED or (
        status.state is JobState.FINISHING and not is_whole
    )


def _warn(what: str, files: Sequence[str]) -> None:
    """Say of some files what became of them; nothing of none."""
    if files:
        rest = ", ..." if len(files) > NAMED else ""
        named = ", ".join(files[:NAMED])
        click.echo(f"rmbg: warning: {len(files)} {what}: {named}{rest}", err=True)


def _fetch_weights(options: JobOptions, settings: ServiceSettings, env: Mapping[str, str]) -> None:
    """Download the model's weights before anything is started, unless they are here."""
    if env.get("RMBG_WEIGHTS"):
        return
    model = models.get(options.rem_mode)
    if weights.locate(model, settings.home) is None:
        click.echo(f"downloading the weights of {model.name} ({model.licence})", err=True)
        fetch(model, settings)
