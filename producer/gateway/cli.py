"""The command `rmbg-gateway`: serve the HTTP API until the process is asked to leave."""

import os
import sys
from collections.abc import Mapping
from typing import Final, NoReturn

import click

from producer.gateway.settings import GatewaySettings
from shared import incident, streams
from shared.errors import ConfigError, InvalidOption, RmbgError, ServiceUnavailable
from shared.logging import configure

EXIT_USAGE: Final = 2
EXIT_UNAVAILABLE: Final = 3


@click.command("rmbg-gateway")
@click.version_option(package_name="rmbg-queue", prog_name="rmbg-gateway")
@click.pass_context
def gateway(ctx: click.Context) -> None:
    """Serve jobs, records and files over HTTP.

    Settings are read from RMBG_* and RMBG_GATEWAY_*; see docs/http.md. API keys are created with
    `rmbg keys create`.
    """
    configure(sys.stderr)
    settings = GatewaySettings.from_env(ctx.obj)
    try:
        from producer.gateway.server import serve  # noqa: PLC0415 - needs the extra
    except ModuleNotFoundError as err:
        raise InvalidOption(
            f"{err.name} is not installed; run: pip install 'rmbg-queue[gateway]'"
        ) from err
    serve(settings)


def main() -> NoReturn:
    """Run `rmbg-gateway` with the arguments and environment of this process, and exit."""
    streams.prepare()
    sys.exit(call(sys.argv[1:], os.environ))


def call(args: list[str], env: Mapping[str, str]) -> int:
    """Run the command and return its exit code; print errors to standard error."""
    try:
        gateway.main(args, prog_name="rmbg-gateway", obj=env, standalone_mode=False)
    except click.ClickException as err:
        return _fail(err.format_message(), EXIT_USAGE)
    except RmbgError as err:
        is_down = isinstance(err, ServiceUnavailable)
        code = EXIT_UNAVAILABLE if is_down else EXIT_USAGE if isinstance(err, ConfigError) else 1
        return _fail(str(err), code)
    except KeyboardInterrupt:
        return 130
    except Exception as err:  # noqa: BLE001 - the outermost handler
        return _fail(incident.record(err), incident.EXIT_UNFORESEEN)
    return 0


def _fail(text: str, code: int) -> int:
    click.echo(f"rmbg-gateway: {text}", err=True)
    return code
