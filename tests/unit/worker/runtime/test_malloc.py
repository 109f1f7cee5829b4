"""The page faults of large blocks, in a process of its own, as malloc's settings are permanent."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.skipif(
    "CS_GNU_LIBC_VERSION" not in os.confstr_names, reason="only glibc has these settings"
)

FAULTS = """
import os, resource, sys, threading
import numpy as np
from worker.runtime.malloc import keep_memory

if sys.argv[1] == "kept":
    keep_memory(os.environ)

def faults():
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt

def work():
    for _ in range(2):
        np.ones(100_000_000, np.uint8)
    before = faults()
    for _ in range(5):
        np.ones(100_000_000, np.uint8)
    print(faults() - before)

thread = threading.Thread(target=work)
thread.start()
thread.join()
"""
PAGES = 5 * 100_000_000 // os.sysconf("SC_PAGESIZE")


def faults(how, **env):
    env |= {"PYTHONPATH": str(Path(__file__).parents[4])}
    command = [sys.executable, "-c", FAULTS, how]
    return int(subprocess.run(command, check=True, capture_output=True, text=True, env=env).stdout)


def test_reusing_freed_large_blocks_causes_no_page_faults():
    assert faults("kept") < PAGES / 100


def test_malloc_variables_of_the_environment_take_precedence():
    environ = {"MALLOC_MMAP_THRESHOLD_": "1000000"}

    assert faults("kept", **environ) > 10 * faults("kept")
