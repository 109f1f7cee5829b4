"""`make gpu` without a GPU: the code that will measure one runs, and its checks pass."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = [pytest.mark.integration, pytest.mark.timeout(900)]

ROOT = Path(__file__).parents[2]
PARTS = ["facts", "masks", "in-flight", "tensorrt"]
"""Those that say most in the least time; `make gpu DEV=cpu` runs all that need no GPU."""


def run(tmp_path, *parts):
    """Run parts with `DEV=cpu`; return the exit code and the lines."""
    env = {"HOME": "/nonexistent", "PATH": os.defpath, "DEV": "cpu", "OUT": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.gpu", *parts],
        cwd=ROOT,
        env=env,
        capture_output=True,
        text=True,
        check=False,
    )
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    return done.returncode, lines, done.stderr


def test_the_checks_pass_without_a_gpu(tmp_path):
    code, lines, _ = run(tmp_path, *PARTS)

    steps = {line["step"]: line["rc"] for line in lines if "step" in line}
    assert steps == dict.fromkeys(("facts", "weights", "masks", "in-flight", "network-export"), 0)
    assert code == 0
    assert [line for line in lines if not line.get("ok", True)] == []
    kept = (tmp_path / "results.jsonl").read_text().splitlines()
    assert [json.loads(line) for line in kept] == lines


def test_an_unknown_part_is_refused_with_the_known_ones(tmp_path):
    code, lines, said = run(tmp_path, "speed")

    assert (code, lines) == (2, [])
    assert "unknown part speed; choose from facts, masks" in said
