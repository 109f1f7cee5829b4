"""`rmbg remove`: cutouts of a few local images, without servers and without a queue."""

import os
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import click

from shared.errors import InvalidOption
from shared.files import write_whole
from shared.job.record import ItemRecord
from shared.job.spec import JobSpec
from shared.job.written import localised
from shared.streams import printable
from shared.tool_requests import STREAM, RemoveRequest, unquoted
from worker.inference import Loader
from worker.settings import WorkerSettings
from worker.tools.local_run import LocalImage, LocalResult, run_locally

RECORDS: Final = "results.jsonl"
_JOB: Final = "remove"


def remove_background(request: bytes, env: Mapping[str, str]) -> int:
    """Write the outputs of the images; return 1 if one of them failed.

    Raises:
        ConfigError: If an image that was named cannot be read, an output cannot be written, or the
            weights cannot be used.
    """
    asked = RemoveRequest.model_validate_json(request)
    settings = WorkerSettings.from_env(
        {**env, "RMBG_MODELS": asked.spec.rem_mode, "RMBG_MEASURE": "0"}
    )
    images = [
        LocalImage(key, _Reader(unquoted(each.path), is_named=each.is_named))
        for each in asked.images
        for key in [unquoted(each.key)]
    ]
    model = Loader(settings, warm_up=False).load(asked.spec.rem_mode)
    results = run_locally(
        images, asked.spec, job_id=_JOB, model=model, settings=settings, assets=asked.assets
    )
    records = list(_written(results, asked))
    records.sort(key=lambda record: record.index)
    if asked.records:
        _write_records(Path(unquoted(asked.records)), asked.spec, records)
    failed = sum(record.state == "failed" for record in records)
    if len(records) > 1:
        click.echo(f"{len(records)} images{f', {failed} failed' if failed else ''}", err=True)
    return int(failed > 0)


@dataclass(frozen=True)
class _Reader:
    """Reads the file of an image, or standard input."""

    path: str
    is_named: bool
    """Whether the user named this file, so that it is an error if it cannot be read."""

    def __call__(self) -> bytes | None:
        try:
            return sys.stdin.buffer.read() if self.path == STREAM else Path(self.path).read_bytes()
        except OSError as err:
            text = f"cannot read {printable(self.path)}: {err.strerror}"
            if self.is_named:
                raise InvalidOption(text) from err
            click.echo(f"rmbg: warning: {text}", err=True)
            return None


def _written(results: Iterable[LocalResult], asked: RemoveRequest) -> Iterable[ItemRecord]:
    """Write the outputs of each result, and yield its record."""
    for result in results:
        _tell(result.record)
        for written, data in result.outputs:
            if asked.folder:
                write_whole(Path(unquoted(asked.folder)) / written.path, [data])
            elif asked.file == STREAM:
                _write_stdout(data)
            else:
                write_whole(Path(unquoted(asked.file)), [data])
        yield result.record


def _tell(record: ItemRecord) -> None:
    """Say what is wrong with an image, if anything is."""
    name = printable(record.image_key)
    if record.error:
        click.echo(f"rmbg: {name}: {record.error['class']}: {record.error['reason']}", err=True)
    elif record.verdict not in ("ok", None):
        reasons = (record.qc or {}).get("reasons")
        click.echo(f"rmbg: {name}: {record.verdict}: {reasons}", err=True)


def _write_records(path: Path, spec: JobSpec, records: Iterable[ItemRecord]) -> None:
    write_whole(path, (f"{localised(spec, _JOB, each).to_json()}\n".encode() for each in records))


def _write_stdout(data: bytes) -> None:
    """Write *data* to standard output, past Python's buffer, which would fail again at exit."""
    sys.stdout.flush()
    left = memoryview(data)
    try:
        while left:
            left = left[os.write(sys.stdout.fileno(), left) :]
    except OSError as err:
        raise InvalidOption(f"cannot write to standard output: {err.strerror}") from err
