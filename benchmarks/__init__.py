"""Benchmarks; `python -m benchmarks.NAME` also finds the helpers of the tests."""

import sys
from pathlib import Path

sys.path[:0] = [str(Path(__file__).parents[1] / "tests")]
