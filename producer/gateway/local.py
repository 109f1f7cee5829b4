"""`rmbg serve`: the whole system on one machine, with the HTTP API."""

import os
import secrets
import signal
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import click

from producer.gateway.server import GatewayServer
from producer.gateway.settings import GatewaySettings
from producer.local.servers import EmbeddedServers
from producer.local.weights import fetch_if_missing
from producer.local.worker_process import WorkerProcess
from producer.services import Services
from producer.submission.options import JobOptions
from shared.access import ApiKey, digest, name_in, new_text
from shared.errors import RmbgError
from shared.logging import configure
from shared.models import registry as models
from shared.settings import ServiceSettings, without_services

KEY_NAME: Final = "local"
KEY_FILE: Final = "api-key"
"""File in the data folder that holds the API key."""
WEBHOOK_FILE: Final = "webhook-secret"
"""File in the data folder that holds what secrets of webhooks are derived from."""
_WEBHOOK_SECRETS: Final = "RMBG_GATEWAY_WEBHOOK_SECRETS"
INPUT_BUCKET: Final = "inbox"
_REQUESTS_PER_MINUTE: Final = 60_000
_KEEP_ALIVE_S: Final = 1.0
_RESTARTS_S: Final = 600.0
"""A worker that exits more often than `worker_process.MAX_STARTS` times in this time is given up,
in seconds."""


def serve_locally(
    folder: Path, env: Mapping[str, str], *, port: int, key_file: Path | None, model: str
) -> None:
    """Serve until SIGTERM or Ctrl-C; then stop gateway, worker and servers in order.

    Args:
        folder: Data of the servers, and the API key; a later start uses them again.
        env: The environment; variables that name services are ignored.
        port: Port of the API on loopback; 0 lets the system choose one.
        key_file: Where to write the API key too; None: only in *folder*.
        model: Model of requests that name none.

    Raises:
        KeyboardInterrupt: At Ctrl-C, when all have stopped.
        InvalidOption: If another process uses *folder* or the port, or a part is not installed.
        LicenceRefused: If *model* is for non-commercial use and `RMBG_COMMERCIAL` is set.
        WeightsInvalid: If the model's weights cannot be downloaded.
        ServiceUnavailable: If a server does not start, or the worker exits again and again.
    """
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    configure(sys.stderr)
    env = {"RMBG_GATEWAY_PROBES_PORT": "0"} | without_services(env)
    _check_model(model, ServiceSettings.from_env(env))
    if not env.get("RMBG_WEIGHTS"):
        fetch_if_missing(models.get(model), ServiceSettings.from_env(env))
    folder.mkdir(parents=True, exist_ok=True)
    with EmbeddedServers(folder) as servers:
        env |= servers.settings() | {
            "RMBG_GATEWAY_HOST": "127.0.0.1",
            "RMBG_GATEWAY_PORT": str(port),
            "RMBG_GATEWAY_MODEL": model,
            "RMBG_GATEWAY_UPLOAD_BUCKET": INPUT_BUCKET,
        }
        env = {_WEBHOOK_SECRETS: webhook_secret(folder / WEBHOOK_FILE)} | env
        settings = GatewaySettings.from_env(env)
        services = Services(settings.services)
        server = GatewayServer(settings, services, port_name="--port")
        key = local_key(services, [folder / KEY_FILE, *([key_file] if key_file else [])])
        with (
            closing(WorkerProcess(env, model, folder / "worker.log")) as worker,
            _kept_alive(worker, server),
        ):
            click.echo(f"address: {server.address}\nAPI key: {key}\ndata:    {folder}")
            server.run()


def local_key(services: Services, files: list[Path]) -> str:
    """Return the API key that the first of *files* holds, and write it to all of them.

    Creates the key if the file is missing, or Redis does not know its key. It may do everything
    with the whole input bucket. The files are readable by their owner only.
    """
    first = files[0]
    text = first.read_text().strip() if first.exists() else ""
    name = name_in(text)
    known = services.jobs.api_keys.find(name) if name else None
    if known is None or not known.matches(text):
        text = new_text(KEY_NAME)
        services.jobs.api_keys.put(
            ApiKey(
                name=KEY_NAME,
                tenant=KEY_NAME,
                sha256=digest(text),
                bucket=INPUT_BUCKET,
                rate_per_minute=_REQUESTS_PER_MINUTE,
                created_at=datetime.now(UTC),
            )
        )
        services.persist()
    for path in files:
        _write_secret(path, text)
    return text


def webhook_secret(path: Path) -> str:
    """Return the secret for webhooks that *path* holds; create it there if it holds none.

    The file is readable by its owner only.
    """
    text = path.read_text().strip() if path.exists() else ""
    if not text:
        text = secrets.token_urlsafe(32)
        _write_secret(path, text)
    return text


def _write_secret(path: Path, text: str) -> None:
    with os.fdopen(os.open(path, os.O_CREAT | os.O_WRONLY, 0o600), "w") as file:
        os.fchmod(file.fileno(), 0o600)  # the file may have been there
        file.write(f"{text}\n")
        file.truncate()


def _check_model(model: str, settings: ServiceSettings) -> None:
    """Raise an error if no job could name *model*."""
    JobOptions(rem_mode=model).to_spec(
        INPUT_BUCKET,
        settings.output_bucket,
        now=datetime.now().astimezone(),
        commercial=settings.commercial,
    )


@contextmanager
def _kept_alive(worker: WorkerProcess, server: GatewayServer) -> Iterator[None]:
    """Restart the worker when it dies, until the block ends.

    Raises:
        InvalidOption: If the worker cannot use its settings; stops the server.
        ServiceUnavailable: If it exits again and again; stops the server.
    """
    is_leaving = threading.Event()

    def watch() -> None:
        while not is_leaving.wait(_KEEP_ALIVE_S):
            try:
                worker.keep_alive(int(time.monotonic() // _RESTARTS_S))
            except RmbgError:
                server.stop()
                raise

    with ThreadPoolExecutor(1, thread_name_prefix="worker") as pool:
        watched = pool.submit(watch)
        try:
            yield
        finally:
            is_leaving.set()
        watched.result()
