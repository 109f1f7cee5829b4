"""`rmbg remove`: one image or a few, without servers and without a queue."""

import sys
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any, Final, NoReturn

import click

from producer.commands.context import read_background
from producer.commands.job_options import image_options, read_options
from producer.commands.worker_tool import become_tool, worker_command
from producer.local.images import select
from producer.submission.assets import pinned
from producer.submission.options import JobOptions
from shared.errors import InvalidOption, NoKeys
from shared.job.output_keys import HELD, MASK
from shared.job.spec import JobSpec
from shared.models import registry as models
from shared.models.weights import locate
from shared.settings import ServiceSettings, without_services
from shared.streams import printable, was_closed
from shared.tool_requests import STREAM, RemoveImage, RemoveRequest, quoted

STDIN_KEY: Final = "stdin"
"""Key of the image that is read from standard input."""
RECORDS: Final = "results.jsonl"


@click.command
@click.argument("paths", nargs=-1, required=True, metavar="IN... [OUT]")
@image_options
@click.option("--force", is_flag=True, help="Replace files that exist.")
@click.option(
    "--records",
    metavar="FILE",
    help="Write a record of each image, as JSON lines. Default, if OUT is a folder: results.jsonl "
    "in it.",
)
@click.pass_context
def remove(
    ctx: click.Context,
    /,
    paths: tuple[str, ...],
    records: str | None,
    *,
    force: bool,
    **given: Any,  # noqa: ANN401 - click
) -> NoReturn:
    """Remove the background of one image, or of a few, without servers.

    IN is an image file, several of them, a folder, or - for standard input. OUT is a file or - for
    standard output, for one output of one image, or else a folder; without OUT, the cutout goes to
    standard output. Pixels, options and records are those of `rmbg run`, which is faster for many
    images and can be resumed.
    """
    env: Mapping[str, str] = without_services(ctx.obj)
    settings = ServiceSettings.from_env(env)
    *sources, out = paths if len(paths) > 1 else (*paths, STREAM)
    images = _images(sources, Path(out))
    is_folder = len(images) > 1 or out.endswith("/") or Path(out).is_dir()
    options = read_options(given)
    spec = _spec(options, settings)
    read = partial(read_background, ctx)
    outputs, assets = pinned(spec.outputs, options.outputs.files, read)
    spec = spec.model_copy(update={"outputs": outputs}) if assets else spec
    if not is_folder:
        spec = _for_one_file(spec, keep_mask=MASK in given["outputs"])
    target = _Target(out, records or (f"{out}/{RECORDS}" if is_folder else ""), is_folder=is_folder)
    target.check(spec, force=force)
    worker_command()  # first: weights are of no use without it
    model = models.get(spec.rem_mode)
    if not env.get("RMBG_WEIGHTS") and locate(model, settings.home) is None:
        from producer.local.weights import fetch_if_missing  # noqa: PLC0415 - imports `rich`

        fetch_if_missing(model, settings)
    become_tool(
        RemoveRequest(
            images=images,
            spec=spec,
            assets=dict(assets),
            folder=quoted(out) if is_folder else "",
            file="" if is_folder else quoted(out),
            records=quoted(target.records),
        ),
        env,
    )


def _images(sources: list[str], out: Path) -> tuple[RemoveImage, ...]:
    """Return the images of *sources*.

    Raises:
        InvalidOption: If a source does not exist, or standard input and a file are given.
        NoKeys: If there is no image in a folder.
    """
    if STREAM in sources:
        if len(sources) > 1:
            raise InvalidOption("- (standard input) and other images exclude each other")
        if sys.stdin is None or sys.stdin.closed:
            raise InvalidOption("standard input is closed")
        return (RemoveImage(key=STDIN_KEY, path=STREAM),)
    paths = [Path(source) for source in sources]
    for path in paths:
        if not path.exists():
            raise InvalidOption(f"{printable(str(path))}: no such file or folder")
    folder = select(paths, without=out)
    for skipped in folder.skipped:
        click.echo(f"rmbg: warning: skipped: {printable(skipped)}", err=True)
    if not folder.keys:
        raise NoKeys(f"no image found in {sources[0]} ({folder.others.describe()})")
    return tuple(
        RemoveImage(
            key=quoted(key), path=quoted(str(folder.path(key))), is_named=key in folder.named
        )
        for key in folder.keys
    )


def _spec(options: JobOptions, settings: ServiceSettings) -> JobSpec:
    """Return the document of a job like this, after every check of the options."""
    return options.to_spec(
        settings.input_buckets[0],
        settings.output_bucket,
        now=datetime.now().astimezone(),
        commercial=settings.commercial,
    )


def _for_one_file(spec: JobSpec, *, keep_mask: bool) -> JobSpec:
    """Return *spec* with its only output, without the mask unless that was asked for.

    Raises:
        InvalidOption: If there are several outputs.
    """
    spec = spec.model_copy(update={"has_mask": keep_mask})
    files = sum(len(each.recipe.widths) or 1 for each in spec.outputs)
    if files + spec.has_cutout + spec.has_mask != 1:
        raise InvalidOption(
            f"outputs {', '.join(spec.output_names)} do not fit into one file; name a folder as"
            " OUT, with / at its end"
        )
    return spec


@dataclass(frozen=True)
class _Target:
    """Where the outputs go."""

    out: str
    records: str
    """File of the records, or ""."""
    is_folder: bool

    def check(self, spec: JobSpec, *, force: bool) -> None:
        """Refuse what exists or cannot be written, before weights are fetched.

        Raises:
            InvalidOption: If OUT cannot be used.
        """
        if self.is_folder and self.out == STREAM:
            raise InvalidOption("several images do not fit into standard output; name a folder")
        if self.out == STREAM and sys.stdout.isatty():
            raise InvalidOption("standard output is a terminal; name a file or folder as OUT")
        if self.out == STREAM and was_closed(sys.stdout):
            raise InvalidOption("standard output is closed; name a file or folder as OUT")
        names = [*spec.output_names, HELD] if self.is_folder else [""]
        targets = [Path(self.out, name) for name in names] if self.out != STREAM else []
        for path in [*targets, *([Path(self.records)] if self.records else [])]:
            if not force and (path.exists() or path.is_symlink()):
                raise InvalidOption(f"{path} exists; remove it, or give --force to replace files")
        if self.out != STREAM:
            _check_writable(Path(self.out), is_folder=self.is_folder)
        if self.records:
            _check_writable(Path(self.records), is_folder=False)


def _check_writable(path: Path, *, is_folder: bool) -> None:
    """Create the folder of *path*, or *path* itself, and try to write there."""
    folder = path if is_folder else path.parent
    try:
        folder.mkdir(parents=True, exist_ok=True)
        probe = folder / ".rmbg.part"
        probe.touch()
        probe.unlink()
    except OSError as err:
        raise InvalidOption(f"cannot write to {folder}: {err.strerror}") from err
