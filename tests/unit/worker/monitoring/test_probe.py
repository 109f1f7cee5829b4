"""Where a worker serves HTTP: the address as it is read, and each GPU's own."""

import subprocess
import sys

import pytest

from shared.errors import InvalidOption
from shared.urls import parse_address
from worker.runtime.supervisor import child_env
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
def test_what_is_no_address_is_refused_by_name(text):
    with pytest.raises(InvalidOption, match="RMBG_HTTP"):
        WorkerSettings.from_env(HOME | {"RMBG_HTTP": text})


def test_each_gpu_has_a_port_of_its_own():
    env = HOME | {"RMBG_HTTP": "0.0.0.0:9464", "RMBG_MODELS": "m"}
    children = [child_env(n, WorkerSettings.from_env(env), env) for n in range(3)]

    assert [child["RMBG_HTTP"] for child in children] == [f"0.0.0.0:{9464 + n}" for n in range(3)]
    assert [child["RMBG_DEVICE"] for child in children] == ["cuda:0", "cuda:1", "cuda:2"]
    assert {child["RMBG_MODELS"] for child in children} == {"m"}


def test_a_gpus_own_address_is_read_as_it_was_meant():
    env = HOME | {"RMBG_HTTP": "[::1]:9464"}
    child = child_env(1, WorkerSettings.from_env(env), env)

    assert parse_address(child["RMBG_HTTP"]) == ("::1", 9465)


def test_without_an_address_no_gpu_gets_one():
    assert "RMBG_HTTP" not in child_env(1, WorkerSettings.from_env(HOME), HOME)


def test_the_health_check_loads_nothing_heavy():
    """It runs every few seconds beside the worker."""
    heavy = ["torch", "numpy", "PIL", "celery", "redis", "boto3", "prometheus_client"]
    code = (
        "import sys, worker.cli, worker.monitoring.probe\n"
        f"print([m for m in {heavy} if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert done.stdout == "[]\n"
