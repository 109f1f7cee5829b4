"""Valkey and SeaweedFS as child processes: Redis and S3 for one machine, demo and tests."""

from __future__ import annotations

import os
import socket
from contextlib import suppress
from typing import TYPE_CHECKING, Final, Self

from producer.local.binaries import (
    HOST,
    valkey_binary,
    valkey_command,
    weed_binary,
    weed_command,
    weed_leftovers,
)
from producer.local.layout import OWNER, choose_ports, make_credentials
from producer.local.lock import Lock
from producer.local.supervise import Server
from shared.errors import ObjectMissing, RedisUnavailable, ServiceUnavailable, StoreUnavailable
from shared.objects import S3Store
from shared.settings import StoreSettings

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

_READY_KEY: Final = "_jobs/.ready"
"""An object of the output bucket that is read to find out whether S3 is ready."""
_S3_MEMORY: Final = "512MiB"
"""SeaweedFS' heap goal; without one it grows to 600 MB beside the worker, with this one to 360. At
256 MiB it collects garbage all the time: 0.10 to 0.15 s of processor time an image, not 0.04."""


class EmbeddedServers:
    """Both servers over one data folder, from `start` to `stop`; also a context manager.

    Nothing is left running when the process that started them ends, even by `kill -9`, and
    Ctrl-C does not reach them. Whoever starts workers must not fork them: a forked child keeps
    the pipe open by which the servers notice their owner's end.
    """

    redis: Server
    """After `start`; may be killed and started again."""
    s3: Server
    """After `start`; may be killed and started again."""

    def __init__(
        self,
        data_dir: Path,
        *,
        buckets: Sequence[str] = ("inbox", "cutouts"),
        appendfsync: str = "everysec",
        redis_args: Sequence[str] = (),
        identities: Mapping[str, Sequence[str]] | None = None,
    ) -> None:
        """Start nothing yet.

        Args:
            data_dir: Where data, ports, credentials and logs are kept, for the next start too.
            buckets: Created if missing; the last is the output bucket, the others are inputs.
            appendfsync: Valkey's; `everysec` loses at most a second, and only to a power cut.
            redis_args: Further arguments for Valkey, such as `("--maxmemory", "100mb")`.
            identities: Further S3 identities with their actions; see `make_credentials`.
        """
        self._folder = data_dir.resolve()
        self._buckets = tuple(buckets)
        self._redis_args = ("--appendfsync", appendfsync, *redis_args)
        self._identities = dict(identities or {})
        self._lock: Lock | None = None

    def start(self) -> None:
        """Start both and return when they answer: 2 s in an empty folder, 1 s later on.

        Raises:
            InvalidOption: If another run uses the folder, or the servers are not installed.
            ServiceUnavailable: If one of them does not come up; the text ends with its log.
        """
        valkey, weed = valkey_binary(), weed_binary()
        self._folder.mkdir(parents=True, exist_ok=True)
        self._lock = Lock(self._folder)
        try:
            self._ports = choose_ports(self._folder)
            self._credentials = make_credentials(self._folder / "s3.json", self._identities)
            self.redis = self._make_redis(valkey, self._lock)
            self.s3 = self._make_s3(weed, self._lock)
            self.redis.spawn()
            self.s3.spawn()
            self.redis.wait_ready()
            self.s3.wait_ready()
        except BaseException:
            self.stop()
            raise

    def stop(self) -> None:
        """End S3, then Redis, in about 2 s; a repetition does nothing."""
        if self._lock is None:
            return
        for name in ("s3", "redis"):
            if name in vars(self):
                vars(self)[name].stop()
        self._lock.release()
        self._lock = None

    def settings(self, identity: str = OWNER) -> dict[str, str]:
        """Return the `RMBG_*` variables that make a process use these servers.

        Args:
            identity: Whose S3 credentials; by default those that may do everything.
        """
        keys = self._credentials[identity]
        return {
            "RMBG_REDIS_URL": f"redis://{HOST}:{self._ports.redis}/0",
            "RMBG_S3_ENDPOINT": f"http://{HOST}:{self._ports.s3}",
            "RMBG_S3_REGION": StoreSettings().region,
            "RMBG_S3_ACCESS_KEY_ID": keys.access_key_id,
            "RMBG_S3_SECRET_ACCESS_KEY": keys.secret_access_key,
            "RMBG_INPUT_BUCKETS": ",".join(self._buckets[:-1] or self._buckets),
            "RMBG_OUTPUT_BUCKET": self._buckets[-1],
        }

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def _make_redis(self, binary: Path, lock: Lock) -> Server:
        port = self._ports.redis
        return Server(
            name="Redis (Valkey)",
            command=valkey_command(binary, port, self._redis_args),
            folder=self._folder / "redis",
            env=self._environment(),
            lock_fd=lock.fd,
            is_ready=lambda: _answers_ping(port),
            fault=RedisUnavailable,
        )

    def _make_s3(self, binary: Path, lock: Lock) -> Server:
        store = StoreSettings(
            endpoint=f"http://{HOST}:{self._ports.s3}",
            access_key_id=self._credentials[OWNER].access_key_id,
            secret_access_key=self._credentials[OWNER].secret_access_key,
        )
        # a request that comes too early may hang: better a new one than a long wait
        probe = S3Store(store, connect_timeout_s=1, read_timeout_s=1, attempts=1)
        return Server(
            name="S3 (SeaweedFS)",
            command=weed_command(binary, self._ports, self._buckets),
            folder=self._folder / "s3",
            env=self._environment() | {"GOMEMLIMIT": _S3_MEMORY},
            lock_fd=lock.fd,
            is_ready=lambda: _serves(probe, self._buckets),
            fault=StoreUnavailable,
            leftovers=weed_leftovers(self._folder, self._ports),
        )

    def _environment(self) -> dict[str, str]:
        """Return an environment without the caller's AWS keys, which would become the server's."""
        return {"PATH": os.defpath, "HOME": str(self._folder), "LC_ALL": "C"}


def _answers_ping(port: int) -> bool:
    """Tell whether Redis is up; asking for a password is an answer, loading its data is none."""
    with suppress(OSError), socket.create_connection((HOST, port), 1) as connection:
        connection.sendall(b"PING\r\n")
        return connection.recv(16).startswith((b"+PONG", b"-NOAUTH"))
    return False


def _serves(store: S3Store, buckets: Sequence[str]) -> bool:
    """Tell whether SeaweedFS has all *buckets* and finds its data.

    It answers for keys before it knows where its volumes are, and until then fails every read:
    only an object that can be read, written at the first start, shows that it is ready.
    """
    try:
        for bucket in buckets:
            store.check(bucket)
        store.get(buckets[-1], _READY_KEY)
    except ObjectMissing:
        return _can_write(store, buckets[-1])
    except ServiceUnavailable:
        return False
    return True


def _can_write(store: S3Store, bucket: str) -> bool:
    try:
        store.put(bucket, _READY_KEY, b"ready", content_type="text/plain")
    except ServiceUnavailable:
        return False
    return True
