"""The command `rmbg`: import the subcommand, run it, turn errors into exit codes."""

import importlib
import os
import sys
from collections.abc import Mapping, Sequence
from typing import Final, NoReturn

import click

from shared.errors import ConfigError, RmbgError, ServiceUnavailable

EXIT_USAGE: Final = 2
EXIT_UNAVAILABLE: Final = 3
EXIT_INTERRUPTED: Final = 130

_COMMANDS: Final = {
    "run": ("producer.commands.run:run", "Process a folder of images on this machine."),
    "submit": ("producer.commands.submit:submit", "Create a job from image keys and print its ID."),
    "status": ("producer.commands.status:status", "Show a job's status."),
    "watch": ("producer.commands.status:watch", "Show live progress until a job ends."),
    "jobs": ("producer.commands.status:jobs", "List all jobs in Redis, newest first."),
    "results": (
        "producer.commands.records:results",
        "Print a job's records as JSON lines, one per image.",
    ),
    "failures": (
        "producer.commands.records:failures",
        "List a job's failed images and the reasons.",
    ),
    "cancel": ("producer.commands.control:cancel", "Cancel a job."),
    "retry": ("producer.commands.control:retry", "Retry the failed images of a finished job."),
    "verify": (
        "producer.commands.verify:verify",
        "Check that every output of a job exists and is intact.",
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


class Commands(click.Group):
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
    unavailable; 130 interrupted.
    """


def main() -> NoReturn:
    """Run `rmbg` with the arguments and environment of this process, and exit."""
    sys.exit(call(sys.argv[1:], os.environ))


def call(args: Sequence[str], env: Mapping[str, str]) -> int:
    """Run one command and return its exit code; print errors to standard error."""
    try:
        code = rmbg.main(list(args), prog_name="rmbg", obj=env, standalone_mode=False)
    except click.ClickException as err:
        return _fail(_usage(err), EXIT_USAGE)
    except RmbgError as err:
        return _fail(str(err), _exit_code(err))
    except OSError as err:
        text = f"{err.filename}: {err.strerror}" if err.filename else str(err)
        return _fail(text, _exit_code(err))
    except (click.Abort, KeyboardInterrupt):
        return _fail("interrupted", EXIT_INTERRUPTED)
    except SystemExit:
        # Click exits like this when the reader of our output, such as `head`, closed the pipe.
        code = 0
    return code if isinstance(code, int) else 0


def _exit_code(err: RmbgError | OSError) -> int:
    if isinstance(err, (ServiceUnavailable, ConnectionError, TimeoutError)):
        return EXIT_UNAVAILABLE
    return EXIT_USAGE if isinstance(err, (ConfigError, OSError)) else 1


def _fail(text: str, code: int) -> int:
    click.echo(f"rmbg: {text}", err=True)
    return code


def _usage(err: click.ClickException) -> str:
    """Return the message in one line; for an unknown option, list the available options."""
    text = err.format_message()
    if isinstance(err, click.NoSuchOption) and err.ctx is not None:
        known = (name for param in err.ctx.command.params for name in param.opts)
        text += f" Options: {', '.join(name for name in known if name.startswith('--'))}"
    where = err.ctx.command_path if isinstance(err, click.UsageError) and err.ctx else "rmbg"
    return f"{text} (see {where} --help)"
