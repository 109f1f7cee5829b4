"""The command `rmbg-gateway`: serve the HTTP API until the process is asked to leave."""

import logging
import os
import socket
import sys
import threading
from collections.abc import Mapping
from functools import partial
from typing import Final, NoReturn

import click
import uvicorn
from starlette.types import ASGIApp

from producer.gateway.app import build_app
from producer.gateway.context import Gateway
from producer.gateway.probes import Metrics, probes
from producer.gateway.settings import GatewaySettings
from producer.services import Services
from shared import incident, streams
from shared.errors import ConfigError, InvalidOption, RmbgError, ServiceUnavailable
from shared.logging import configure

logger = logging.getLogger(__name__)

EXIT_USAGE: Final = 2
EXIT_UNAVAILABLE: Final = 3
_BACKLOG: Final = 2048
"""Connections that wait to be accepted."""
_IDLE_S: Final = 75
"""How long an idle connection is kept, in seconds: longer than the balancers that reuse it."""
_LEAVE_S: Final = 25
"""Longest wait for requests in progress when the process is asked to leave, in seconds."""


@click.command("rmbg-gateway")
@click.version_option(package_name="rmbg-queue", prog_name="rmbg-gateway")
@click.pass_context
def gateway(ctx: click.Context) -> None:
    """Serve jobs, records and files over HTTP.

    Settings are read from RMBG_* and RMBG_GATEWAY_*; see docs/http.md. API keys are created with
    `rmbg keys create`.
    """
    configure(sys.stderr)
    serve(GatewaySettings.from_env(ctx.obj))


def serve(settings: GatewaySettings) -> None:
    """Serve until SIGTERM or SIGINT; requests in progress are finished.

    Raises:
        InvalidOption: If an address cannot be bound.
        RedisUnavailable: If Redis does not answer at the start.
    """
    services, metrics = Services(settings.services), Metrics()
    services.jobs.ping()
    app = build_app(Gateway(settings, services), metrics)
    own = _listen("PORT", settings.host, settings.port)
    beside = _listen("PROBES_PORT", settings.host, settings.probes_port)
    server = _server(probes(services, metrics))
    serve_probes = partial(server.run, sockets=[beside])
    threading.Thread(target=serve_probes, name="probes", daemon=True).start()
    logger.info("serving", extra={"host": settings.host, "port": own.getsockname()[1]})
    _server(app).run(sockets=[own])


def _listen(name: str, host: str, port: int) -> socket.socket:
    try:
        return socket.create_server((host, port), backlog=_BACKLOG)
    except OSError as err:
        raise InvalidOption(
            f"RMBG_GATEWAY_{name}: {host}:{port} cannot be bound: {err.strerror or err}; choose "
            "another port, or another RMBG_GATEWAY_HOST"
        ) from err


def _server(app: ASGIApp) -> uvicorn.Server:
    return uvicorn.Server(
        uvicorn.Config(
            app,
            log_config=None,
            access_log=False,  # its lines would hold the queries of requests
            server_header=False,
            timeout_keep_alive=_IDLE_S,
            timeout_graceful_shutdown=_LEAVE_S,
        )
    )


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
