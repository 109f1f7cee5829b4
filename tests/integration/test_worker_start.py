"""Errors that stop `rmbg-worker` at start, and `--check`, through the console script."""

import subprocess
import sys
from pathlib import Path

import pytest
from support.command import environment
from support.redis_server import RedisServer

from shared.models.registry import get

pytestmark = pytest.mark.integration

COMMAND = Path(sys.executable).with_name("rmbg-worker")
ISNET = get("isnet-general-use")
SOURCE = ISNET.sources[1]


def run(*args, timeout_s=240, **variables):
    """Run `rmbg-worker` until it exits; neither Redis nor S3 is reachable."""
    unreachable = {
        "RMBG_REDIS_URL": "redis://127.0.0.1:9/0",
        "RMBG_S3_ENDPOINT": "http://127.0.0.1:9",
    }
    return subprocess.run(
        [COMMAND, *args],
        check=False,
        capture_output=True,
        text=True,
        timeout=timeout_s,
        env=environment(unreachable | {"RMBG_OFFLINE": "1", "RMBG_MODELS": ISNET.name} | variables),
    )


def error_of(done):
    """Return the error of a worker that could not start: printed once, with exit code 2."""
    assert done.returncode == 2, done.stderr
    assert "Traceback" not in done.stderr
    assert done.stdout == ""
    said = [line for line in done.stderr.splitlines() if line.startswith("rmbg-worker: ")]
    assert len(said) == 1, done.stderr
    return done.stderr[done.stderr.index(said[0]) :]


@pytest.fixture
def home(tmp_path):
    (tmp_path / "weights").mkdir()
    return tmp_path


def weights_path(home):
    """Return the path at which the cache expects the weights of isnet-general-use."""
    return home / "weights" / f"{SOURCE.digits[:16]}-{SOURCE.file_name}"


@pytest.fixture
def has_no_gpu():
    import torch  # noqa: PLC0415 - slow, and needed by two tests only

    if torch.cuda.is_available():
        pytest.skip("this machine has a GPU")


@pytest.mark.weights
@pytest.mark.parametrize("device", ["cuda", "cuda:3"])
def test_a_missing_device_is_an_error_and_the_cpu_is_not_used_instead(has_no_gpu, device):
    from support.weights import isnet_weights  # noqa: PLC0415

    home = isnet_weights().parents[1]

    said = error_of(run("--check", RMBG_HOME=str(home), RMBG_DEVICE=device))

    assert f"device '{device}'" in said
    assert "0 CUDA devices" in said


def test_missing_weights_are_reported_with_the_command_that_downloads_them(home):
    said = error_of(run(RMBG_HOME=str(home)))

    assert ISNET.name in said
    assert str(home / "weights") in said
    assert f"rmbg weights pull {ISNET.name}" in said


@pytest.mark.parametrize("content", [b"", b"not weights"], ids=["empty", "other"])
def test_altered_weights_are_reported_with_both_hashes(home, content):
    weights_path(home).write_bytes(content)

    said = error_of(run(RMBG_HOME=str(home)))

    assert str(weights_path(home)) in said
    assert SOURCE.digits in said
    assert "SHA-256 is" in said
    assert "rmbg weights pull" in said


@pytest.mark.weights
def test_truncated_weights_are_detected(home):
    from support.weights import isnet_weights  # noqa: PLC0415

    whole = isnet_weights().read_bytes()
    weights_path(home).write_bytes(whole[: len(whole) // 2])

    said = error_of(run(RMBG_HOME=str(home)))

    assert SOURCE.digits in said
    assert f"({len(whole) // 2} bytes)" in said


def test_missing_or_invalid_custom_weights_are_named(home):
    own = home / "own.onnx"

    assert str(own) in error_of(run(RMBG_HOME=str(home), RMBG_WEIGHTS=str(own)))
    own.write_bytes(b"nonsense")

    assert str(own) in error_of(run(RMBG_HOME=str(home), RMBG_WEIGHTS=str(own)))


def test_an_unknown_model_is_answered_with_the_known_ones(home):
    said = error_of(run(RMBG_HOME=str(home), RMBG_MODELS="u3net"))

    assert "u3net" in said
    assert ISNET.name in said


def test_a_non_commercial_model_is_refused_for_commercial_use(home):
    said = error_of(run(RMBG_HOME=str(home), RMBG_MODELS="RMBG-1.4", RMBG_COMMERCIAL="1"))

    assert "RMBG_COMMERCIAL" in said
    assert "non-commercial" in said


def test_an_unwritable_cache_is_named(tmp_path):
    blocked = tmp_path / "file"
    blocked.write_bytes(b"")

    assert str(blocked) in error_of(run(RMBG_HOME=str(blocked / "home")))


@pytest.mark.weights
def test_check_needs_neither_redis_nor_s3():
    from support.weights import isnet_weights  # noqa: PLC0415

    done = run("--check", RMBG_HOME=str(isnet_weights().parents[1]), RMBG_DEVICE="cpu")

    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("ok: isnet-general-use on cpu, one image in ")
    assert "ComfyUI/cutout/synthetic.png.png" in done.stdout


@pytest.mark.parametrize(
    ("options", "named"),
    [
        (("--maxmemory", "200mb", "--maxmemory-policy", "allkeys-lru"), "allkeys-lru"),
        (("--user", "lim", "on", ">pw", "~*", "+@all", "-zadd"), "may not run ZADD"),
    ],
    ids=["evicting", "rights"],
)
def test_a_worker_refuses_a_redis_that_loses_jobs_or_refuses_commands(home, options, named):
    with RedisServer(options=options) as server:
        user = "lim:pw@" if "lim" in options else ""
        url = f"redis://{user}127.0.0.1:{server.port}/0"

        said = error_of(run(RMBG_HOME=str(home), RMBG_REDIS_URL=url))

    assert "job store: " in said
    assert named in said


def test_a_worker_starts_with_an_evicting_redis_if_that_is_accepted(home):
    """It gets as far as the weights."""
    with RedisServer(
        options=("--maxmemory", "200mb", "--maxmemory-policy", "allkeys-lru")
    ) as server:
        url = f"redis://127.0.0.1:{server.port}/0"
        said = run(RMBG_HOME=str(home), RMBG_REDIS_URL=url, RMBG_ALLOW_EVICTION="1").stderr

    assert "rmbg weights pull" in said
    assert "CONFIG SET maxmemory-policy noeviction" in said
    assert "CONFIG SET appendonly yes" in said
