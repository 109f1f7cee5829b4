"""Probe Redis: version, role, eviction policy, append-only file, rights, both databases."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final, Self

from shared.broker.needs import BROKER_NEEDS
from shared.errors import RedisFull
from shared.jobstore.connection import Connection
from shared.jobstore.faults import REPLICA, fault_of
from shared.jobstore.memory import EVICTS_JOBS, Memory
from shared.jobstore.rules import Rules
from shared.jobstore.trial import denied, denied_commands, run_scripts
from shared.probes.finding import Finding, Level, level_of

STORE: Final = "job store"
QUEUE: Final = "queue"
_LEAST_VERSION: Final = (7, 0)
_KEY_COMMANDS: Final = frozenset({"EXISTS", "GET", "SET"})
"""Without rights to the keys, even these are denied."""


@dataclass(frozen=True)
class Server:
    """What the server says about itself in reply to `INFO`."""

    version: str
    mode: str
    """`standalone`, `cluster` or `sentinel`."""
    is_replica: bool
    primary: str
    """`host:port` of a replica's primary."""
    is_append_only: bool
    is_append_broken: bool
    memory: Memory

    @classmethod
    def of(cls, info: dict[str, Any]) -> Self:
        """Read the reply; a server may leave out fields."""
        mode = info.get("redis_mode") or info.get("server_mode") or "standalone"
        return cls(
            version=str(info.get("redis_version", "0")),
            mode="cluster" if info.get("cluster_enabled") else str(mode),
            is_replica=info.get("role") == "slave",
            primary=f"{info.get('master_host')}:{info.get('master_port')}",
            is_append_only=bool(info.get("aof_enabled")),
            is_append_broken=info.get("aof_last_write_status") == "err",
            memory=Memory.of(info),
        )


def probe_store(url: str, *, allow_eviction: bool) -> Iterator[Finding]:
    """Probe the server and the database of the job store at *url*.

    Raises:
        ServiceUnavailable: If it does not answer or refuses to.
    """
    connection = Connection.connect(url)
    try:
        with connection.commands() as client:
            server = Server.of(client.info())
        faults = list(_unusable(server, connection.where()))
        yield from faults
        if not faults:
            yield from _memory_risks(server.memory, allow_eviction=allow_eviction)
            yield from _disk_risks(server)
            yield from _store_rights(connection)
    finally:
        connection.client.close()


def probe_queue(url: str) -> Iterator[Finding]:
    """Probe the rights in the database of the queues at *url*.

    Raises:
        ServiceUnavailable: If it does not answer or refuses to.
    """
    connection = Connection.connect(url)
    try:
        with connection.commands() as client:
            missing = denied(client, BROKER_NEEDS)
        yield from _lacks(QUEUE, [each.split()[0] for each in missing])
    finally:
        connection.client.close()


def _unusable(server: Server, where: str) -> Iterator[Finding]:
    """Yield the reason why the server cannot be used at all."""
    if server.mode != "standalone":
        yield _unfit(
            f"{where} runs in {server.mode} mode, which is not supported; set RMBG_REDIS_URL to a "
            "single Redis server, the primary"
        )
    elif _numbers(server.version) < _LEAST_VERSION:
        yield _unfit(f"{where} is Redis {server.version}; upgrade to Redis 7.0 or later, or Valkey")
    elif server.is_replica:
        yield Finding(STORE, Level.UNAVAILABLE, f"{where}: {REPLICA}, {server.primary}")


def _memory_risks(memory: Memory, *, allow_eviction: bool) -> Iterator[Finding]:
    """Yield what may delete jobs, or keeps new ones out."""
    if memory.evicts_jobs:
        level = Level.WARNING if allow_eviction else Level.UNFIT
        yield Finding(STORE, level, EVICTS_JOBS.format(policy=memory.policy))
    elif memory.policy != "noeviction":
        lost = "jobs" if memory.policy.startswith("allkeys-") else "staged keys and ended jobs"
        when = "when memory is short" if memory.limit_bytes else "once a maxmemory is set"
        yield _warning(
            f"maxmemory-policy {memory.policy} lets Redis delete {lost} {when}; run `redis-cli "
            "CONFIG SET maxmemory-policy noeviction` and set it in redis.conf"
        )
    if memory.is_full(Rules().memory_share):
        yield Finding(
            STORE,
            Level.UNAVAILABLE,
            f"{memory.used_bytes:,} of {memory.limit_bytes:,} bytes are in use, so no new job is "
            "accepted; cancel jobs or run `redis-cli CONFIG SET maxmemory` with a higher limit",
        )


def _disk_risks(server: Server) -> Iterator[Finding]:
    """Yield what may lose jobs in a restart."""
    if not server.is_append_only:
        yield _warning(
            "the append-only file is off, so a restart of Redis loses jobs; run `redis-cli CONFIG "
            "SET appendonly yes` and set it in redis.conf"
        )
    elif server.is_append_broken:
        yield Finding(
            STORE,
            Level.UNAVAILABLE,
            "Redis cannot write its append-only file; free space on its disk",
        )


def _store_rights(connection: Connection) -> Iterator[Finding]:
    with connection.commands() as client:
        missing = denied_commands(client)
        errors = run_scripts(client)
    yield from _lacks(STORE, missing)
    if not missing:
        faults = [fault_of(error, f"{connection.where()}, a script") for error in errors]
        # A full server has been reported, and refuses only the scripts that need more memory.
        for fault in [each for each in faults if not isinstance(each, RedisFull)][:1]:
            yield Finding(STORE, level_of(fault), str(fault))


def _lacks(subject: str, commands: Sequence[str]) -> Iterator[Finding]:
    """Yield the finding for *commands* that the user may not run, if there are any."""
    what = f"may not run {', '.join(dict.fromkeys(commands))} on the keys of the {subject}"
    if set(commands) >= _KEY_COMMANDS:
        what = "may not use the keys ~rmbg* ~unacked* ~_kombu.*"
    advice = "grant the user in RMBG_REDIS_URL the rights in deploy/users.acl"
    if commands:
        yield Finding(subject, Level.UNFIT, f"the Redis user {what}; {advice}")


def _unfit(detail: str) -> Finding:
    return Finding(STORE, Level.UNFIT, detail)


def _warning(detail: str) -> Finding:
    return Finding(STORE, Level.WARNING, detail)


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in version.split(".") if part.isdigit())
