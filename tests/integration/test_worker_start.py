"""What `rmbg-worker` says and does when it cannot start: the console script itself."""

import subprocess
import sys
from pathlib import Path

import pytest
from support.command import environment

from shared.models.registry import get

pytestmark = pytest.mark.integration

COMMAND = Path(sys.executable).with_name("rmbg-worker")
ISNET = get("isnet-general-use")
SOURCE = ISNET.sources[1]


def run(*args, timeout_s=120, **variables):
    """Run `rmbg-worker` to its end; nothing it could reach is there."""
    away = {"RMBG_REDIS_URL": "redis://127.0.0.1:9/0", "RMBG_S3_ENDPOINT": "http://127.0.0.1:9"}
    return subprocess.run(
        [COMMAND, *args],
        check=False,
        capture_output=True,
        text=True,
        timeout=timeout_s,
        env=environment(away | {"RMBG_OFFLINE": "1", "RMBG_MODELS": ISNET.name} | variables),
    )


def complaint(done):
    """Return what a worker said that cannot be started: told once, and exit code 2."""
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


def place(home):
    """Return where the cache expects the weights that the tests can have."""
    return home / "weights" / f"{SOURCE.sha256[:16]}-{SOURCE.file_name}"


@pytest.fixture
def has_no_gpu():
    import torch  # noqa: PLC0415 - seconds, and for two tests only

    if torch.cuda.is_available():
        pytest.skip("this machine has a GPU")


@pytest.mark.weights
@pytest.mark.parametrize("device", ["cuda", "cuda:3"])
def test_a_device_that_is_not_there_is_an_error_and_no_silent_cpu(has_no_gpu, device):
    from support.weights import isnet_weights  # noqa: PLC0415

    home = isnet_weights().parents[1]

    said = complaint(run("--check", RMBG_HOME=str(home), RMBG_DEVICE=device))

    assert f"device '{device}'" in said
    assert "0 CUDA devices" in said


def test_missing_weights_say_what_where_and_how_to_get_them(home):
    said = complaint(run(RMBG_HOME=str(home)))

    assert ISNET.name in said
    assert str(home / "weights") in said
    assert f"rmbg weights pull {ISNET.name}" in said


@pytest.mark.parametrize("content", [b"", b"not weights"], ids=["empty", "other"])
def test_altered_weights_say_both_hashes_and_what_to_do(home, content):
    place(home).write_bytes(content)

    said = complaint(run(RMBG_HOME=str(home)))

    assert str(place(home)) in said
    assert SOURCE.sha256 in said
    assert "SHA-256 is" in said
    assert "rmbg weights pull" in said


@pytest.mark.weights
def test_truncated_weights_are_recognised(home):
    from support.weights import isnet_weights  # noqa: PLC0415

    whole = isnet_weights().read_bytes()
    place(home).write_bytes(whole[: len(whole) // 2])

    said = complaint(run(RMBG_HOME=str(home)))

    assert SOURCE.sha256 in said
    assert f"({len(whole) // 2} bytes)" in said


def test_own_weights_that_are_missing_or_nonsense_are_named(home):
    own = home / "own.onnx"

    assert str(own) in complaint(run(RMBG_HOME=str(home), RMBG_WEIGHTS=str(own)))
    own.write_bytes(b"nonsense")

    assert str(own) in complaint(run(RMBG_HOME=str(home), RMBG_WEIGHTS=str(own)))


def test_an_unknown_model_gets_the_list(home):
    said = complaint(run(RMBG_HOME=str(home), RMBG_MODELS="u2net"))

    assert "u2net" in said
    assert ISNET.name in said


def test_a_licence_that_forbids_it_is_refused(home):
    said = complaint(run(RMBG_HOME=str(home), RMBG_MODELS="RMBG-1.4", RMBG_COMMERCIAL="1"))

    assert "RMBG_COMMERCIAL" in said
    assert "non-commercial" in said


def test_a_cache_that_cannot_be_written_is_named(tmp_path):
    blocked = tmp_path / "file"
    blocked.write_bytes(b"")

    assert str(blocked) in complaint(run(RMBG_HOME=str(blocked / "home")))


@pytest.mark.weights
def test_the_check_needs_neither_redis_nor_s3():
    from support.weights import isnet_weights  # noqa: PLC0415

    done = run("--check", RMBG_HOME=str(isnet_weights().parents[1]), RMBG_DEVICE="cpu")

    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("ok: isnet-general-use on cpu, one picture in ")
    assert "ComfyUI/cutout/made.png.png" in done.stdout
