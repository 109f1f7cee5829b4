"""A gateway process over embedded servers, for benchmarks of the HTTP API."""

from __future__ import annotations

import socket
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import httpx
import psutil

from producer.services import Services
from shared.access import ApiKey, digest, new_text

GATEWAY: Final = str(Path(sys.executable).with_name("rmbg-gateway"))
BUCKET: Final = "inbox"


@contextmanager
def gateway_process(
    env: Mapping[str, str], **settings: int
) -> Iterator[tuple[str, subprocess.Popen[bytes]]]:
    """Run a gateway with `RMBG_GATEWAY_*` from *settings*; yield its URL and process."""
    port = free_port()
    own = {"RMBG_GATEWAY_PORT": str(port), "RMBG_GATEWAY_PROBES_PORT": "0"}
    own |= {f"RMBG_GATEWAY_{name.upper()}": str(value) for name, value in settings.items()}
    url = f"http://127.0.0.1:{port}"
    with subprocess.Popen([GATEWAY], env={**env, **own}, stderr=subprocess.DEVNULL) as process:
        try:
            wait_for(url)
            yield url, process
        finally:
            process.terminate()


def free_port() -> int:
    """Return a port on loopback that nobody uses."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port: int = probe.getsockname()[1]
        return port


def wait_for(url: str) -> None:
    """Return when the gateway answers."""
    while True:
        try:
            httpx.get(f"{url}/openapi.json").raise_for_status()
        except httpx.TransportError:
            time.sleep(0.05)
        else:
            return


def new_client(services: Services, url: str, tenant: str, *, weight: int = 1) -> httpx.Client:
    """Create an API key of *tenant* and return a client that sends it."""
    text = new_text(tenant)
    key = ApiKey(
        name=tenant,
        tenant=tenant,
        sha256=digest(text),
        bucket=BUCKET,
        rate_per_minute=1_000_000,
        created_at=datetime.now(UTC),
        weight=weight,
    )
    services.jobs.api_keys.put(key)
    headers = {"Authorization": f"Bearer {text}"}
    return httpx.Client(base_url=url, headers=headers, timeout=120)


def cpu_s() -> dict[str, float]:
    """Return the processor time of the processes of this benchmark, in seconds, by their names."""
    here = psutil.Process()
    found: Counter[str] = Counter()
    for each in (here, *here.children(recursive=True)):
        name = "client" if each == here else _name_of(each.cmdline())
        found[name] += sum(each.cpu_times()[:2])
    return dict(found)


def _name_of(command: list[str]) -> str:
    names = ("rmbg-gateway", "worker_main", "valkey", "weed")
    return next((name for name in names if name in " ".join(command[:2])), "other")


def percentile(values: list[float], share: float) -> float:
    """Return the value below which *share* of *values* is."""
    return sorted(values)[min(len(values) - 1, int(len(values) * share))]
