"""`rmbg-worker --probe`: ask the worker on this machine whether it is ready."""

import http.client
from collections.abc import Mapping
from typing import Final

from shared.errors import InvalidOption
from shared.urls import parse_address

TIMEOUT_S: Final = 4.0
"""Less than the timeout of the health checks in the container images."""
_ANY: Final = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 - nothing is bound here


def probe(env: Mapping[str, str]) -> tuple[bool, str]:
    """Return whether the worker at `RMBG_HTTP` is ready, and its answer.

    Reads no other variable and loads neither torch nor Celery: it runs every few seconds.

    Raises:
        InvalidOption: If the variable is not set or holds no address.
    """
    text = env.get("RMBG_HTTP", "").strip()
    if not text:
        raise InvalidOption("RMBG_HTTP is not set; set it to the worker's host:port")
    try:
        host, port = parse_address(text)
    except ValueError as err:
        raise InvalidOption(f"RMBG_HTTP: {err}") from err
    connection = http.client.HTTPConnection(_ANY.get(host, host), port, timeout=TIMEOUT_S)
    try:
        connection.request("GET", "/readyz")
        answer = connection.getresponse()
        said = answer.read(1000).decode("utf-8", "replace").strip()
    except (OSError, http.client.HTTPException) as err:
        return False, f"{host}:{port}: {err}"
    finally:
        connection.close()
    return answer.status == http.client.OK, said
