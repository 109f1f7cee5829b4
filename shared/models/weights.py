"""Keep verified weights in a cache: `{home}/weights/{hash}-{name}`."""

import hashlib
import logging
from pathlib import Path
from typing import Final

from shared.errors import WeightsInvalid
from shared.models.card import HUGGINGFACE, Card, Source
from shared.models.download import DownloadFailed, Progress, fetch_npm, fetch_url
from shared.models.registry import REGISTRY

logger = logging.getLogger(__name__)


def locate(model: Card, home: Path) -> Path | None:
    """Return the path of *model*'s weights in the cache, or None; the content is not checked."""
    places = (_place(source, home) for source in model.sources)
    return next(filter(Path.is_file, places), None)


def registered_sha256(model: Card, path: Path) -> str:
    """Return the SHA-256 of *path*, one of *model*'s files in the cache.

    It is that of the registry; a file of which the registry has an MD5 only is read.
    """
    home = path.parent.parent
    source = next(source for source in model.sources if _place(source, home) == path)
    return file_sha256(path) if source.algorithm == "md5" else source.digits


def known(home: Path) -> list[tuple[Card, Path | None]]:
    """Return every registered model with its path in the cache, or None."""
    return [(model, locate(model, home)) for model in REGISTRY.values()]


def pull(
    model: Card,
    home: Path,
    *,
    base_url: str | None = None,
    hf_token: str | None = None,
    offline: bool = False,
    progress: Progress | None = None,
) -> Path:
    """Return *model*'s verified weights; download them if the cache has none.

    Sources are tried in the order of the registry. A file appears in the cache whole and verified
    or not at all; a damaged file is downloaded again, an interrupted download is continued by
    the next call. Threads and processes may call this at once: one downloads, the others wait
    and use its file. A cache that has the file is only read, so it may be mounted read-only.

    Args:
        model: From the registry.
        home: Folder of the cache (`RMBG_HOME`); created if missing.
        base_url: Mirror to use instead of the sources: `{base_url}/{file_name}`.
        hf_token: Access token (`HF_TOKEN`), sent to huggingface.co only.
        offline: Download nothing (`RMBG_OFFLINE`).
        progress: Called during a download with the bytes so far and the total, None if unknown.

    Raises:
        WeightsInvalid: If no source delivered the right file; names the reason for each.
    """
    path, _ = _kept(model, home)
    if path is not None:
        return path
    from filelock import FileLock  # noqa: PLC0415 - takes 0.03 s to import

    folder = home / "weights"
    folder.mkdir(parents=True, exist_ok=True)
    with FileLock(folder / f".{model.name}.lock"):  # the kernel releases it if the process dies
        path, faults = _kept(model, home)
        if path is not None:
            return path
        if offline:
            faults.append("downloads are off (RMBG_OFFLINE)")
        for source in () if offline else model.sources:
            logger.info("downloading weights", extra={"model": model.name, "source": source.kind})
            try:
                path = _fetch(source, home, base_url=base_url, hf_token=hf_token, progress=progress)
            except (DownloadFailed, WeightsInvalid) as err:
                faults.append(str(err))
            else:
                for other in model.sources:
                    _part(other, home).unlink(missing_ok=True)
                logger.info("weights downloaded", extra={"model": model.name})
                return path
    raise _unavailable(model, folder, faults)


def verify(path: Path, source: Source) -> Path:
    """Return *path* if it has the checksum of *source*.

    Raises:
        WeightsInvalid: If the file is missing or has another one; names both and the fix.
    """
    try:
        found = _file_digits(path, source.algorithm)
    except OSError as err:
        raise WeightsInvalid(f"{path}: cannot be read ({err.strerror}); {_REMEDY}") from err
    if found != source.digits:
        raise WeightsInvalid(
            f"{path}: {_NAMES[source.algorithm]} is {found}, expected {source.digits}"
            f" ({path.stat().st_size} bytes); {_REMEDY}"
        )
    return path


_NAMES: Final = {"sha256": "SHA-256", "md5": "MD5"}
_REMEDY: Final = "run `rmbg weights pull MODEL` to download it again"


def file_sha256(path: Path) -> str:
    """Return the SHA-256 of *path* in hexadecimal digits; raise `OSError` if it is unreadable."""
    return _file_digits(path, "sha256")


def _file_digits(path: Path, algorithm: str) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, algorithm).hexdigest()


def _place(source: Source, home: Path) -> Path:
    return home / "weights" / f"{source.digits[:16]}-{source.file_name}"


def _part(source: Source, home: Path) -> Path:
    """Return the path of an unfinished download: one for all attempts, safe under the lock."""
    path = _place(source, home)
    return path.with_name(f".{path.name}.part")


def _kept(model: Card, home: Path) -> tuple[Path | None, list[str]]:
    """Return the verified file in the cache, or None and what is wrong with the files there."""
    faults = []
    for source in model.sources:
        path = _place(source, home)
        if path.is_file():
            try:
                return verify(path, source), []
            except WeightsInvalid as err:
                faults.append(str(err))
    return None, faults


def _fetch(
    source: Source,
    home: Path,
    *,
    base_url: str | None,
    hf_token: str | None,
    progress: Progress | None,
) -> Path:
    path, part = _place(source, home), _part(source, home)
    is_resumed = part.exists()
    if base_url is None and source.resource is not None:
        with part.open("wb") as file:
            fetch_npm(source.location, source.resource, file, progress=progress)
    else:
        url = f"{base_url.rstrip('/')}/{source.file_name}" if base_url else source.location
        tokens = {HUGGINGFACE: hf_token} if hf_token else {}
        fetch_url(url, part, tokens=tokens, progress=progress)
    try:
        verify(part, source)
    except WeightsInvalid:
        part.unlink()
        if not is_resumed:
            raise
        # The kept bytes may be from another version of the file: start again from zero.
        return _fetch(source, home, base_url=base_url, hf_token=hf_token, progress=progress)
    return part.replace(path)


def _unavailable(model: Card, folder: Path, faults: list[str]) -> WeightsInvalid:
    return WeightsInvalid(
        f"weights of {model.name} not found in {folder}: {'; '.join(faults)}. Run `rmbg weights"
        f" pull {model.name}` with network access, or set RMBG_WEIGHTS_URL to a mirror"
    )
