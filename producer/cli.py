"""The command `rmbg`: import the subcommand, run it, turn errors into exit codes."""

import importlib
import os
import signal
import sys
import threading
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Final, NoReturn

import click

from shared import streams
from shared.completion import QuietCompletion
from shared.errors import ConfigError, RmbgError, ServiceUnavailable

EXIT_USAGE: Final = 2
EXIT_UNAVAILABLE: Final = 3
EXIT_INTERRUPTED: Final = 130

_COMMANDS: Final = {
    "run": (
        "producer.commands.run:run",
        "Process a folder of images, or some files, on this machine.",
    ),
    "serve": (
        "producer.commands.serve:serve",
        "Serve the HTTP API on this machine, with Redis, S3 and a worker.",
    ),
    "remove": (
        "producer.commands.remove:remove",
        "Remove the background of one image, or of a few, without servers.",
    ),
    "submit": ("producer.commands.submit:submit", "Create a job from image keys and print its ID."),
    "status": ("producer.commands.status:status", "Show a job's status."),
    "watch": ("producer.commands.status:watch", "Show live progress until a job ends."),
    "jobs": ("producer.commands.status:jobs", "List all jobs in Redis, newest first."),
    "results": (
        "producer.commands.records:results",
        "Print a job's records as JSON lines, one per image.",
    ),
    "download": (
        "producer.commands.download:download",
        "Download a job's outputs to a folder; repeat it to go on after an interruption.",
    ),
    "failures": (
        "producer.commands.records:failures",
        "List a job's failed images and the reasons.",
    ),
    "cancel": ("producer.commands.control:cancel", "Cancel a job."),
    "retry": ("producer.commands.control:retry", "Retry the failed images of a finished job."),
    "rerender": (
        "producer.commands.rerender:rerender",
        "Make new outputs for the images of a finished job, without the network.",
    ),
    "verify": (
        "producer.commands.verify:verify",
        "Check that every output of a job exists and is intact.",
    ),
    "preview": (
        "producer.commands.tools:preview",
        "Show one local image and its outputs side by side.",
    ),
    "check": (
        "producer.commands.tools:check",
        "Check finished images against the rules of a marketplace.",
    ),
    "models": (
        "producer.commands.models:models",
        "List the models, with licences and what is on this machine.",
    ),
    "presets": (
        "producer.commands.recipes:list_presets",
        "List the presets for marketplaces, with the sources of their figures.",
    ),
    "recipes": (
        "producer.commands.recipes:recipes",
        "Check recipe files, and print the schema of a recipe.",
    ),
    "keys": (
        "producer.commands.keys:keys",
        "Create, list, rotate and revoke API keys of the gateway.",
    ),
    "webhooks": (
        "producer.commands.webhooks:webhooks",
        "List webhooks that were not delivered, and send them again.",
    ),
    "weights": (
        "producer.commands.weights:weights",
        "Download, verify and list model weights.",
    ),
    "doctor": (
        "producer.commands.doctor:doctor",
        "Check Redis, S3 and workers, and explain how to fix what is wrong.",
    ),
}
"""Each command's location and summary: `rmbg --help` shows the summaries without an import."""


class Commands(QuietCompletion, click.Group):
    """A command group that imports a command only when it is used."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click's signature
        """Return the command names in the order of the help text."""
        return list(_COMMANDS)

    def get_command(
        self,
        ctx: click.Context,  # noqa: ARG002 - click's signature
        cmd_name: str,
    ) -> click.Command | None:
        """Import and return a command, or return None if it does not exist."""
        if cmd_name not in _COMMANDS:
            return None
        module, _, name = _COMMANDS[cmd_name][0].partition(":")
        command: click.Command = getattr(importlib.import_module(module), name)
        return command

    def format_commands(
        self,
        ctx: click.Context,  # noqa: ARG002 - click's signature
        formatter: click.HelpFormatter,
    ) -> None:
        """Write the list of commands without importing them."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, text) for name, (_, text) in _COMMANDS.items()])

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find the command; the error for an unknown name lists the available commands."""
        if args and args[0] not in _COMMANDS and not args[0].startswith("-"):
            ctx.fail(f"unknown command {args[0]!r}; commands: {', '.join(_COMMANDS)}")
        return super().resolve_command(ctx, args)


@click.group("rmbg", cls=Commands)
@click.version_option(package_name="rmbg-queue", prog_name="rmbg")
def rmbg() -> None:
    """Remove the backgrounds of whole image catalogues.

    Exit codes: 0 success; 1 some images failed, or verify found faults; 2 invalid usage or
    configuration, unknown job, or a file that cannot be read or written; 3 a service is
    unavailable; 70 unforeseen error, reported in one line that names an incident and the file
    with its traceback; 130 interrupted.
    """


def main() -> NoReturn:
    """Run `rmbg` with the arguments and environment of this process, and exit."""
    streams.prepare()
    threading.excepthook = _thread_failed
    code = call(sys.argv[1:], os.environ)
    # From here on Ctrl-C ends the process at once, instead of with a traceback of Python's exit.
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    failed = streams.release()
    sys.exit(EXIT_USAGE if failed and code == 0 else code)


def call(args: Sequence[str], env: Mapping[str, str]) -> int:
    """Run one command and return its exit code; print errors to standard error."""
    try:
        code = rmbg.main(list(args), prog_name="rmbg", obj=env, standalone_mode=False)
    except click.ClickException as err:
        return _fail(_usage(err), EXIT_USAGE)
    except RmbgError as err:
        return _fail(str(err), _exit_code(err))
    except OSError as err:
        return _fail(_os_error(err), _exit_code(err))
    except SystemExit:
        # Click exits like this when the reader of our output, such as `head`, closed the pipe.
        code = 0
    except BaseException as err:  # noqa: BLE001 - the outermost handler
        return _unforeseen(err)
    return code if isinstance(code, int) else 0


def _exit_code(err: RmbgError | OSError) -> int:
    if isinstance(err, (ServiceUnavailable, ConnectionError, TimeoutError)):
        return EXIT_UNAVAILABLE
    return EXIT_USAGE if isinstance(err, (ConfigError, OSError)) else 1


def _thread_failed(thread: threading.ExceptHookArgs) -> None:
    if thread.exc_value is not None:
        _unforeseen(thread.exc_value)


def _unforeseen(err: BaseException) -> int:
    """Report an interruption, or an error that nothing else handles."""
    cause = err.__cause__ if isinstance(err, click.Abort) else None
    if isinstance(err, (click.Abort, KeyboardInterrupt)) and not isinstance(cause, EOFError):
        return _fail("interrupted", EXIT_INTERRUPTED)
    from shared import incident  # noqa: PLC0415 - needed in no other case

    return _fail(incident.record(cause or err), incident.EXIT_UNFORESEEN)


def _fail(text: str, code: int) -> int:
    first, *rest = text.splitlines() or [""]
    if len(rest) == 1:  # a heading with one problem
        text = f"{first} {rest[0]}"
    with suppress(OSError):  # the exit code still says what happened
        click.echo(f"rmbg: {text}", err=True)
    return code


def _os_error(err: OSError) -> str:
    reason = err.strerror or str(err) or type(err).__name__
    if err.filename is None:
        return reason
    name = os.fsdecode(err.filename) if isinstance(err.filename, bytes) else str(err.filename)
    return f"{streams.printable(name)}: {reason}"


def _usage(err: click.ClickException) -> str:
    """Return the message in one line; for an unknown option, list the available options."""
    text = err.format_message()
    if isinstance(err, click.NoSuchOption) and err.ctx is not None:
        known = (name for param in err.ctx.command.params for name in param.opts)
        text += f" Options: {', '.join(name for name in known if name.startswith('--'))}"
    where = err.ctx.command_path if isinstance(err, click.UsageError) and err.ctx else "rmbg"
    return f"{text} (see {where} --help)"
