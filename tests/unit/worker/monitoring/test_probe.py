"""The address that a worker serves HTTP at, and the health check that asks it."""

import subprocess
import sys

import pytest

from shared.errors import InvalidOption
from worker.settings import WorkerSettings

HOME = {"HOME": "/home/someone"}


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("0.0.0.0:9464", ("0.0.0.0", 9464)),
        ("localhost:0", ("localhost", 0)),
        ("[::1]:80", ("::1", 80)),
        ("", None),
        ("  ", None),
    ],
)
def test_an_address_is_host_and_port(text, address):
    assert WorkerSettings.from_env(HOME | {"RMBG_HTTP": text}).http == address


@pytest.mark.parametrize(
    "text", ["9464", ":9464", "host", "host:", "host:port", "host:70000", "http://host:1", "h:1/x"]
)
def test_an_invalid_address_is_refused_and_the_variable_is_named(text):
    with pytest.raises(InvalidOption, match="RMBG_HTTP"):
        WorkerSettings.from_env(HOME | {"RMBG_HTTP": text})


def test_the_health_check_imports_no_large_library():
    """It runs every few seconds beside the worker."""
    heavy = ["torch", "numpy", "PIL", "celery", "redis", "boto3", "prometheus_client"]
    code = (
        "import sys, worker.cli, worker.monitoring.probe\n"
        f"print([m for m in {heavy} if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert done.stdout == "[]\n"
