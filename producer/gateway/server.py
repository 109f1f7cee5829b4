"""Serve the API and the probes until the process is asked to leave."""

import logging
import socket
import threading
from functools import partial
from typing import Final

import uvicorn
from starlette.types import ASGIApp

from producer.gateway.app import build_app
from producer.gateway.context import Gateway
from producer.gateway.probes import Metrics, probes
from producer.gateway.settings import GatewaySettings
from producer.services import Services
from shared.errors import InvalidOption

logger = logging.getLogger(__name__)

_BACKLOG: Final = 2048
"""Connections that wait to be accepted."""
_IDLE_S: Final = 75
"""How long an idle connection is kept, in seconds: longer than the balancers that reuse it."""
_LEAVE_S: Final = 25
"""Longest wait for requests in progress when the process is asked to leave, in seconds."""


def serve(settings: GatewaySettings) -> None:
    """Serve until SIGTERM or SIGINT; requests in progress are finished.

    Raises:
        InvalidOption: If an address cannot be bound.
        RedisUnavailable: If Redis does not answer at the start.
    """
    services, metrics = Services(settings.services), Metrics()
    services.jobs.ping()
    app = build_app(Gateway.of(settings, services), metrics)
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
