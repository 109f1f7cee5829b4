"""`rmbg-worker` where neither weights nor services are needed: usage and exit codes."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from support.command import environment

COMMAND = Path(sys.executable).with_name("rmbg-worker")


def run(*args, **variables):
    return subprocess.run(
        [COMMAND, *args],
        check=False,
        capture_output=True,
        text=True,
        timeout=60,
        env=environment(variables),
    )


def test_help_is_there_at_once():
    done = run("--help")

    assert done.returncode == 0
    assert done.stdout.startswith("Usage: rmbg-worker")
    assert "--check" in done.stdout
    assert "--devices" in done.stdout


def test_help_loads_neither_torch_nor_celery():
    heavy = ["torch", "numpy", "PIL", "celery", "redis", "boto3"]
    code = (
        "import sys\nfrom worker.cli import main\n"
        "try:\n    main(['--help'])\nexcept SystemExit:\n    pass\n"
        f"print([m for m in {heavy} if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert done.stdout.endswith("[]\n")


def test_the_version_is_the_distributions():
    done = run("--version")

    assert done.returncode == 0
    assert "0.1.0" in done.stdout


@pytest.mark.parametrize(
    "args", [["--no-such-option"], ["--devices", "some"], ["extra"], ["--per-device", "2"]]
)
def test_what_it_does_not_know_is_a_usage_error(args):
    assert run(*args).returncode == 2


def test_processes_of_a_gpu_need_all_devices():
    assert "--per-device needs --devices all" in run("--per-device", "2").stderr
    assert "0 is not in the range" in run("--devices", "all", "--per-device", "0").stderr


@pytest.mark.parametrize("args", [[], ["--check"], ["--devices", "all"]])
def test_all_bad_settings_are_told_at_once_with_exit_code_2(args):
    done = run(*args, RMBG_LEASE_S="soon", RMBG_MAX_ITEMS="none")

    assert done.returncode == 2
    assert done.stderr.startswith("rmbg-worker: ")
    assert "RMBG_LEASE_S" in done.stderr
    assert "RMBG_MAX_ITEMS" in done.stderr
    assert "Traceback" not in done.stderr


def test_without_the_workers_extra_it_says_what_to_install(tmp_path):
    """A base install has the command too."""
    (tmp_path / "torch.py").write_text("raise ModuleNotFoundError(\"No module named 'torch'\")")

    done = run("--check", PYTHONPATH=str(tmp_path))

    assert done.returncode == 2
    assert "pip install 'rmbg-queue[worker]'" in done.stderr


@pytest.mark.parametrize("args", [[], ["--check"], ["--devices", "all"]])
def test_an_unforeseen_error_ends_with_one_line_with_an_incident_and_exit_code_70(tmp_path, args):
    """Before it there are only log lines: services that the start could not reach."""
    (tmp_path / "torch.py").write_text('raise RuntimeError("unusable driver")')

    done = run(*args, PYTHONPATH=str(tmp_path), TMPDIR=str(tmp_path))

    assert done.returncode == 70
    *logged, line = done.stderr.splitlines()
    assert all(json.loads(each)["message"] == "service has a fault" for each in logged)
    assert line.startswith("rmbg-worker: unforeseen error, incident ")
    assert "RuntimeError: unusable driver" in line
    [saved] = tmp_path.glob("rmbg-incident-*.txt")
    assert "Traceback" in saved.read_text()


def test_services_are_not_probed_if_they_are_known_to_be_right(tmp_path):
    (tmp_path / "torch.py").write_text('raise RuntimeError("unusable driver")')

    done = run(PYTHONPATH=str(tmp_path), TMPDIR=str(tmp_path), RMBG_CHECK_SERVICES="0")

    assert done.returncode == 70
    assert "service has a fault" not in done.stderr


def test_a_file_that_cannot_be_read_is_named_in_one_line(tmp_path):
    (tmp_path / "torch.py").write_text('open("/dev/null/x")')

    done = run("--check", PYTHONPATH=str(tmp_path))

    assert (done.returncode, done.stderr) == (2, "rmbg-worker: /dev/null/x: Not a directory\n")


@pytest.mark.parametrize("closed", ["<&-", ">&-", "2>&-", "<&- >&- 2>&-"])
def test_closed_standard_streams_are_no_error(closed):
    """The exit code is that of the setting that is missing."""
    command = ["sh", "-c", f"exec {COMMAND} --probe {closed}"]
    done = subprocess.run(
        command, check=False, capture_output=True, text=True, timeout=60, env=environment({})
    )

    assert done.returncode == 2
    assert done.stderr == "" or "RMBG_HTTP is not set" in done.stderr


def test_all_devices_of_a_machine_without_any_is_an_error():
    import torch  # noqa: PLC0415 - seconds, and for one test only

    if torch.cuda.is_available():
        pytest.skip("this machine has a GPU")

    done = run("--devices", "all")

    assert done.returncode == 2
    assert "no CUDA device" in done.stderr
