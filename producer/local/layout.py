"""Ports and credentials of the embedded servers, kept in their data folder."""

import json
import os
import random
import secrets
import socket
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from shared.errors import InvalidOption

GRPC_OFFSET: Final = 10_000
"""SeaweedFS also listens on each of its ports plus this number."""
OWNER: Final = "local"
"""The identity with all rights."""
_ALL_ACTIONS: Final = ("Admin", "Read", "List", "Tagging", "Write")
_LOWEST_PORT: Final = 20_000
_HIGHEST_PORT: Final = 22_700
"""Plus the offset it is below 32,768, where the ephemeral ports of Linux begin."""


@dataclass(frozen=True)
class Ports:
    """A block of ports, kept over restarts: SeaweedFS stores data under its master port."""

    s3: int

    @property
    def master(self) -> int:
        """SeaweedFS master."""
        return self.s3 + 1

    @property
    def volume(self) -> int:
        """SeaweedFS volume server."""
        return self.s3 + 2

    @property
    def filer(self) -> int:
        """SeaweedFS filer; it asks for no credentials, so never expose it."""
        return self.s3 + 3

    @property
    def admin(self) -> int:
        """SeaweedFS admin server."""
        return self.s3 + 4

    @property
    def redis(self) -> int:
        """Valkey."""
        return self.s3 + 5

    @property
    def grpc(self) -> tuple[int, ...]:
        """Ports for gRPC of the five SeaweedFS servers."""
        return tuple(range(self.s3 + GRPC_OFFSET, self.s3 + GRPC_OFFSET + 5))

    def are_free(self) -> bool:
        """Return whether none of the ports is in use."""
        return all(_is_free(port) for port in (*range(self.s3, self.redis + 1), *self.grpc))


@dataclass(frozen=True)
class Credentials:
    """S3 key pair of an identity."""

    access_key_id: str
    secret_access_key: str


def choose_ports(folder: Path) -> Ports:
    """Return the ports of *folder*: chosen at the first call, and again if they are in use.

    Raises:
        InvalidOption: If no block of free ports is found.
    """
    path = folder / "ports.json"
    known = _read(path).get("s3")
    if isinstance(known, int) and (ports := Ports(known)).are_free():
        return ports
    for _ in range(200):
        ports = Ports(random.randrange(_LOWEST_PORT, _HIGHEST_PORT))  # noqa: S311 - no secret
        if ports.are_free():
            _write(path, {"s3": ports.s3, "redis": ports.redis})
            return ports
    raise InvalidOption(
        f"no free block of ports between {_LOWEST_PORT} and {_HIGHEST_PORT} for {folder};"
        " stop other servers there"
    )


def make_credentials(path: Path, identities: Mapping[str, Sequence[str]]) -> dict[str, Credentials]:
    """Write the identities of SeaweedFS to *path* (mode 0600) and return them by name.

    An identity that is in the file keeps its keys. `OWNER` is always included.

    Args:
        path: The file. SeaweedFS reads it, so that no secret is on a command line.
        identities: Additional names with their actions, such as `["Read:inbox", "List:inbox"]`.
    """
    known = {entry["name"]: entry["credentials"][0] for entry in _read(path).get("identities", ())}
    entries: list[dict[str, object]] = []
    made: dict[str, Credentials] = {}
    for name, actions in {OWNER: _ALL_ACTIONS, **identities}.items():
        keys = known.get(name) or {
            "accessKey": f"{name}-{secrets.token_hex(4)}",
            "secretKey": secrets.token_urlsafe(24),
        }
        entries.append({"name": name, "credentials": [keys], "actions": list(actions)})
        made[name] = Credentials(keys["accessKey"], keys["secretKey"])
    _write(path, {"identities": entries})
    return made


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
        return True


def _read(path: Path) -> dict[str, Any]:
    """Return the JSON object in *path*, or an empty one if it is missing or incomplete."""
    try:
        body = json.loads(path.read_text())
    except (FileNotFoundError, ValueError):
        return {}
    return body if isinstance(body, dict) else {}


def _write(path: Path, body: Mapping[str, object]) -> None:
    """Write a JSON object whole or not at all, readable by the owner only."""
    part = path.with_suffix(".part")
    part.unlink(missing_ok=True)
    with os.fdopen(os.open(part, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600), "w") as file:
        json.dump(body, file)
    part.replace(path)
