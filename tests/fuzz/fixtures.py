"""Clone the public test files of image libraries."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

REPOSITORIES = (
    "https://github.com/python-pillow/Pillow",
    "https://github.com/image-rs/image-tiff",
    "https://github.com/haraldk/TwelveMonkeys",
    "https://github.com/pnggroup/libpng",
)


class FetchError(Exception):
    """The test files cannot be fetched; the text says why and what to do."""


def fetch(
    folder: Path, suffixes: frozenset[str], repositories: Sequence[str] = REPOSITORIES
) -> list[Path]:
    """Clone the repositories that are not in *folder* yet; return their paths.

    Only files with one of *suffixes* of the newest commit are transferred.

    Raises:
        FetchError: If one cannot be cloned; nothing of it is left.
    """
    folder.mkdir(parents=True, exist_ok=True)
    paths = [folder / url.rstrip("/").rpartition("/")[2] for url in repositories]
    for url, path in zip(repositories, paths, strict=True):
        if not path.exists():
            _clone(url, path, sorted(f"*{suffix}" for suffix in suffixes))
    return paths


def _clone(url: str, path: Path, patterns: list[str]) -> None:
    part = path.with_name(f"{path.name}.part")
    shutil.rmtree(part, ignore_errors=True)
    partial = ("--quiet", "--depth=1", "--filter=blob:none", "--no-checkout")
    try:
        _git("clone", *partial, url, str(part))
        _git("-C", str(part), "sparse-checkout", "set", "--no-cone", *patterns)
        _git("-C", str(part), "checkout", "--quiet")
    except (OSError, subprocess.CalledProcessError) as err:
        shutil.rmtree(part, ignore_errors=True)
        said = err.stderr.strip() if isinstance(err, subprocess.CalledProcessError) else str(err)
        reason = (said.splitlines() or ["git failed"])[-1].removeprefix("fatal: ")
        raise FetchError(
            f"cannot clone {url} ({reason}); connect to the network, or name folders of test "
            "files: make fuzz FIXTURES='FOLDER ...'"
        ) from err
    part.rename(path)


def _git(*arguments: str) -> None:
    # Without a prompt for the user name, which a server may ask for in place of "not found".
    command = ["env", "GIT_TERMINAL_PROMPT=0", "LC_ALL=C", "git", *arguments]
    subprocess.run(command, check=True, capture_output=True, text=True)
