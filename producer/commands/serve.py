"""`rmbg serve`: the whole system on one machine, for programs that speak HTTP."""

from pathlib import Path
from typing import Final

import click

from shared.errors import InvalidOption

DEFAULT_DIR: Final = "rmbg-data"
DEFAULT_MODEL: Final = "isnet-general-use"


@click.command
@click.argument(
    "folder",
    metavar="[DIR]",
    default=DEFAULT_DIR,
    type=click.Path(path_type=Path, file_okay=False),
)
@click.option(
    "--port",
    type=click.IntRange(0, 65_535),
    default=8080,
    show_default=True,
    help="Port of the HTTP API on this machine; 0 lets the system choose one.",
)
@click.option(
    "--key-file",
    metavar="FILE",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Also write the API key to FILE, which only you can read.",
)
@click.option(
    "--rem-mode",
    metavar="MODEL",
    default=DEFAULT_MODEL,
    show_default=True,
    help="Model of requests that name none.",
)
@click.pass_context
def serve(ctx: click.Context, folder: Path, port: int, key_file: Path | None, rem_mode: str) -> int:
    """Serve the HTTP API on this machine, with Redis, S3 and a worker.

    Prints the address and an API key. DIR (default: rmbg-data) holds jobs, images and the key; a
    later start uses them again. Ctrl-C stops everything.
    """
    try:
        from producer.gateway.local import serve_locally  # noqa: PLC0415 - needs the extra
    except ModuleNotFoundError as err:
        raise InvalidOption(
            f"{err.name} is not installed; run: pip install 'rmbg-queue[worker,gateway,local]'"
        ) from err
    serve_locally(folder, ctx.obj, port=port, key_file=key_file, model=rem_mode)
    return 0
