"""Importing torch takes 2 s, so that modules used before a model is loaded do not import it."""

import subprocess
import sys

import pytest

CODE = """
import sys
sys.path[:] = sys.argv[2:]
__import__(sys.argv[1])
print("torch" in sys.modules)
"""


@pytest.mark.parametrize("module", ["api", "model_cache", "loader", "device_kind"])
def test_a_module_used_before_a_model_is_loaded_does_not_import_torch(module):
    ended = subprocess.run(
        [sys.executable, "-c", CODE, f"worker.inference.{module}", *sys.path],
        capture_output=True,
        text=True,
        check=True,
    )

    assert ended.stdout == "False\n"
