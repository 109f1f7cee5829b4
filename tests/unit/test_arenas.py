"""Heaps of glibc, counted in a process of its own: the setting lasts as long as the process."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from worker.arenas import ARENAS

COUNT = """
import ctypes, os, sys, threading
from worker.arenas import limit_arenas

if sys.argv[1] == "limited":
    limit_arenas(os.environ)
libc = ctypes.CDLL(None)
everyone_has_one = threading.Barrier(8)

def take():
    libc.malloc(100)
    everyone_has_one.wait()

threads = [threading.Thread(target=take) for _ in range(8)]
[thread.start() for thread in threads]
[thread.join() for thread in threads]
libc.fdopen.restype = ctypes.c_void_p
libc.malloc_info(0, ctypes.c_void_p(libc.fdopen(1, b"w")))
libc.fflush(None)
"""

pytestmark = pytest.mark.skipif(
    "CS_GNU_LIBC_VERSION" not in os.confstr_names, reason="only glibc has arenas"
)


def heaps(how, **env):
    command = [sys.executable, "-c", COUNT, how]
    done = subprocess.run(
        command,
        check=True,
        capture_output=True,
        text=True,
        env={"PYTHONPATH": str(Path.cwd()), **env},
    )
    return done.stdout.count("<heap ")


def test_eight_threads_share_two_heaps_once_limited():
    assert heaps("limited") <= ARENAS < heaps("free")


def test_a_number_that_was_asked_for_stands():
    assert heaps("limited", MALLOC_ARENA_MAX="4") == heaps("free", MALLOC_ARENA_MAX="4") > ARENAS
