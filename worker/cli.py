"""Command `rmbg-worker`: process tickets, or check that this machine can."""

import os
import signal
import sys
from collections.abc import Callable
from functools import partial
from typing import NoReturn

import click

from shared import logging as log
from shared import streams
from shared.completion import QuietCompletion
from shared.errors import ConfigError, RmbgError
from worker.runtime.malloc import keep_memory

CONFIG_EXIT = 2
"""Exit code for invalid settings or options; a restart does not help."""
INTERRUPTED_EXIT = 130
"""Exit code after Ctrl-C, while no handler is installed."""
LEAVE_SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
"""Signals that ask a worker to leave."""


class _Worker(QuietCompletion, click.Group):
    """The command; its one subcommand is for `rmbg`."""


@click.group(
    cls=_Worker,
    context_settings={"help_option_names": ["-h", "--help"]},
    invoke_without_command=True,
)
@click.option("--check", is_flag=True, help="Process one generated image and exit.")
@click.option(
    "--devices",
    type=click.Choice(["all"]),
    help="Start and supervise processes for each GPU; see --per-device.",
)
@click.option(
    "--per-device",
    type=click.IntRange(1, 8),
    help="With --devices all: processes of each GPU, 1 by default (RMBG_PER_DEVICE).",
)
@click.option("--probe", is_flag=True, help="Check that the worker at RMBG_HTTP is ready.")
@click.version_option(package_name="rmbg-queue")
@click.pass_context
def main(
    ctx: click.Context,
    /,
    *,
    check: bool,
    devices: str | None,
    per_device: int | None,
    probe: bool,
) -> None:
    """Process tickets from Redis: compute cutouts and masks and write them to the bucket.

    Settings come from RMBG_* variables; see docs/operations.md.
    """
    if per_device is not None and devices is None:
        raise click.UsageError("--per-device needs --devices all")
    if ctx.invoked_subcommand is None:
        run = partial(_run, check=check, devices=devices, per_device=per_device)
        _exit_with(lambda: _probe() if probe else run())


@main.command(hidden=True)
@click.argument("name")
@click.argument("request_fd", type=int)
def tool(name: str, request_fd: int) -> None:
    """Run a tool that `rmbg` asks for: NAME, and the open file that holds the request."""

    def run() -> int:
        from worker.tools import run_tool  # noqa: PLC0415 - imports the image libraries

        return run_tool(name, request_fd, os.environ)

    _exit_with(run, program="rmbg")


def _exit_with(run: Callable[[], int], *, program: str = "rmbg-worker") -> NoReturn:
    """Exit with the code that *run* returns, or with that of the error it raises.

    Args:
        run: What the process is for.
        program: The command that the user has called, for messages.
    """
    try:
        streams.prepare()
        log.configure(sys.stderr)
        sys.exit(run())
    except ModuleNotFoundError as err:
        _fail(program, f"{err}: pip install 'rmbg-queue[worker]'", CONFIG_EXIT)
    except RmbgError as err:
        _fail(program, str(err), CONFIG_EXIT if isinstance(err, ConfigError) else 1)
    except OSError as err:
        if err.filename is None:
            _fail_unforeseen(program, err)
        _fail(program, f"{err.filename}: {err.strerror}", CONFIG_EXIT)
    except KeyboardInterrupt:
        _fail(program, "interrupted", INTERRUPTED_EXIT)
    except Exception as err:  # noqa: BLE001 - the outermost handler: nothing escapes from here
        _fail_unforeseen(program, err)


def _fail(program: str, text: str, code: int) -> NoReturn:
    click.echo(f"{program}: {text}", err=True)
    sys.exit(code)


def _fail_unforeseen(program: str, err: Exception) -> NoReturn:
    from shared import incident  # noqa: PLC0415 - `--probe` runs often, and needs it hardly ever

    _fail(program, incident.record(err), incident.EXIT_UNFORESEEN)


def _probe() -> int:
    from worker.monitoring.probe import probe  # noqa: PLC0415 - only this needs an HTTP client

    is_ready, message = probe(os.environ)
    click.echo(message, err=not is_ready)
    return 0 if is_ready else 1


def _run(*, check: bool, devices: str | None, per_device: int | None) -> int:
    keep_memory(os.environ)
    given = {} if per_device is None else {"RMBG_PER_DEVICE": str(per_device)}
    env = {**os.environ, **given}
    # Imported here because torch takes seconds to import, and `--help` does not need it.
    from worker.settings import WorkerSettings  # noqa: PLC0415

    settings = WorkerSettings.from_env(env)
    if check:
        from worker.self_check import check as run_check  # noqa: PLC0415

        return run_check(settings)
    if devices == "all":
        from worker.runtime.supervisor import supervise  # noqa: PLC0415

        return supervise(settings, env)
    # Without a handler, PID 1 of a container ignores SIGTERM while models load; Celery installs
    # its own handlers later.
    for number in LEAVE_SIGNALS:
        if signal.getsignal(number) is not signal.SIG_IGN:  # as under nohup
            signal.signal(number, lambda *_: sys.exit(0))
    from worker.app import build_app  # noqa: PLC0415

    return build_app(settings).run()
