"""The console script itself, where no service is needed: usage, exit codes, what it imports."""

import json
import os
import pty
import signal
import socket
import subprocess
import sys

import pytest
from support.command import RMBG, complaint, environment, rmbg

COMMANDS = [
    *("run", "submit", "status", "watch", "jobs", "results"),
    *("failures", "cancel", "retry", "verify", "weights", "doctor"),
]


@pytest.mark.parametrize("args", [["--help"], *([name, "--help"] for name in COMMANDS)])
def test_help_of_every_command(args):
    done = rmbg(*args)

    assert done.returncode == 0
    assert done.stdout.startswith(b"Usage: rmbg")


def test_the_overview_names_every_command():
    text = rmbg("--help").stdout.decode()

    assert [name for name in COMMANDS if f"\n  {name} " not in text] == []


def test_help_imports_no_service_s_library():
    """So the overview is there at once, on the smallest machine."""
    heavy = ["celery", "kombu", "redis", "boto3", "botocore", "torch", "numpy", "PIL", "rich"]
    code = (
        "import sys\nfrom producer.cli import call\n"
        f"call(['--help'], {{}})\nprint([m for m in {heavy} if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True)

    assert done.stdout.endswith(b"[]\n")


@pytest.mark.parametrize("name", ["status", "jobs", "watch", "results", "failures"])
def test_commands_that_publish_nothing_do_not_import_celery(name):
    code = (
        "import sys, importlib\nfrom producer.cli import _COMMANDS\n"
        f"importlib.import_module(_COMMANDS[{name!r}][0].partition(':')[0])\n"
        "print([m for m in ('celery', 'kombu', 'boto3') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True)

    assert done.stdout == b"[]\n"


def test_an_unknown_command_gets_the_list():
    line = complaint(rmbg("sumbit"))

    assert line.startswith("no command 'sumbit'; there are: run, submit, status")


def test_an_unknown_option_gets_the_list():
    line = complaint(rmbg("submit", "--prefx", "s3://inbox/"))

    assert "'--prefx'" in line
    assert {"--prefix", "--keys", "--rem-mode", "--existing"} <= set(line.replace(",", "").split())


@pytest.mark.parametrize(
    ("option", "choices"),
    [
        ("--image-output", ["Hide", "Preview", "Save", "Hide/Save"]),
        ("--naming", ["source", "comfyui"]),
        ("--existing", ["replace", "keep", "fail"]),
        ("--priority", ["bulk", "interactive"]),
        ("--edges", ["source", "seed", "estimate"]),
        ("--stretch", ["guarded", "seed"]),
        ("--alpha", ["keep", "ignore"]),
        ("--truncated", ["fail", "accept"]),
        ("--png", ["fast", "small"]),
    ],
)
@pytest.mark.parametrize("command", [["submit"], ["run", ".", "out"]])
def test_a_choice_there_is_not_gets_those_there_are(command, option, choices):
    line = complaint(rmbg(*command, option, "nonsense"))

    assert option in line
    assert [choice for choice in choices if f"'{choice}'" not in line] == []


def test_an_unknown_mode_gets_the_list():
    line = complaint(rmbg("submit", "--rem-mode", "RMBG-9", stdin=b"a.jpg\n"))

    assert line == "unknown model 'RMBG-9'; use one of RMBG-1.4, isnet-general-use"


def test_a_model_without_commercial_licence_is_refused_where_that_is_asked_for():
    line = complaint(rmbg("submit", stdin=b"a.jpg\n", env={"RMBG_COMMERCIAL": "1"}))

    assert "RMBG-1.4 is licensed for non-commercial use only" in line
    assert line.endswith("models for commercial use: isnet-general-use")


@pytest.mark.parametrize("prefix", ["../up", "/abs", "a//b", "_jobs", "_preview/x", "", "a\nb"])
def test_a_prefix_that_escapes_is_refused(prefix):
    assert "prefix" in complaint(rmbg("submit", "--save-prefix", prefix, stdin=b"a.jpg\n"))


def test_a_review_prefix_that_escapes_is_refused():
    assert "'../up'" in complaint(rmbg("submit", "--route-review", "../up", stdin=b"a.jpg\n"))


@pytest.mark.parametrize("job_id", ["", "a/b", "-a", "a" * 65, "a b", "ä"])
def test_a_job_id_of_another_form_is_refused(job_id):
    assert "--job-id" in complaint(rmbg("submit", f"--job-id={job_id}", stdin=b"a.jpg\n"))


def test_a_bucket_outside_the_allow_list_is_refused_with_the_list():
    line = complaint(
        rmbg("submit", "--prefix", "s3://private/a/", env={"RMBG_INPUT_BUCKETS": "inbox,photos"})
    )

    assert line == "bucket 'private' is not in RMBG_INPUT_BUCKETS, which allows inbox, photos"


def test_keys_without_a_bucket_need_one_where_several_are_allowed():
    line = complaint(rmbg("submit", stdin=b"a.jpg\n", env={"RMBG_INPUT_BUCKETS": "inbox,photos"}))

    assert line == "--bucket is needed: one of inbox, photos"


@pytest.mark.parametrize("other", [["--keys", __file__], ["--bucket", "inbox"]])
def test_a_prefix_and_another_source_are_refused(other):
    assert "--prefix" in complaint(rmbg("submit", "--prefix", "s3://inbox/", *other))


def test_a_prefix_of_another_form_is_refused():
    assert "s3://bucket/prefix/" in complaint(rmbg("submit", "--prefix", "inbox/a/"))


def test_a_file_of_keys_that_is_not_there_is_named(tmp_path):
    line = complaint(rmbg("submit", "--keys", tmp_path / "nix.txt"))

    assert "nix.txt" in line
    assert "No such file" in line


def test_what_a_run_passes_over_is_counted_and_some_of_it_named(tmp_path):
    for n in range(6):
        (tmp_path / f"{n}.jpg").symlink_to("/nowhere")

    done = rmbg("run", tmp_path, tmp_path / "out")

    warning, refusal = done.stderr.decode().splitlines()
    assert warning.startswith("rmbg: warning: 6 skipped: 0.jpg (not a readable file), 1.jpg")
    assert warning.endswith("4.jpg (not a readable file), ...")
    assert refusal == f"rmbg: no image found in {tmp_path} (0 other files)"
    assert done.returncode == 2


def test_a_folder_that_cannot_be_made_is_named(tmp_path):
    """What the system refuses is no bug of ours to be shown with a traceback."""
    (tmp_path / "a.jpg").write_bytes(b"x")

    line = complaint(rmbg("run", tmp_path, tmp_path / "a.jpg" / "out"))

    assert line == f"{tmp_path}/a.jpg/out: Not a directory"


@pytest.mark.parametrize("option", ["--prompt", "--extra-pnginfo"])
def test_a_file_that_is_not_json_is_named(tmp_path, option):
    (tmp_path / "w.json").write_text("{'a': 1}")

    line = complaint(rmbg("submit", option, tmp_path / "w.json", stdin=b"a.jpg\n"))

    assert line.startswith(option)
    assert "w.json: not JSON" in line


def test_extra_pnginfo_must_be_an_object(tmp_path):
    (tmp_path / "w.json").write_text(json.dumps(["workflow"]))

    line = complaint(rmbg("submit", "--extra-pnginfo", tmp_path / "w.json", stdin=b"a.jpg\n"))

    assert "no JSON object" in line


@pytest.mark.parametrize(
    "command", ["status", "watch", "results", "failures", "cancel", "retry", "verify"]
)
def test_what_cannot_be_a_job_s_id_is_refused(command):
    assert "'../x'" in complaint(rmbg(command, "../x"))


def test_variables_that_cannot_be_used_are_reported_together():
    done = rmbg("jobs", env={"RMBG_REDIS_URL": "http://x", "RMBG_OFFLINE": "perhaps"})

    assert done.returncode == 2
    assert b"RMBG_REDIS_URL" in done.stderr
    assert b"RMBG_OFFLINE" in done.stderr
    assert b"Traceback" not in done.stderr


def test_on_a_terminal_submit_does_not_sit_and_wait_for_keys():
    ours, theirs = pty.openpty()
    try:
        done = subprocess.run(
            [RMBG, "submit"],
            check=False,
            stdin=theirs,
            capture_output=True,
            timeout=60,
            env=environment({}),
        )
    finally:
        os.close(ours)
        os.close(theirs)

    assert "no keys: give --prefix or --keys" in complaint(done)


def test_weights_list_names_licence_use_and_that_they_are_not_here(tmp_path):
    done = rmbg("weights", "list", "--dir", tmp_path)

    rows = [line.split("\t") for line in done.stdout.decode().splitlines()]
    assert [(row[0], row[2], row[3]) for row in rows] == [
        ("RMBG-1.4", "non-commercial use only", "-"),
        ("isnet-general-use", "commercial use allowed", "-"),
    ]


def test_weights_of_an_unknown_model_are_refused_with_the_list():
    assert "RMBG-1.4, isnet-general-use" in complaint(rmbg("weights", "pull", "nix"))


def test_weights_that_are_not_here_cannot_be_had_offline(tmp_path):
    done = rmbg(
        "weights", "pull", "isnet-general-use", "--dir", tmp_path, env={"RMBG_OFFLINE": "1"}
    )

    assert done.returncode == 2
    assert b"RMBG_OFFLINE" in done.stderr


def test_ctrl_c_exits_with_130():
    """A server that accepts and never answers keeps the command waiting until we interrupt."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        process = subprocess.Popen(
            [RMBG, "jobs"],
            stderr=subprocess.PIPE,
            env=environment({"RMBG_REDIS_URL": f"redis://127.0.0.1:{server.getsockname()[1]}/0"}),
        )
        connection, _ = server.accept()
        with connection:
            process.send_signal(signal.SIGINT)
            _, stderr = process.communicate(timeout=30)

    assert process.returncode == 130
    assert stderr.decode().strip() == "rmbg: interrupted"
