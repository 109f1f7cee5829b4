"""`rmbg`: finds the command, hands it the environment, turns errors into exit codes."""

from __future__ import annotations

import importlib
import os
import sys
from typing import TYPE_CHECKING, Final

import click

from shared.errors import ConfigError, RmbgError, ServiceUnavailable

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import NoReturn

EXIT_USAGE: Final = 2
EXIT_UNAVAILABLE: Final = 3
EXIT_INTERRUPTED: Final = 130

_COMMANDS: Final = {
    "run": ("producer.commands.run:run", "The whole system on this machine, SRC_DIR to OUT_DIR."),
    "submit": ("producer.commands.submit:submit", "Make a job of image keys; print its id."),
    "status": ("producer.commands.look:status", "Where a job stands."),
    "watch": ("producer.commands.look:watch", "Live progress until a job has ended."),
    "jobs": ("producer.commands.look:jobs", "All jobs that Redis knows, newest first."),
    "results": ("producer.commands.records:results", "A job's records, one JSON object a line."),
    "failures": ("producer.commands.records:failures", "A job's failed images and the reasons."),
    "cancel": ("producer.commands.steer:cancel", "Stop a job."),
    "retry": ("producer.commands.steer:retry", "Redo a done job's failed images only."),
    "verify": ("producer.commands.verify:verify", "Whether the bucket holds a job's pictures."),
    "weights": ("producer.commands.weights:weights", "Fetch, verify and list weights."),
    "doctor": ("producer.commands.doctor:doctor", "Check the services and say what to mend."),
}
"""Where each command is and what the overview says of it: `rmbg --help` imports none of them."""


class Commands(click.Group):
    """A group that imports a command when it is asked for."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click's signature
        """Return the names, in the order of the overview."""
        return list(_COMMANDS)

    def get_command(
        self,
        ctx: click.Context,  # noqa: ARG002 - click's signature
        cmd_name: str,
    ) -> click.Command | None:
        """Import and return a command, None if there is none of that name."""
        if cmd_name not in _COMMANDS:
            return None
        module, _, name = _COMMANDS[cmd_name][0].partition(":")
        command = getattr(importlib.import_module(module), name)
        assert isinstance(command, click.Command)  # noqa: S101 - the table above is wrong
        return command

    def format_commands(
        self,
        ctx: click.Context,  # noqa: ARG002 - click's signature
        formatter: click.HelpFormatter,
    ) -> None:
        """Write the overview from the table."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, text) for name, (_, text) in _COMMANDS.items()])

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find the command; a name there is none of gets the list of those there are."""
        if args and args[0] not in _COMMANDS and not args[0].startswith("-"):
            ctx.fail(f"no command {args[0]!r}; there are: {', '.join(_COMMANDS)}")
        return super().resolve_command(ctx, args)


@click.group("rmbg", cls=Commands)
@click.version_option(package_name="rmbg-queue", prog_name="rmbg")
def rmbg() -> None:
    """Background removal for whole catalogues.

    Exit codes: 0 all well; 1 some images failed; 2 usage, configuration, unknown job, or a file
    that cannot be read or written; 3 a service could not be reached; 130 interrupted.
    """


def main() -> NoReturn:
    """Run `rmbg` with this process's arguments and environment, and exit."""
    sys.exit(call(sys.argv[1:], os.environ))


def call(args: Sequence[str], env: Mapping[str, str]) -> int:
    """Run one command and return its exit code; errors are written to standard error."""
    try:
        code = rmbg.main(list(args), prog_name="rmbg", obj=env, standalone_mode=False)
    except click.ClickException as err:
        return _complain(_usage(err), EXIT_USAGE)
    except RmbgError as err:
        return _complain(str(err), _exit_code(err))
    except OSError as err:
        return _complain(_file_fault(err), _exit_code(err))
    except (click.Abort, KeyboardInterrupt):
        return _complain("interrupted", EXIT_INTERRUPTED)
    except SystemExit:
        # Click's way out when whoever read our output has had enough, as `head` does: no fault.
        code = 0
    return code if isinstance(code, int) else 0


def _exit_code(err: RmbgError | OSError) -> int:
    if isinstance(err, (ServiceUnavailable, ConnectionError, TimeoutError)):
        return EXIT_UNAVAILABLE
    return EXIT_USAGE if isinstance(err, (ConfigError, OSError)) else 1


def _file_fault(err: OSError) -> str:
    """Return what the system said and of which file, where it names one."""
    return f"{err.filename}: {err.strerror}" if err.filename else str(err)


def _complain(text: str, code: int) -> int:
    click.echo(f"rmbg: {text}", err=True)
    return code


def _usage(err: click.ClickException) -> str:
    """Return what is wrong in one line; for an unknown option, with those there are."""
    text = err.format_message()
    if isinstance(err, click.NoSuchOption) and err.ctx is not None:
        known = (name for param in err.ctx.command.params for name in param.opts)
        text += f" There are: {', '.join(name for name in known if name.startswith('--'))}"
    where = err.ctx.command_path if isinstance(err, click.UsageError) and err.ctx else "rmbg"
    return f"{text} (see {where} --help)"
