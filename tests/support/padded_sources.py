"""Run an engine over many sources of a given size, in this process; print its peak memory as JSON.

Each source is a small image, and padding that the decoder ignores.
"""

import json
import os
import sys
from collections import Counter
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from queue import SimpleQueue

from support.jobs import spec
from support.memory_store import MemoryStore
from support.pictures import encoded, photo
from support.stand_ins import stand_in_model
from worker.engine import ItemRequest
from worker.engine.build import build_local_engine
from worker.runtime.malloc import keep_memory
from worker.settings import WorkerSettings


@dataclass
class _Source:
    """An object whose bytes are those of a file: it takes memory only once it is read."""

    path: Path
    size_bytes: int
    etag: str = "etag"

    def read(self):
        return self.path.read_bytes()


class PaddedSources(MemoryStore):
    """A store in which every source exists."""

    def __init__(self, file, size_bytes):
        """Use *file*, which this makes; only its first bytes take space on the disk."""
        super().__init__()
        path = Path(file)
        path.write_bytes(encoded(photo(600, 400), "JPEG"))
        os.truncate(path, size_bytes)
        self._source = _Source(path, size_bytes)

    @contextmanager
    def open(self, _bucket, _key):
        yield self._source


def peak_bytes():
    """Return the peak of this program's resident memory.

    `getrusage` does not: its figure includes the parent, which this process was forked from.
    """
    status = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    return int(status["VmHWM"].split()[0]) * 1024


def main(file, count, size_bytes, **variables):
    """Run *count* items; *variables* are settings of the worker."""
    keep_memory({})
    settings = WorkerSettings.from_env(variables)
    engine = build_local_engine(settings, PaddedSources(file, size_bytes))
    model, results = stand_in_model(), SimpleQueue()
    for n in range(count):
        request = ItemRequest(
            job_id="j",
            sequence=1,
            spec=spec(rem_mode=model.name),
            index=n,
            image_key=f"{n}.jpg",
            model=model,
        )
        assert engine.offer(request, results, timeout_s=60)
    records = [results.get(timeout=60).outcome.record for _ in range(count)]
    engine.close()
    states = Counter(record.state for record in records)
    sys.stdout.write(json.dumps({"states": states, "peak_bytes": peak_bytes()}))


if __name__ == "__main__":
    main(**json.loads(sys.argv[1]))
