"""`make wheel`: the built wheel works outside the checkout, in environments of its own.

The base install is the producer's: no torch, no numpy, no Pillow, small. With the `worker` extra
one made picture goes through all stages.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import venv
import zipfile
from pathlib import Path

ROOT = Path(__file__).parents[2]
MAX_BASE_BYTES = 150_000_000
HEAVY = ("torch", "numpy", "PIL", "cv2", "onnx")
PACKAGES = {"producer", "shared", "worker"}
COMMANDS = ["--help", "run --help", "submit --help", "weights list", "--version"]
DISTRIBUTION = "rmbg-queue"
OWNERS = f"""
import importlib.metadata, json
owners = importlib.metadata.packages_distributions()
print(json.dumps({{name: owners.get(name) for name in {sorted(PACKAGES)}}}))
"""
MODEL = "isnet-general-use"


class Environment:
    """A fresh virtual environment in *folder*, which sees nothing of the checkout."""

    def __init__(self, folder: Path) -> None:
        venv.create(folder, with_pip=True)
        self._folder = folder
        self._bin = folder / "bin"

    def install(self, requirement: str) -> None:
        """Install with the exact versions that the project pins."""
        pip = ["-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
        self.run("python", *pip, "-c", str(ROOT / "constraints.txt"), requirement)

    def run(self, command: str, *args: str, **variables: str) -> str:
        """Run one of its commands; return what it printed, or end with what it complained of."""
        inherited = {name: value for name, value in os.environ.items() if _may_pass(name)}  # noqa: TID251 - a script
        done = subprocess.run(
            [self._bin / command, *args],
            check=False,
            capture_output=True,
            text=True,
            cwd=self._folder,
            env=inherited | variables,
        )
        if done.returncode:
            sys.exit(f"{command} {' '.join(args)}: exit {done.returncode}\n{done.stderr}")
        return done.stdout

    def size_bytes(self) -> int:
        """Return what its packages take, without pip itself, which the wheel does not ask for."""
        [site] = self._folder.glob("lib/python*/site-packages")
        files = (path for path in site.rglob("*") if path.is_file())
        return sum(path.stat().st_size for path in files if not _is_pips(path.relative_to(site)))


def check_contents(wheel: Path) -> None:
    """The wheel holds the three packages and their scripts, and nothing else."""
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
    metadata = f"{wheel.name.split('-')[0]}-{wheel.name.split('-')[1]}.dist-info"
    tops = {name.split("/")[0] for name in names}
    if tops != PACKAGES | {metadata}:
        sys.exit(f"the wheel holds {sorted(tops)}")
    if odd := [name for name in names if "test" in name or "__pycache__" in name]:
        sys.exit(f"the wheel holds {odd}")
    here = {str(path.relative_to(ROOT)) for path in (ROOT / "shared").rglob("*.lua")}
    if missing := here - set(names):
        sys.exit(f"the wheel lacks {sorted(missing)}")


def check_base(wheel: Path, folder: Path) -> int:
    """The producer's side runs on its own; return the size of its environment, in bytes."""
    base = Environment(folder)
    base.install(str(wheel))
    for command in COMMANDS:
        base.run("rmbg", *command.split(), RMBG_HOME=str(folder / "home"))
    base.run("rmbg-worker", "--help")
    code = f"import importlib.util as u; print(*[m for m in {HEAVY} if u.find_spec(m)])"
    if found := base.run("python", "-c", code).split():
        sys.exit(f"a base install brought {', '.join(found)}")
    owners = json.loads(base.run("python", "-c", OWNERS))
    if owners != {package: [DISTRIBUTION] for package in PACKAGES}:
        sys.exit(f"packages of so plain a name must be of one distribution: {owners}")
    size_bytes = base.size_bytes()
    if size_bytes > MAX_BASE_BYTES:
        sys.exit(f"a base install takes {size_bytes:,} bytes; the limit is {MAX_BASE_BYTES:,}")
    return size_bytes


def check_worker(wheel: Path, folder: Path) -> str:
    """With its extra the worker does one picture; return what it says of that."""
    worker = Environment(folder)
    worker.install(f"{wheel}[worker]")
    return worker.run("rmbg-worker", "--check", RMBG_MODELS=MODEL, RMBG_DEVICE="cpu")


def main(dist: Path) -> None:
    """Check the one wheel in *dist*."""
    [wheel] = dist.resolve().glob("*.whl")
    check_contents(wheel)
    with tempfile.TemporaryDirectory(prefix="rmbg-wheel-") as folder:
        size_bytes = check_base(wheel, Path(folder) / "base")
        said = check_worker(wheel, Path(folder) / "worker")
    sys.stdout.write(f"{wheel.name}: base install {size_bytes / 1e6:.0f} MB; worker {said}")


def _may_pass(name: str) -> bool:
    """Pass the way to packages and caches, and nothing that leads back to the checkout."""
    return not name.startswith(("PYTHON", "VIRTUAL_ENV", "RMBG_", "AWS_"))


def _is_pips(path: Path) -> bool:
    return path.parts[0].startswith(("pip", "setuptools", "_distutils", "distutils"))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
