"""`rmbg run`: the whole system on one machine, from images to a folder of cutouts."""

import hashlib
import itertools
import shutil
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress
from functools import cache
from pathlib import Path
from typing import Final

import click

from producer.local.collect import Collector
from producer.local.images import Folder, select, upload
from producer.local.servers import SERVER_LOGS, EmbeddedServers
from producer.local.space import Space
from producer.local.weights import fetch_if_missing
from producer.local.worker_process import WorkerProcess
from producer.progress import count, exit_code, screen_for, watch
from producer.results.reader import follow, has_ended, records
from producer.services import Services
from producer.submission.options import JobOptions
from producer.submission.sources import KeySource
from producer.submission.submit import plan, submit
from shared.errors import NoKeys, ObjectMissing, UnknownJob
from shared.job.keys import report_key
from shared.job.spec import TERMINAL_STATES, JobState
from shared.jobstore.events import Events
from shared.jobstore.values import JobStatus
from shared.models import registry as models
from shared.settings import ServiceSettings, without_services
from shared.streams import printable

DATA: Final = ".rmbg"
"""Folder below OUT_DIR: data of the embedded servers, deleted when the job has ended."""
FOLLOW_S: Final = 0.5
MEASURED_IMAGES: Final = 100
"""Least images of a run for which the worker measures its batch size, if it is not known: that
takes as long as nine images, and saves at most 8 % of the time."""
NAMED: Final = 5
"""Most files that a warning names; it counts all of them."""


def run(sources: Sequence[Path], out: Path, options: JobOptions, env: Mapping[str, str]) -> int:
    """Remove the background of the images in a folder, or of files; return the exit code.

    The same call resumes an interrupted run.

    Raises:
        NoKeys: If there is no image in the folder.
        ConfigError: If an option is invalid; nothing is fetched or made.
        InvalidOption: If another run uses *out*, if its disk is full, if a file there cannot be
            written, or if the embedded servers are not installed.
        WeightsInvalid: If the model's weights cannot be downloaded.
        ServiceUnavailable: If the job cannot go on; the same call resumes it.
    """
    folder = select(sources, without=out)
    _warn("skipped", folder.skipped)
    if not folder.keys:
        raise NoKeys(f"no image found in {sources[0]} ({folder.others.describe()})")
    env = without_services(env)
    plan(Services(ServiceSettings.from_env(env)), options)  # before anything is made or fetched
    out.mkdir(parents=True, exist_ok=True)
    space = Space(out, [out / DATA / name for name in SERVER_LOGS])
    space.check()
    is_new = not (out / DATA).exists()
    with space.explained(), ExitStack() as running:
        servers = EmbeddedServers(out / DATA)
        running.callback(servers.stop)
        servers.spawn()
        env |= servers.settings()
        worker_env = _worker_env(env, len(folder.keys))

        @cache
        def worker() -> WorkerProcess:
            started = WorkerProcess(worker_env, options.rem_mode, out / DATA / "worker.log")
            running.callback(started.close)
            return started

        if is_new:  # otherwise it would begin with jobs of earlier runs, which may be cancelled
            worker()
        services = Services(ServiceSettings.from_env(env))
        if not env.get("RMBG_WEIGHTS"):
            fetch_if_missing(models.get(options.rem_mode), services.settings)
        servers.wait_ready()
        code = _Run(services, folder, out, options, space).finish(worker)
        servers.discard()
    shutil.rmtree(out / DATA)
    return code


def _worker_env(env: Mapping[str, str], images: int) -> dict[str, str]:
    """Return the environment of the worker, which starts while the servers do."""
    measure = {} if images >= MEASURED_IMAGES else {"RMBG_MEASURE": "0"}
    return {**measure, **env, "RMBG_CHECK_SERVICES": "0"}


class _Run:
    """One job over one folder, with running servers."""

    def __init__(
        self, services: Services, folder: Folder, out: Path, options: JobOptions, space: Space
    ) -> None:
        self._services = services
        self._folder = folder
        self._space = space
        self._options = options
        self._out = out

    def finish(self, start_worker: Callable[[], WorkerProcess]) -> int:
        """Submit or join the job, wait for it, download all results; return the exit code.

        Args:
            start_worker: Starts the worker, or returns the one that runs.
        """
        services, folder = self._services, self._folder
        click.echo(
            f"{count(len(folder.keys), 'image')} ({folder.others.describe('ignored')}), "
            f"{self._options.rem_mode}",
            err=True,
        )
        uploaded = upload(folder, services.objects, services.settings.input_buckets[0])
        _warn("unreadable, will fail", uploaded.unread)
        job_id = self._submit(uploaded.digest)
        collector = self._collector(job_id)
        worker = start_worker()
        status = self._watch(job_id, collector, worker.keep_alive)
        worker.discard()
        collector.results(records(services, job_id))
        if status.ended_without is not None:
            click.echo(f"rmbg: warning: ended without {status.ended_without}", err=True)
        if status.state is JobState.DONE:
            with suppress(ObjectMissing):  # the warning above says why
                collector.download(report_key(job_id), "report.html")
        return exit_code(status)

    def _collector(self, job_id: str) -> Collector:
        spec = self._services.jobs.queries.spec(job_id)
        return Collector(self._services.objects, self._out, spec, job_id)

    def _submit(self, digest: str) -> str:
        """Submit the job over the images of *digest*, or join it; return its id.

        Unfinished jobs of earlier runs with other images or options are cancelled: they would be
        processed first, and nobody waits for them.
        """
        spec = plan(self._services, self._options)
        identity = f"{digest}\0{spec.model_copy(update={'date': '', 'version': ''}).to_json()}"
        name = f"run-{hashlib.sha256(identity.encode()).hexdigest()[:16]}"
        numbered = (f"{name}-{number}" for number in itertools.count(1))
        job_id = self._options.job_id or next(n for n in numbered if not self._is_cancelled(n))
        source = KeySource(self._folder.keys)
        files = self._options.outputs.files
        job_id = submit(self._services, source, spec, job_id=job_id, files=files).job_id
        jobs = self._services.jobs
        for other in jobs.queries.jobs():
            if other.job_id != job_id and other.state not in TERMINAL_STATES:
                jobs.submissions.cancel(other.job_id)
        return job_id

    def _is_cancelled(self, job_id: str) -> bool:
        """Return whether a job was cancelled; until it has ended, its state is `finishing`."""
        try:
            status = self._services.jobs.queries.status(job_id)
        except UnknownJob:
            return False
        return status.state is JobState.CANCELLED or (
            status.state is JobState.FINISHING and status.done + status.failed != status.total
        )

    def _watch(
        self, job_id: str, collector: Collector, keep_alive: Callable[[int], None]
    ) -> JobStatus:
        """Show the job's progress and download its images until it has ended.

        Args:
            job_id: The job.
            collector: Downloads them.
            keep_alive: Called twice a second with the number of items that have ended.

        Raises:
            InvalidOption: If an image cannot be written, or the disk is full; at once, not when
                the job has ended.
        """
        ended, events = threading.Event(), Events(self._services.jobs.connection)
        with ThreadPoolExecutor(1) as pool:
            fetched = pool.submit(self._collect, job_id, collector, ended)

            def poll() -> JobStatus:
                self._space.check()
                collector.check()
                if fetched.done():
                    fetched.result()
                status = self._services.jobs.queries.status(job_id)
                keep_alive(status.done + status.failed)
                return status

            try:
                screen = screen_for(sys.stderr, model=self._options.rem_mode)
                status = watch(poll, screen, resume="repeat the command", sleep=events.wait)
            finally:
                ended.set()
            fetched.result()
        return status

    def _collect(self, job_id: str, collector: Collector, ended: threading.Event) -> None:
        """Download images as they are finished, until the job or this run has ended."""

        def pause() -> bool:
            return ended.wait(FOLLOW_S) and not has_ended(self._services, job_id)

        collector.images(follow(self._services, job_id, pause=pause))


def _warn(what: str, files: Sequence[str]) -> None:
    """Print a warning that names the first of *files*, if there are any."""
    if files:
        rest = ", ..." if len(files) > NAMED else ""
        named = ", ".join(map(printable, files[:NAMED]))
        click.echo(f"rmbg: warning: {len(files)} {what}: {named}{rest}", err=True)
