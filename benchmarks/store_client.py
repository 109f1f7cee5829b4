"""CPU time of an item's requests to the object store: boto3 and obstore in turn.

Run ``python benchmarks/store_client.py [--floor]``. One GET of a source, one PUT of a mask and one
of a cutout, against a SeaweedFS on this machine whose own time is not counted. Both clients are
measured in turn, round after round, so that other load affects both alike; figures are medians of
the CPU time of all threads of this process. ``--floor`` also prints what no client can save:
SHA-256 of the bodies, and sending and receiving them.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import socket
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT)]

from producer.local.servers import EmbeddedServers  # noqa: E402 - needs the path set above
from shared.objects import ObjectStore, S3Store  # noqa: E402
from shared.objects.obstore_config import Limits  # noqa: E402
from shared.objects.obstore_s3 import ObstoreS3  # noqa: E402
from shared.settings import ServiceSettings  # noqa: E402

BUCKET = "cutouts"
PNG = "image/png"
METADATA = {"rmbg-source": "a" * 32, "rmbg-params": "b" * 32, "rmbg-job": "c" * 26}
METADATA |= {"rmbg-sequence": "12", "rmbg-generation": "1", "rmbg-bytes": "600000"}
ANCHOR = METADATA | {"rmbg-record": "d" * 900}


def calls_of(store: ObjectStore, sizes: dict[str, int]) -> dict[str, Callable[[], object]]:
    """Return the requests of an item, by name."""
    bodies = {name: os.urandom(size) for name, size in sizes.items()}
    store.put(BUCKET, "source", bodies["source"], content_type=PNG)

    def put(name: str, metadata: dict[str, str]) -> str:
        return store.put(BUCKET, name, bodies[name], content_type=PNG, metadata=metadata)

    return {
        "GET source": lambda: store.get(BUCKET, "source"),
        "PUT mask": lambda: put("mask", METADATA),
        "PUT cutout": lambda: put("cutout", ANCHOR),
    }


def cpu_ms(call: Callable[[], object]) -> float:
    """Return the CPU time of *call*, of all threads of this process."""
    started_s = time.process_time()
    call()
    return 1000 * (time.process_time() - started_s)


def send(data: bytes, sink: socket.socket) -> None:
    """Send *data* over loopback; another process would receive it."""
    with socket.create_connection(sink.getsockname()) as connection:
        connection.sendall(data)


def floor_ms(sizes: dict[str, int], rounds: int) -> tuple[float, float]:
    """Return the time of SHA-256 over both outputs, and of sending and receiving them."""
    bodies = [os.urandom(sizes[name]) for name in ("mask", "cutout")]
    with socket.create_server(("127.0.0.1", 0)) as sink:

        def drain() -> None:
            while True:
                try:
                    connection, _ = sink.accept()
                except OSError:
                    return
                while connection.recv(1 << 18):
                    pass
                connection.close()

        threading.Thread(target=drain, daemon=True).start()
        hashed = [
            cpu_ms(lambda: [hashlib.sha256(b).digest() for b in bodies]) for _ in range(rounds)
        ]
        sent = [cpu_ms(lambda: [send(b, sink) for b in bodies]) for _ in range(rounds)]
        sink.shutdown(socket.SHUT_RDWR)
    return statistics.median(hashed), statistics.median(sent)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=60)
    parser.add_argument("--source", type=int, default=600_000, help="bytes of the source")
    parser.add_argument("--mask", type=int, default=60_000, help="bytes of the mask")
    parser.add_argument("--cutout", type=int, default=1_000_000, help="bytes of the cutout")
    parser.add_argument("--floor", action="store_true")
    options = parser.parse_args()
    sizes = {name: getattr(options, name) for name in ("source", "mask", "cutout")}
    with tempfile.TemporaryDirectory() as folder, EmbeddedServers(Path(folder)) as servers:
        settings = ServiceSettings.from_env(servers.settings()).objects
        boto3 = S3Store(settings)
        limits = Limits(max_bytes=100_000_000, max_connections=32)
        stores = {"boto3": boto3, "obstore": ObstoreS3(settings, boto3, limits)}
        calls = {name: calls_of(store, sizes) for name, store in stores.items()}
        times: dict[tuple[str, str], list[float]] = {}
        for _ in range(options.rounds):
            for client, requests in calls.items():
                for name, call in requests.items():
                    times.setdefault((client, name), []).append(cpu_ms(call))
        report(times)
    if options.floor:
        hashed, sent = floor_ms(sizes, options.rounds)
        print(f"floor: SHA-256 of both outputs {hashed:.2f} ms, loopback both ways {sent:.2f} ms")


def report(times: dict[tuple[str, str], list[float]]) -> None:
    """Print medians by client and request, and their ratio."""
    names = [name for client, name in times if client == "boto3"]
    medians = {key: statistics.median(values) for key, values in times.items()}
    for name in names:
        ours, theirs = medians["obstore", name], medians["boto3", name]
        print(f"{name:12} boto3 {theirs:6.2f} ms   obstore {ours:6.2f} ms   {theirs / ours:.1f} x")
    ours, theirs = (sum(medians[c, n] for n in names) for c in ("obstore", "boto3"))
    print(f"{'an item':12} boto3 {theirs:6.2f} ms   obstore {ours:6.2f} ms   {theirs / ours:.1f} x")


if __name__ == "__main__":
    main()
