"""Serve the API and the probes until the process is asked to leave."""

import logging
import socket
import threading
from collections.abc import Callable
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


class GatewayServer:
    """The API and the probes of one gateway: bound by the constructor, served by `run`."""

    def __init__(
        self, settings: GatewaySettings, services: Services, *, port_name: str = "RMBG_GATEWAY_PORT"
    ) -> None:
        """Bind the addresses; requests wait until `run`.

        Args:
            settings: Settings of the gateway.
            services: Its services.
            port_name: Where the user chose the port, for the error.

        Raises:
            InvalidOption: If an address cannot be bound.
            RedisUnavailable: If Redis does not answer.
        """
        services.jobs.ping()
        metrics = Metrics()
        self._own = _listen(port_name, settings.host, settings.port)
        self._beside = _listen("RMBG_GATEWAY_PROBES_PORT", settings.host, settings.probes_port)
        gateway = Gateway.of(settings, services)
        self._server = _Server(build_app(gateway, metrics), before_end=gateway.streams.leave)
        self._probes = _Server(probes(services, metrics))
        self._host = settings.host

    @property
    def address(self) -> str:
        """The URL of the API."""
        host = f"[{self._host}]" if ":" in self._host else self._host
        return f"http://{host}:{self._own.getsockname()[1]}"

    def run(self) -> None:
        """Serve until SIGTERM, SIGINT or `stop`; requests in progress are finished."""
        serve_probes = partial(self._probes.run, sockets=[self._beside])
        threading.Thread(target=serve_probes, name="probes", daemon=True).start()
        logger.info("serving", extra={"address": self.address})
        self._server.run(sockets=[self._own])

    def stop(self) -> None:
        """Let `run` return; from any thread."""
        self._server.should_exit = True


def serve(settings: GatewaySettings) -> None:
    """Serve until SIGTERM or SIGINT; requests in progress are finished.

    Raises:
        InvalidOption: If an address cannot be bound.
        RedisUnavailable: If Redis does not answer at the start.
    """
    GatewayServer(settings, Services(settings.services)).run()


def _listen(name: str, host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family, backlog=_BACKLOG)
    except OSError as err:
        raise InvalidOption(
            f"{name}: {host}:{port} cannot be bound: {err.strerror or err}; choose "
            "another port, or another RMBG_GATEWAY_HOST"
        ) from err


class _Server(uvicorn.Server):
    """Serves one application."""

    def __init__(self, app: ASGIApp, before_end: Callable[[], None] = lambda: None) -> None:
        super().__init__(
            uvicorn.Config(
                app,
                log_config=None,
                access_log=False,  # its lines would hold the queries of requests
                server_header=False,
                timeout_keep_alive=_IDLE_S,
                timeout_graceful_shutdown=_LEAVE_S,
            )
        )
        self._before_end = before_end

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Finish the requests in progress, but for streams, which would never end."""
        self._before_end()
        await super().shutdown(sockets)
