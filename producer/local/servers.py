"""Run Valkey and SeaweedFS as child processes: Redis and S3 for one machine, demo and tests."""

import os
import socket
from collections.abc import Mapping, Sequence
from contextlib import ExitStack, suppress
from functools import cache
from pathlib import Path
from typing import Final, Self

from producer.local.binaries import (
    valkey_binary,
    valkey_command,
    weed_binary,
    weed_command,
    weed_leftovers,
)
from producer.local.layout import HOST, OWNER, choose_ports, make_credentials
from producer.local.lock import locked
from producer.local.supervise import Server, stop_all
from shared.errors import ObjectMissing, RedisUnavailable, ServiceUnavailable, StoreUnavailable
from shared.objects import ObjectStore
from shared.settings import StoreSettings

SERVER_LOGS: Final = ("redis.log", "s3.log")
"""Log files of the servers in their data folder."""
_READY_KEY: Final = "_jobs/.ready"
"""Object in the output bucket that is read to check that S3 is ready."""
_S3_MEMORY: Final = "512MiB"
"""Memory goal of SeaweedFS' Go runtime. Without one it grows to 600 MB beside the worker, with
this one to 360 MB. At 256 MiB garbage collection takes 0.10 to 0.15 s of CPU an image, not 0.04."""


class EmbeddedServers:
    """Redis and S3 over one data folder, from `start` to `stop`; also a context manager.

    Nothing is left running when the process that started them ends, even by `kill -9`. Ctrl-C
    does not reach them. Do not fork the process while they run: a forked child keeps the pipe
    open by which the servers notice that their owner ended.
    """

    redis: Server
    """Set by `start`; may be killed and started again."""
    s3: Server
    """Set by `start`; may be killed and started again."""

    def __init__(
        self,
        data_dir: Path,
        *,
        buckets: Sequence[str] = ("inbox", "cutouts"),
        redis_args: Sequence[str] = (),
        identities: Mapping[str, Sequence[str]] | None = None,
    ) -> None:
        """Store the settings; start nothing.

        Args:
            data_dir: Folder of data, ports, credentials and logs; a later start uses them again.
            buckets: Created if missing; the last is the output bucket, the others are inputs.
            redis_args: Additional arguments for Valkey, such as `("--maxmemory", "100mb")`.
            identities: Additional S3 identities with their actions; see `make_credentials`.
        """
        self._folder = Path(os.path.realpath(data_dir))
        self._buckets = tuple(buckets)
        self._redis_args = tuple(redis_args)
        self._identities = dict(identities or {})
        self._running = ExitStack()

    def start(self) -> None:
        """Start both and return when they are ready: 2 s in a new folder, 1 s in a used one.

        Raises:
            InvalidOption: If another run uses the folder, or the servers are not installed.
            ServiceUnavailable: If one of them does not start; the message ends with its last words.
        """
        self.spawn()
        try:
            self.wait_ready()
        except BaseException:
            self.stop()
            raise

    def wait_ready(self) -> None:
        """Return when both are ready; see `start`."""
        self.redis.wait_ready()
        self.s3.wait_ready()

    def spawn(self) -> None:
        """Start both without waiting for them; `settings` is known then.

        Raises:
            InvalidOption: If another run uses the folder, or the servers are not installed.
        """
        valkey, weed = valkey_binary(), weed_binary()
        self._folder.mkdir(parents=True, exist_ok=True)
        with ExitStack() as stack:
            lock_fd = stack.enter_context(locked(self._folder))
            self._ports = choose_ports(self._folder)
            self._credentials = make_credentials(self._folder / "s3.json", self._identities)
            self.redis = self._make_redis(valkey, lock_fd)
            self.s3 = self._make_s3(weed, lock_fd)
            stack.callback(stop_all, (self.redis, self.s3))
            self.redis.spawn()
            self.s3.spawn()
            self._running = stack.pop_all()

    def stop(self) -> None:
        """Stop both at once, in about 2 s; do nothing if they are stopped."""
        self._running.close()

    def discard(self) -> None:
        """End both at once, when nobody needs their data any more."""
        self.redis.discard()
        self.s3.discard()
        self.stop()

    def settings(self, identity: str = OWNER) -> dict[str, str]:
        """Return the `RMBG_*` variables that make a process use these servers.

        Args:
            identity: Name of the S3 identity; the default has all rights.
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

    def _make_redis(self, binary: Path, lock_fd: int) -> Server:
        port = self._ports.redis
        return Server(
            name="Redis (Valkey)",
            command=valkey_command(binary, port, self._redis_args),
            folder=self._folder / "redis",
            env=self._environment(),
            lock_fd=lock_fd,
            is_ready=lambda: _answers_ping(port),
            fault=RedisUnavailable,
        )

    def _make_s3(self, binary: Path, lock_fd: int) -> Server:
        store = StoreSettings(
            endpoint=f"http://{HOST}:{self._ports.s3}",
            access_key_id=self._credentials[OWNER].access_key_id,
            secret_access_key=self._credentials[OWNER].secret_access_key,
        )

        @cache
        def probe() -> ObjectStore:
            from shared.objects import S3Store  # noqa: PLC0415 - boto3; the server starts meanwhile

            # A request during the start may hang: repeat it instead of waiting long.
            return S3Store(store, connect_timeout_s=1, read_timeout_s=1, attempts=1)

        return Server(
            name="S3 (SeaweedFS)",
            command=weed_command(binary, self._ports, self._buckets),
            folder=self._folder / "s3",
            env=self._environment() | {"GOMEMLIMIT": _S3_MEMORY},
            lock_fd=lock_fd,
            is_ready=lambda: _serves(probe(), self._buckets),
            fault=StoreUnavailable,
            leftovers=weed_leftovers(self._folder, self._ports),
        )

    def _environment(self) -> dict[str, str]:
        """Return an environment without the caller's AWS keys, which SeaweedFS would accept."""
        return {"PATH": os.defpath, "HOME": str(self._folder), "LC_ALL": "C"}


def _answers_ping(port: int) -> bool:
    """Return whether Redis is up: it may ask for a password, but not still load its data."""
    with suppress(OSError), socket.create_connection((HOST, port), 1) as connection:
        connection.sendall(b"PING\r\n")
        return connection.recv(16).startswith((b"+PONG", b"-NOAUTH"))
    return False


def _serves(store: ObjectStore, buckets: Sequence[str]) -> bool:
    """Return whether SeaweedFS has all *buckets* and can read its data.

    It lists keys before it knows its volumes, and until then every read fails. So an object is
    written at the first start, and read to check that the server is ready.
    """
    with suppress(ServiceUnavailable):
        for bucket in buckets:
            store.check(bucket)
        try:
            store.get(buckets[-1], _READY_KEY)
        except ObjectMissing:
            store.put(buckets[-1], _READY_KEY, b"ready", content_type="text/plain")
        return True
    return False
