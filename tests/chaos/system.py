"""The system under test: servers, proxies in front of them, and clients that bypass the proxies."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import redis
from append_only import AppendOnlyFile
from redis_pair import RedisPair
from s3_proxy import S3Proxy
from support.loop import Loop
from support.proxy import HOST, Proxy

from producer.client import Client
from producer.local.servers import EmbeddedServers
from shared.jobstore.store import JobStore
from shared.objects import S3Store
from shared.settings import ServiceSettings

LEASE_S: Final = 3.0
TIMES: Final = {
    "RMBG_LEASE_S": f"{LEASE_S:g}",
    "RMBG_LOST_S": "4",
    "RMBG_RECOVER_S": "0.5",
    "RMBG_STALL_S": "20",
    "RMBG_DRAIN_S": "10",
    "RMBG_CPU_THREADS": "2",
    "RMBG_IO_THREADS": "8",
}
"""Settings of the workers: a tenth of the default times, so that a minute has many restarts."""
_UPLOAD_THREADS: Final = 6


@dataclass(frozen=True, kw_only=True)
class System:
    """The parts of the system that faults affect and that are checked afterwards."""

    folder: Path
    servers: EmbeddedServers
    redis: RedisPair
    redis_proxy: Proxy
    """Proxy of the workers and commands; faults affect its connections."""
    s3_proxy: S3Proxy
    append_only: AppendOnlyFile
    settings: ServiceSettings
    """Settings that bypass the faults of the proxies."""
    client: Client
    objects: S3Store
    jobs: JobStore
    broker: redis.Redis
    store: redis.Redis
    worker_env: Mapping[str, str]
    """Settings of the workers: the proxies, and short times."""

    @property
    def input_bucket(self) -> str:
        """Bucket of the source images."""
        return self.settings.input_buckets[0]

    @property
    def output_bucket(self) -> str:
        """Bucket of the outputs."""
        return self.settings.output_bucket

    def source_path(self, key: str) -> str:
        """Return the path of a source image in a request."""
        return f"/{self.input_bucket}/{key}"

    def output_path(self, key: str) -> str:
        """Return the path of an output in a request."""
        return f"/{self.output_bucket}/{key}"

    def upload(self, images: Mapping[str, bytes]) -> None:
        """Upload source images."""

        def put(item: tuple[str, bytes]) -> None:
            key, data = item
            self.objects.put(self.input_bucket, key, data, content_type="image/png")

        with ThreadPoolExecutor(_UPLOAD_THREADS) as pool:
            list(pool.map(put, images.items()))


@contextmanager
def start_system(folder: Path) -> Iterator[System]:
    """Run everything except the workers while the context is open."""
    with ExitStack() as stack:
        servers = stack.enter_context(EmbeddedServers(folder / "data"))
        env = servers.settings()
        redis_port = _port(env["RMBG_REDIS_URL"])
        redis_proxy = stack.enter_context(Proxy(redis_port))
        direct = stack.enter_context(Proxy(redis_port))
        pair = RedisPair(servers.redis, redis_port, folder / "redis-2", (redis_proxy, direct))
        stack.callback(pair.stop)
        settings = ServiceSettings.from_env({**env, "RMBG_REDIS_URL": _url(direct)})
        loop = stack.enter_context(Loop())
        s3_proxy = S3Proxy(loop, _port(env["RMBG_S3_ENDPOINT"]))
        append_only = stack.enter_context(closing(AppendOnlyFile(folder / "data" / "redis")))
        yield System(
            folder=folder,
            servers=servers,
            redis=pair,
            redis_proxy=redis_proxy,
            s3_proxy=s3_proxy,
            append_only=append_only,
            settings=settings,
            client=Client(settings),
            objects=S3Store(settings.objects),
            jobs=JobStore.connect(settings.store_url),
            broker=redis.Redis.from_url(settings.broker_url),
            store=redis.Redis.from_url(settings.store_url),
            worker_env={
                **env,
                **TIMES,
                "RMBG_REDIS_URL": _url(redis_proxy),
                "RMBG_S3_ENDPOINT": f"http://{HOST}:{s3_proxy.port}",
                "RMBG_HOME": str(folder / "home"),
            },
        )


def _url(proxy: Proxy) -> str:
    return f"redis://{HOST}:{proxy.port}/0"


def _port(url: str) -> int:
    return int(url.rpartition(":")[2].partition("/")[0])
