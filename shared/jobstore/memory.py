"""Read the memory settings of Redis: limit, use and eviction policy."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, Self

EVICTS_JOBS: Final = (
    "maxmemory-policy {policy} lets Redis delete jobs when memory is short; run `redis-cli CONFIG "
    "SET maxmemory-policy noeviction` and set it in redis.conf, or accept the loss of jobs with "
    "RMBG_ALLOW_EVICTION=1"
)


@dataclass(frozen=True)
class Memory:
    """Memory of a server."""

    limit_bytes: int
    """`maxmemory`; 0: no limit."""
    used_bytes: int
    policy: str
    """`maxmemory-policy`."""

    @classmethod
    def of(cls, info: Mapping[str, Any]) -> Self:
        """Read the reply to `INFO`; a server may leave out fields."""
        return cls(
            limit_bytes=int(info.get("maxmemory", 0)),
            used_bytes=int(info.get("used_memory", 0)),
            policy=str(info.get("maxmemory_policy", "noeviction")),
        )

    @property
    def evicts_jobs(self) -> bool:
        """Whether Redis deletes keys without an expiry, such as open jobs, at its limit."""
        return self.limit_bytes > 0 and self.policy.startswith("allkeys-")

    def is_full(self, share: float) -> bool:
        """Return whether more than *share* of the limit is used."""
        return bool(self.limit_bytes) and self.used_bytes > self.limit_bytes * share
