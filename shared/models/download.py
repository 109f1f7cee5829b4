"""From a URL or an npm package to the bytes of one file, with short waits and plain reasons."""

from __future__ import annotations

import http.client
import json
import shutil
import subprocess
import tarfile
import tempfile
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import IO, TYPE_CHECKING, Final, TypeAlias

if TYPE_CHECKING:
    from http.client import HTTPResponse

CONNECT_TIMEOUT_S: Final = 5.0
READ_TIMEOUT_S: Final = 30.0
"""Longest silence in the middle of a file."""
NPM_TIMEOUT_S: Final = 900.0
"""For a package of 136 MB: 150 kB/s."""
_READ_BYTES: Final = 1 << 18

Progress: TypeAlias = Callable[[int, int | None], None]
"""Called with the bytes so far, and in all or None where that is unknown."""


class DownloadFailed(Exception):
    """A source did not give its file; the text names the source and the reason."""


def fetch_url(url: str, into: IO[bytes], *, progress: Progress | None = None) -> None:
    """Write what is at *url* to *into*; redirects are followed, proxies used as configured.

    Raises:
        DownloadFailed: If the host cannot be reached within 5 s, refuses, falls silent for 30 s
            or ends too early; *into* then holds a part.
    """
    opener = urllib.request.build_opener(_HttpHandler, _HttpsHandler)
    try:
        with opener.open(url, timeout=CONNECT_TIMEOUT_S) as response:
            _copy(response, into, progress)
    except urllib.error.HTTPError as err:
        raise DownloadFailed(f"{url}: HTTP {err.code} {err.reason}") from err
    except (OSError, http.client.HTTPException, ValueError) as err:
        raise DownloadFailed(f"{url}: {getattr(err, 'reason', None) or err}") from err


def _copy(response: HTTPResponse, into: IO[bytes], progress: Progress | None) -> None:
    announced = response.headers.get("Content-Length")
    total = int(announced) if announced else None
    done = 0
    while block := response.read(_READ_BYTES):
        into.write(block)
        done += len(block)
        if progress is not None:
            progress(done, total)
    if total is not None and done < total:
        raise http.client.IncompleteRead(b"", total - done)


class _Patient(http.client.HTTPConnection):
    """Connects under the opener's short timeout and reads under the longer one."""

    def connect(self) -> None:
        super().connect()
        self.sock.settimeout(READ_TIMEOUT_S)


class _PatientTls(_Patient, http.client.HTTPSConnection):
    """The same over TLS, handshake included."""


class _HttpHandler(urllib.request.HTTPHandler):
    def http_open(self, req: urllib.request.Request) -> HTTPResponse:
        return self.do_open(_Patient, req)


class _HttpsHandler(urllib.request.HTTPSHandler):
    def https_open(self, req: urllib.request.Request) -> HTTPResponse:
        return self.do_open(_PatientTls, req)


def fetch_npm(
    package: str, resource: str, into: IO[bytes], *, progress: Progress | None = None
) -> None:
    """Write one resource of an npm package to *into*, through the `npm` command.

    The package's `dist/resources.json` lists under each resource the files in `dist/` whose
    bytes, joined in order, are the resource. Nothing of the package is executed.

    Args:
        package: As `npm pack` takes it: name and version.
        resource: Key in `dist/resources.json`.
        into: Written from its present position.
        progress: Called while the chunks are joined, not while npm loads.

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
    """Write to *into* the chunks that *tarball* lists for *resource*, in order.

    Raises:
        DownloadFailed: If the resource or one of its chunks is not there.
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
    return lines[-1] if lines else "npm failed without a word"
