"""Store API keys, and count the requests made with them."""

from dataclasses import dataclass

from pydantic import ValidationError

from shared.access import ApiKey
from shared.jobstore import layout
from shared.jobstore.connection import StorePart, to_bytes

_MINUTE_MS = 60_000


@dataclass(frozen=True)
class Quota:
    """What is left of a key's requests after one of them."""

    is_allowed: bool
    """Whether the request may be served."""
    left: int
    """Requests that may follow at once."""
    reset_s: int
    """Seconds until all requests are available again, or one if none is left."""


class ApiKeys(StorePart):
    """The API keys of the gateway, by name. Redis holds hashes of secrets only."""

    def add(self, key: ApiKey) -> bool:
        """Store a new key; return False and change nothing if its name is in use."""
        with self.connection.commands() as client:
            return bool(client.hsetnx(layout.API_KEYS, key.name, key.model_dump_json()))

    def put(self, key: ApiKey) -> None:
        """Store *key* in place of the one of the same name; a repetition changes nothing."""
        with self.connection.commands() as client:
            client.hset(layout.API_KEYS, key.name, key.model_dump_json())

    def find(self, name: str) -> ApiKey | None:
        """Return the key called *name*, or None."""
        with self.connection.commands() as client:
            found = client.hget(layout.API_KEYS, name)
        return None if found is None else _read(to_bytes(found))

    def all(self) -> list[ApiKey]:
        """Return all keys by name, without those that this version cannot read."""
        with self.connection.commands() as client:
            found = client.hgetall(layout.API_KEYS)
        keys = (_read(to_bytes(text)) for text in found.values())
        return sorted((key for key in keys if key is not None), key=lambda key: key.name)

    def revoke(self, name: str) -> bool:
        """Delete the key called *name*; return whether there was one."""
        with self.connection.commands() as client:
            return bool(client.hdel(layout.API_KEYS, name))

    def count_request(self, key: ApiKey) -> Quota:
        """Count one request made with *key*, if it is allowed.

        The allowance is a bucket that holds the requests of a minute and fills evenly.
        """
        allowed, left, reset_ms = self.connection.run(
            "count_request",
            name=key.name,
            most=key.rate_per_minute,
            every_ms=_MINUTE_MS // key.rate_per_minute or 1,
        )
        return Quota(bool(allowed), int(left), -(-int(reset_ms) // 1000))


def _read(text: bytes) -> ApiKey | None:
    try:
        return ApiKey.model_validate_json(text)
    except ValidationError:
        return None
