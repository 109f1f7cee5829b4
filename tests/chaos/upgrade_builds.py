"""The source trees of an upgrade run: an earlier commit, this tree, and a later version."""

from __future__ import annotations

import io
import os
import shutil
import subprocess
import sys
import tarfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from fleet import ROOT, Build
from upgrade_figures import FEATURE

MAIN: Final = Path(__file__).with_name("upgrade_worker.py")
_PACKAGES: Final = ("shared", "worker", "producer")
_CHAOS: Final = "tests/chaos"
_COMMAND_S: Final = 60.0
_RMBG: Final = "from producer.cli import main; main()"


class MissingCommit(Exception):
    """The repository does not have the commit, as a shallow clone may not."""


def current() -> Build:
    """Return this tree."""
    return _build("current", ROOT)


def previous(ref: str, folder: Path) -> Build:
    """Write the tree of commit *ref* to *folder*, without a trace in the repository.

    Raises:
        MissingCommit: If git does not find it.
    """
    done = subprocess.run(
        ["git", "-C", str(ROOT), "archive", "--format=tar", ref, *_PACKAGES, _CHAOS],
        check=False,
        capture_output=True,
    )
    if done.returncode:
        reason = done.stderr.decode(errors="replace").strip()
        raise MissingCommit(f"git has no tree of {ref}: {reason}; run git fetch --unshallow")
    with tarfile.open(fileobj=io.BytesIO(done.stdout)) as archive:
        archive.extractall(folder, filter="data")
    return _build("previous", folder)


def later(folder: Path) -> Build:
    """Write a copy of this tree to *folder* that knows `FEATURE`."""
    for name in (*_PACKAGES, _CHAOS):
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    with (folder / "shared/job/features.py").open("a") as file:
        file.write(f'\nFEATURES |= {{"{FEATURE}"}}\n')
    return _build("later", folder)


def rmbg(
    build: Build, env: Mapping[str, str], args: Sequence[str], stdin: str = ""
) -> subprocess.CompletedProcess[str]:
    """Run the `rmbg` of a tree."""
    return subprocess.run(
        [sys.executable, "-c", _RMBG, *args],
        check=False,
        capture_output=True,
        text=True,
        input=stdin,
        cwd=build.root,
        env={"PATH": os.defpath, **env, "PYTHONPATH": str(build.root)},
        timeout=_COMMAND_S,
    )


def _build(name: str, root: Path) -> Build:
    return Build(name, root, MAIN, {"name": name, "chaos": str(root / _CHAOS)})
