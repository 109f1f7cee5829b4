"""Read the images that a job's recipes name, once per process."""

import hashlib
import threading
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, TypeAlias

from shared.errors import ItemError
from shared.job.keys import asset_key
from shared.job.outputs import assets_of
from shared.job.spec import JobSpec
from shared.objects import ObjectStore

MAX_CACHED_BYTES: Final = 64 * 2**20
"""Bytes of images that a process keeps between tickets; the last one read is always kept."""


@dataclass(frozen=True)
class AssetBytes:
    """An encoded image with the SHA-256 that the job names."""

    sha256: str
    data: bytes


@dataclass(frozen=True)
class AssetFault:
    """Why an image cannot be used: outputs that need it fail, others are made."""

    reason: str


Asset: TypeAlias = AssetBytes | AssetFault
Assets: TypeAlias = Mapping[str, Asset]
"""The images of a job by SHA-256."""


class AssetReader:
    """Reads images of jobs; safe in several threads, which wait for each other's reads."""

    def __init__(
        self, store: ObjectStore, *, max_bytes: int, cached_bytes: int = MAX_CACHED_BYTES
    ) -> None:
        """Use *store*; an image over *max_bytes* is not read, and *cached_bytes* are kept."""
        self._store = store
        self._cached_bytes = cached_bytes
        self._max_bytes = max_bytes
        self._known: OrderedDict[str, AssetBytes] = OrderedDict()
        self._lock = threading.Lock()

    def read(self, job_id: str, spec: JobSpec) -> Assets:
        """Return the images that the outputs of a job name.

        Raises:
            StoreUnavailable: If the store cannot be asked now.
            BucketUnavailable: If the output bucket is missing or forbidden.
        """
        wanted = assets_of(spec.outputs)
        if not wanted:
            return {}
        with self._lock:
            return {sha256: self._one(job_id, spec, sha256) for sha256 in wanted}

    def _one(self, job_id: str, spec: JobSpec, sha256: str) -> Asset:
        """Return one image; a fault is found anew each time, as the image may come back."""
        if (known := self._known.get(sha256)) is not None:
            self._known.move_to_end(sha256)
            return known
        bucket, key = spec.output_bucket, asset_key(job_id, sha256)
        where = f"the background image {bucket}/{key}"
        try:
            with self._store.open(bucket, key) as opened:
                if opened.size_bytes > self._max_bytes:
                    return AssetFault(f"{where} is too large: {opened.size_bytes} bytes")
                data = opened.read()
        except ItemError as err:
            return AssetFault(f"{where} cannot be read: {err}")
        if hashlib.sha256(data).hexdigest() != sha256:
            return AssetFault(f"{where} is damaged: its SHA-256 is another one")
        return self._keep(AssetBytes(sha256, data))

    def _keep(self, asset: AssetBytes) -> AssetBytes:
        self._known[asset.sha256] = asset
        while sum(len(each.data) for each in self._known.values()) > self._cached_bytes:
            if len(self._known) == 1:
                break
            self._known.popitem(last=False)
        return asset
