"""What lies beside the embedded servers' data: ports and credentials."""

from __future__ import annotations

import json
import os
import random
import secrets
import socket
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from shared.errors import InvalidOption

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

GRPC_OFFSET: Final = 10_000
"""SeaweedFS listens on each of its ports plus this, too."""
OWNER: Final = "local"
"""The identity that may do everything."""
_ALL_ACTIONS: Final = ("Admin", "Read", "List", "Tagging", "Write")
_LOWEST_PORT: Final = 20_000
_HIGHEST_PORT: Final = 22_700
"""With the offset below 32,768, where Linux begins to hand out ports of its own choice."""


@dataclass(frozen=True)
class Ports:
    """A block of ports, chosen once: a new master port would leave SeaweedFS a stale folder."""

    s3: int

    @property
    def master(self) -> int:
        """SeaweedFS' master."""
        return self.s3 + 1

    @property
    def volume(self) -> int:
        """SeaweedFS' volume server."""
        return self.s3 + 2

    @property
    def filer(self) -> int:
        """SeaweedFS' filer, which knows no credentials: never to be made public."""
        return self.s3 + 3

    @property
    def admin(self) -> int:
        """SeaweedFS' maintenance."""
        return self.s3 + 4

    @property
    def redis(self) -> int:
        """Valkey."""
        return self.s3 + 5

    @property
    def grpc(self) -> tuple[int, ...]:
        """The second ports of SeaweedFS' five."""
        return tuple(range(self.s3 + GRPC_OFFSET, self.s3 + GRPC_OFFSET + 5))

    def are_free(self) -> bool:
        """Tell whether nobody listens on any of them."""
        return all(_is_free(port) for port in (*range(self.s3, self.redis + 1), *self.grpc))


@dataclass(frozen=True)
class Credentials:
    """An identity's key pair."""

    access_key_id: str
    secret_access_key: str


def choose_ports(folder: Path) -> Ports:
    """Return the folder's ports; chosen at the first call, and again where they are taken.

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
    raise InvalidOption(f"no free ports between {_LOWEST_PORT} and {_HIGHEST_PORT} for {folder}")


def make_credentials(path: Path, identities: Mapping[str, Sequence[str]]) -> dict[str, Credentials]:
    """Write SeaweedFS' identities to *path* (mode 0600) and return them by name.

    An identity that is known there keeps its keys. `OWNER` is always among them.

    Args:
        path: The file; SeaweedFS reads it, so that no secret shows in the list of processes.
        identities: Further names with their actions, such as `["Read:inbox", "List:inbox"]`.
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
    """Return a document of ours, empty where it is missing or was torn by a crash."""
    try:
        body = json.loads(path.read_text())
    except (FileNotFoundError, ValueError):
        return {}
    return body if isinstance(body, dict) else {}


def _write(path: Path, body: Mapping[str, object]) -> None:
    """Write a document whole or not at all, readable for its owner alone."""
    part = path.with_suffix(".part")
    part.unlink(missing_ok=True)
    with os.fdopen(os.open(part, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600), "w") as file:
        json.dump(body, file)
    part.replace(path)
