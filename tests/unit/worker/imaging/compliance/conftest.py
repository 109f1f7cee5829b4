"""A random generator whose seed is drawn at run time, and shown when a test fails."""

import secrets
import sys

import numpy as np
import pytest


@pytest.fixture
def rng():
    seed = secrets.randbits(32)
    sys.stdout.write(f"seed {seed}\n")
    return np.random.default_rng(seed)
