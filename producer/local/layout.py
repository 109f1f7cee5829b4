"""Ports and credentials of the embedded servers, kept in their data folder."""

import json
import os
import secrets
import socket
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Final, NamedTuple, Self

from shared.errors import InvalidOption

HOST: Final = "127.0.0.1"
GRPC_OFFSET: Final = 10_000
"""SeaweedFS also listens on each of its ports plus this number."""
OWNER: Final = "local"
"""The identity with all rights."""
_ALL_ACTIONS: Final = ("Admin", "Read", "List", "Tagging", "Write")
_LOWEST_PORT: Final = 20_000
_HIGHEST_PORT: Final = 22_700
"""Plus the offset it is below 32,768, where the ephemeral ports of Linux begin."""


class Ports(NamedTuple):
    """A block of ports, kept over restarts: SeaweedFS stores data under its master port."""

    s3: int
    master: int
    volume: int
    filer: int
    """It asks for no credentials, so never expose it."""
    admin: int
    redis: int

    @classmethod
    def starting_at(cls, first: int) -> Self:
        """Return the block whose lowest port is *first*."""
        return cls(*range(first, first + len(cls._fields)))

    @property
    def grpc(self) -> tuple[int, ...]:
        """Ports for gRPC of the five SeaweedFS servers."""
        return tuple(port + GRPC_OFFSET for port in self[:-1])

    def are_free(self) -> bool:
        """Return whether none of the ports is in use."""
        return all(_is_free(port) for port in (*self, *self.grpc))


class Credentials(NamedTuple):
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
    if isinstance(known, int) and (ports := Ports.starting_at(known)).are_free():
        return ports
    for _ in range(200):
        ports = Ports.starting_at(secrets.choice(range(_LOWEST_PORT, _HIGHEST_PORT)))
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
    wanted = {OWNER: _ALL_ACTIONS, **identities}
    keys = {
        name: known.get(name)
        or {
            "accessKey": f"{name}-{secrets.token_hex(4)}",
            "secretKey": secrets.token_urlsafe(24),
        }
        for name in wanted
    }
    entries = [
        {"name": name, "credentials": [keys[name]], "actions": list(actions)}
        for name, actions in wanted.items()
    ]
    _write(path, {"identities": entries})
    return {name: Credentials(pair["accessKey"], pair["secretKey"]) for name, pair in keys.items()}


def _is_free(port: int) -> bool:
    with suppress(OSError), socket.create_server((HOST, port)):
        return True
    return False


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
