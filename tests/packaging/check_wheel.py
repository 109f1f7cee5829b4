"""Check the built wheel in fresh virtual environments outside the checkout (`make wheel`).

The base installation runs the producer and is small: no torch, no numpy, no Pillow. With the
`worker` extra, `rmbg-worker --check` processes one synthetic image.
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
    """A fresh virtual environment in *folder* that is independent of the checkout."""

    def __init__(self, folder: Path) -> None:
        venv.create(folder, with_pip=True)
        self._folder = folder
        self._bin = folder / "bin"

    def install(self, requirement: str) -> None:
        """Install a requirement with the versions in constraints.txt."""
        pip = ["-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
        self.run("python", *pip, "-c", str(ROOT / "constraints.txt"), requirement)

    def run(self, command: str, *args: str, **variables: str) -> str:
        """Run a command of the environment; return its output, or exit with its error."""
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
        """Return the size of all packages except pip itself."""
        [site] = self._folder.glob("lib/python*/site-packages")
        files = (path for path in site.rglob("*") if path.is_file())
        return sum(
            path.stat().st_size for path in files if not _belongs_to_pip(path.relative_to(site))
        )


def check_contents(wheel: Path) -> None:
    """Check that the wheel contains the three packages with their Lua scripts, and nothing else."""
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
    metadata = f"{wheel.name.split('-')[0]}-{wheel.name.split('-')[1]}.dist-info"
    tops = {name.split("/")[0] for name in names}
    if tops != PACKAGES | {metadata}:
        sys.exit(f"the wheel must contain {sorted(PACKAGES)}, and contains {sorted(tops)}")
    if unwanted := [name for name in names if "test" in name or "__pycache__" in name]:
        sys.exit(f"the wheel must not contain {unwanted}")
    scripts = {str(path.relative_to(ROOT)) for path in (ROOT / "shared").rglob("*.lua")}
    if missing := scripts - set(names):
        sys.exit(f"the wheel lacks {sorted(missing)}")


def check_base(wheel: Path, folder: Path) -> int:
    """Check that the producer runs on its own; return the size of its environment in bytes."""
    base = Environment(folder)
    base.install(str(wheel))
    for command in COMMANDS:
        base.run("rmbg", *command.split(), RMBG_HOME=str(folder / "home"))
    base.run("rmbg-worker", "--help")
    code = f"import importlib.util as u; print(*[m for m in {HEAVY} if u.find_spec(m)])"
    if found := base.run("python", "-c", code).split():
        sys.exit(f"the base installation must not contain {', '.join(found)}")
    owners = json.loads(base.run("python", "-c", OWNERS))
    if owners != {package: [DISTRIBUTION] for package in PACKAGES}:
        sys.exit(f"only {DISTRIBUTION} may own these packages: {owners}")
    size_bytes = base.size_bytes()
    if size_bytes > MAX_BASE_BYTES:
        sys.exit(
            f"the base installation takes {size_bytes:,} bytes; the limit is {MAX_BASE_BYTES:,}"
        )
    return size_bytes


def check_worker(wheel: Path, folder: Path) -> str:
    """Check that the worker processes an image; return the output of `rmbg-worker --check`."""
    worker = Environment(folder)
    worker.install(f"{wheel}[worker]")
    return worker.run("rmbg-worker", "--check", RMBG_MODELS=MODEL, RMBG_DEVICE="cpu")


def main(dist: Path) -> None:
    """Check the only wheel in *dist*."""
    [wheel] = dist.resolve().glob("*.whl")
    check_contents(wheel)
    with tempfile.TemporaryDirectory(prefix="rmbg-wheel-") as folder:
        size_bytes = check_base(wheel, Path(folder) / "base")
        output = check_worker(wheel, Path(folder) / "worker")
    sys.stdout.write(f"{wheel.name}: base installation {size_bytes / 1e6:.0f} MB; worker {output}")


def _may_pass(name: str) -> bool:
    """Tell whether a variable may be inherited: not if it could point to the checkout."""
    return not name.startswith(("PYTHON", "VIRTUAL_ENV", "RMBG_", "AWS_"))


def _belongs_to_pip(path: Path) -> bool:
    return path.parts[0].startswith(("pip", "setuptools", "_distutils", "distutils"))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
