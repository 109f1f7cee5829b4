"""The environment of the worker process of each GPU."""

from shared.urls import parse_address
from worker.runtime.supervisor import child_env
from worker.settings import WorkerSettings

HOME = {"HOME": "/home/someone"}


def test_the_process_of_each_gpu_gets_its_own_port():
    env = HOME | {"RMBG_HTTP": "0.0.0.0:9464", "RMBG_MODELS": "m"}
    children = [child_env(n, WorkerSettings.from_env(env), env) for n in range(3)]

    assert [child["RMBG_HTTP"] for child in children] == [f"0.0.0.0:{9464 + n}" for n in range(3)]
    assert [child["RMBG_DEVICE"] for child in children] == ["cuda:0", "cuda:1", "cuda:2"]
    assert {child["RMBG_MODELS"] for child in children} == {"m"}


def test_an_ipv6_address_keeps_its_brackets():
    env = HOME | {"RMBG_HTTP": "[::1]:9464"}
    child = child_env(1, WorkerSettings.from_env(env), env)

    assert parse_address(child["RMBG_HTTP"]) == ("::1", 9465)


def test_without_an_address_no_process_gets_one():
    assert "RMBG_HTTP" not in child_env(1, WorkerSettings.from_env(HOME), HOME)
