"""The console script without services: help, usage errors, exit codes, imports."""

import importlib
import json
import os
import pty
import re
import signal
import socket
import subprocess
import sys
import tempfile

import click
import pytest
from support.command import RMBG, complaint, environment, rmbg

from producer.cli import _COMMANDS as SUMMARIES
from producer.cli import call
from shared.models.registry import REGISTRY, get

COMMANDS = [
    *("run", "serve", "remove", "submit", "status", "watch", "jobs", "results"),
    *("download", "failures", "cancel", "retry", "verify", "weights", "doctor"),
]


@pytest.mark.parametrize("args", [["--help"], *([name, "--help"] for name in COMMANDS)])
def test_every_command_has_help(args):
    done = rmbg(*args)

    assert done.returncode == 0
    assert done.stdout.startswith(b"Usage: rmbg")


class BrokenEnvironment(dict):
    """An environment that raises *error* when it is read."""

    def __init__(self, error):
        super().__init__()
        self._error = error

    def items(self):
        raise self._error


@pytest.mark.parametrize(
    "error", [RuntimeError("x"), RecursionError("x"), EOFError("x"), GeneratorExit("x")]
)
def test_an_unforeseen_error_is_one_line_and_exits_with_70(error, capsys, monkeypatch, tmp_path):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))

    code = call(["jobs"], BrokenEnvironment(error))

    [saved] = tmp_path.iterdir()
    line = capsys.readouterr().err.strip()
    assert code == 70
    assert re.match(rf"rmbg: unforeseen error, incident [0-9a-f]+: {type(error).__name__}: x", line)
    assert str(saved) in line
    assert "\n" not in line


def test_the_help_documents_the_exit_code_of_an_unforeseen_error():
    assert "70 unforeseen error" in " ".join(rmbg("--help").stdout.decode().split())


@pytest.mark.parametrize(
    ("args", "reason"),
    [
        ("submit", "no image keys; use --prefix, --keys or standard input"),
        *(
            (f"submit {option} -", f"'{option}': standard input is closed")
            for option in ("--keys", "--prompt", "--extra-pnginfo", "--thresholds")
        ),
    ],
)
def test_a_closed_standard_input_is_refused_in_one_line(args, reason):
    line = complaint(shell(f"{RMBG} {args} <&-"))

    assert reason in line


def shell(command, **env):
    """Run a shell command, for redirections; an empty file is standard input."""
    return subprocess.run(
        command,
        shell=True,
        check=False,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        timeout=60,
        env=environment(env),
    )


@pytest.mark.parametrize("args", ["--help", "weights list --dir /nowhere", "submit --help"])
def test_a_full_disk_behind_standard_output_is_named(args):
    assert complaint(shell(f"{RMBG} {args} >/dev/full")) == (
        "standard output: No space left on device"
    )


@pytest.mark.parametrize("redirection", [">&-", "2>&-", "<&- >&- 2>&-"])
def test_closed_outputs_change_neither_behaviour_nor_exit_code(redirection):
    assert shell(f"{RMBG} --help {redirection}").returncode == 0
    assert shell(f"{RMBG} nonsense {redirection}").returncode == 2


@pytest.mark.parametrize("args", ["--help", "weights list --dir /nowhere"])
def test_a_reader_that_closes_the_pipe_sees_no_traceback(args):
    done = shell(f"{RMBG} {args} | true")

    assert done.stderr == b""


def test_text_that_the_terminal_cannot_show_is_escaped():
    line = complaint(shell(f"{RMBG} status №1", PYTHONIOENCODING="iso-8859-1"))

    assert line.startswith(r"'\u21161' is not a valid job ID")


def test_a_missing_home_folder_is_one_line_that_names_the_setting():
    line = complaint(rmbg("jobs", env={"RMBG_HOME": "~nobody-here/x"}))

    assert line == (
        "invalid settings: RMBG_HOME: no home folder for '~nobody-here/x'; set HOME or RMBG_HOME"
    )


def test_the_help_lists_every_command():
    text = rmbg("--help").stdout.decode()

    assert [name for name in COMMANDS if f"\n  {name} " not in text] == []


@pytest.mark.parametrize("name", COMMANDS)
def test_the_list_of_commands_shows_the_first_line_of_each_command_s_help(name):
    location, summary = SUMMARIES[name]
    module, _, function = location.partition(":")

    assert getattr(importlib.import_module(module), function).help.splitlines()[0] == summary


@pytest.mark.parametrize("name", ["run", "submit"])
def test_every_option_of_a_job_has_help(name):
    module, _, function = SUMMARIES[name][0].partition(":")
    parameters = getattr(importlib.import_module(module), function).params
    options = [each for each in parameters if isinstance(each, click.Option)]

    assert len(options) > 15
    assert [option.name for option in options if not option.help] == []


def test_the_help_imports_no_service_library():
    """The help appears at once, even on a small machine."""
    heavy = ["celery", "kombu", "redis", "boto3", "botocore", "torch", "numpy", "PIL", "rich"]
    code = (
        "import sys\nfrom producer.cli import call\n"
        f"call(['--help'], {{}})\nprint([m for m in {heavy} if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True)

    assert done.stdout.endswith(b"[]\n")


@pytest.mark.parametrize("name", ["status", "jobs", "watch", "results", "failures"])
def test_commands_that_publish_no_tickets_do_not_import_celery(name):
    code = (
        "import sys, importlib\nfrom producer.cli import _COMMANDS\n"
        f"importlib.import_module(_COMMANDS[{name!r}][0].partition(':')[0])\n"
        "print([m for m in ('celery', 'kombu', 'boto3') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True)

    assert done.stdout == b"[]\n"


def test_the_error_for_an_unknown_command_lists_all_commands():
    line = complaint(rmbg("sumbit"))

    assert line.startswith("unknown command 'sumbit'; commands: run, serve, remove, submit")


def test_the_error_for_an_unknown_option_lists_all_options():
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
        ("--previews", ["none", "sample", "all"]),
        ("--edges", ["source", "seed", "estimate"]),
        ("--stretch", ["guarded", "seed"]),
        ("--alpha", ["keep", "ignore"]),
        ("--truncated", ["fail", "accept"]),
        ("--png", ["fast", "small"]),
    ],
)
@pytest.mark.parametrize("command", [["submit"], ["run", ".", "out"]])
def test_the_error_for_an_invalid_choice_lists_the_choices(command, option, choices):
    line = complaint(rmbg(*command, option, "nonsense"))

    assert option in line
    assert [choice for choice in choices if f"'{choice}'" not in line] == []


def test_the_error_for_an_unknown_model_lists_all_models():
    line = complaint(rmbg("submit", "--rem-mode", "RMBG-9", stdin=b"a.jpg\n"))

    assert "'RMBG-9'" in line
    assert line.endswith(f"use one of {', '.join(REGISTRY)}")


def test_commercial_use_refuses_a_non_commercial_model():
    line = complaint(rmbg("submit", stdin=b"a.jpg\n", env={"RMBG_COMMERCIAL": "1"}))

    assert "RMBG-1.4 is licensed for non-commercial use only" in line
    allowed = line.partition("models for commercial use: ")[2].split(", ")
    assert set(REGISTRY) - set(allowed) == {"RMBG-1.4", "bria-rmbg"}


@pytest.mark.parametrize("prefix", ["../up", "/abs", "a//b", "_jobs", "_preview/x", "", "a\nb"])
def test_an_invalid_save_prefix_is_refused(prefix):
    assert "prefix" in complaint(rmbg("submit", "--save-prefix", prefix, stdin=b"a.jpg\n"))


def test_an_invalid_review_prefix_is_refused():
    assert "'../up'" in complaint(rmbg("submit", "--route-review", "../up", stdin=b"a.jpg\n"))


@pytest.mark.parametrize("job_id", ["", "a/b", "-a", "a" * 65, "a b", "ä"])
def test_an_invalid_new_job_id_is_refused(job_id):
    assert "--job-id" in complaint(rmbg("submit", f"--job-id={job_id}", stdin=b"a.jpg\n"))


def test_the_error_for_a_forbidden_input_bucket_lists_the_allowed_ones():
    line = complaint(
        rmbg("submit", "--prefix", "s3://private/a/", env={"RMBG_INPUT_BUCKETS": "inbox,photos"})
    )

    assert line == "bucket 'private' is not in RMBG_INPUT_BUCKETS; allowed: inbox, photos"


def test_keys_need_a_bucket_if_several_are_allowed():
    line = complaint(rmbg("submit", stdin=b"a.jpg\n", env={"RMBG_INPUT_BUCKETS": "inbox,photos"}))

    assert line == "--bucket is required; allowed: inbox, photos"


@pytest.mark.parametrize("other", [["--keys", __file__], ["--bucket", "inbox"]])
def test_a_prefix_cannot_be_combined_with_keys_or_a_bucket(other):
    assert "--prefix" in complaint(rmbg("submit", "--prefix", "s3://inbox/", *other))


def test_a_prefix_that_is_not_an_s3_url_is_refused():
    assert "s3://bucket/prefix/" in complaint(rmbg("submit", "--prefix", "inbox/a/"))


def test_the_error_for_a_missing_key_file_names_the_file(tmp_path):
    line = complaint(rmbg("submit", "--keys", tmp_path / "nix.txt"))

    assert "nix.txt" in line
    assert "No such file" in line


def test_a_run_counts_skipped_files_and_names_some_of_them(tmp_path):
    for n in range(6):
        (tmp_path / f"{n}.jpg").symlink_to("/nowhere")

    done = rmbg("run", tmp_path, tmp_path / "out")

    warning, refusal = done.stderr.decode().splitlines()
    assert warning.startswith("rmbg: warning: 6 skipped: 0.jpg (not a readable file), ")
    assert [f"{n}.jpg" in warning for n in range(6)] == [True] * 5 + [False]
    assert warning.endswith(", ...")
    assert refusal == f"rmbg: no image found in {tmp_path} (0 other files)"
    assert done.returncode == 2


def test_a_run_names_an_output_folder_that_it_cannot_create(tmp_path):
    """An error of the operating system is shown without a traceback."""
    (tmp_path / "a.jpg").write_bytes(b"x")

    line = complaint(rmbg("run", tmp_path, tmp_path / "a.jpg" / "out"))

    assert line == f"{tmp_path}/a.jpg/out: Not a directory"


@pytest.mark.parametrize("option", ["--prompt", "--extra-pnginfo"])
def test_the_error_for_invalid_json_names_the_option_and_the_file(tmp_path, option):
    (tmp_path / "w.json").write_text("{'a': 1}")

    line = complaint(rmbg("submit", option, tmp_path / "w.json", stdin=b"a.jpg\n"))

    assert line.startswith(option)
    assert "w.json is not valid JSON" in line


@pytest.mark.parametrize("option", ["--prompt", "--extra-pnginfo", "--thresholds"])
@pytest.mark.parametrize(
    ("body", "reason"),
    [("[" * 100_000, "is nested too deeply"), ("9" * 5000, "has a number of over 4,300 digits")],
    ids=["depth", "digits"],
)
def test_json_beyond_the_limits_of_the_parser_is_refused(tmp_path, option, body, reason):
    (tmp_path / "w.json").write_text(body)

    line = complaint(rmbg("submit", option, tmp_path / "w.json", stdin=b"a.jpg\n"))

    assert line == f"{option}: {tmp_path}/w.json {reason}"


def test_an_output_folder_that_is_a_loop_of_links_is_named(tmp_path):
    (tmp_path / "a.jpg").write_bytes(b"x")
    (tmp_path / "out").symlink_to(tmp_path / "out")

    assert complaint(rmbg("run", tmp_path, tmp_path / "out")).startswith(f"{tmp_path}/out: ")


@pytest.mark.parametrize("host", ["a..b", "x" * 64])
def test_a_host_name_that_cannot_be_looked_up_is_refused(host):
    line = complaint(rmbg("jobs", env={"RMBG_REDIS_URL": f"redis://{host}/0"}))

    assert "RMBG_REDIS_URL" in line


def test_extra_pnginfo_must_be_a_json_object(tmp_path):
    (tmp_path / "w.json").write_text(json.dumps(["workflow"]))

    line = complaint(rmbg("submit", "--extra-pnginfo", tmp_path / "w.json", stdin=b"a.jpg\n"))

    assert "must contain a JSON object" in line


@pytest.mark.parametrize(
    "command", ["status", "watch", "results", "failures", "cancel", "retry", "verify"]
)
def test_an_invalid_job_id_is_refused(command):
    assert "'../x'" in complaint(rmbg(command, "../x"))


def test_all_invalid_variables_are_reported_together():
    done = rmbg("jobs", env={"RMBG_REDIS_URL": "http://x", "RMBG_OFFLINE": "perhaps"})

    assert done.returncode == 2
    assert b"RMBG_REDIS_URL" in done.stderr
    assert b"RMBG_OFFLINE" in done.stderr
    assert b"Traceback" not in done.stderr


def test_submit_does_not_wait_for_keys_from_a_terminal():
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

    assert "no image keys; use --prefix, --keys" in complaint(done)


def test_weights_list_shows_permitted_use_and_missing_files(tmp_path):
    done = rmbg("weights", "list", "--dir", tmp_path)

    rows = [line.split("\t") for line in done.stdout.decode().splitlines()]
    found = {row[0]: tuple(row[2:]) for row in rows}
    assert list(found) == list(REGISTRY)
    assert found["RMBG-1.4"] == ("non-commercial use only", "-")
    assert found["isnet-general-use"] == ("commercial use allowed", "-")


def test_models_lists_other_names_use_and_weak_checksums(tmp_path):
    done = rmbg("models", env={"RMBG_HOME": str(tmp_path)})

    rows = {(row := line.split("\t"))[0]: row[1:] for line in done.stdout.decode().splitlines()}
    assert list(rows) == list(REGISTRY)
    licence = "CC-BY-NC-4.0 (BRIA RMBG-2.0, huggingface.co/briaai/RMBG-2.0)"
    assert rows["bria-rmbg"] == ["RMBG-2.0", "onnx", "non-commercial", licence, "-", "-"]
    assert rows["silueta"][4] == "weak"


def test_models_prints_whole_cards_as_json(tmp_path):
    done = rmbg("models", "--json", env={"RMBG_HOME": str(tmp_path)})

    cards = [json.loads(line) for line in done.stdout.decode().splitlines()]
    found = {card["name"]: card for card in cards}["u2net"]
    assert (found["input"]["side_px"], found["weak"], found["file"]) == (320, False, None)
    assert found["identity"] == get("u2net").identity


def test_weights_pull_of_an_unknown_model_lists_all_models():
    assert ", ".join(REGISTRY) in complaint(rmbg("weights", "pull", "nix"))


def test_weights_pull_fails_offline_if_the_weights_are_missing(tmp_path):
    done = rmbg(
        "weights", "pull", "isnet-general-use", "--dir", tmp_path, env={"RMBG_OFFLINE": "1"}
    )

    assert done.returncode == 2
    assert b"RMBG_OFFLINE" in done.stderr


def test_ctrl_c_exits_with_130():
    """A server that accepts connections but never answers keeps the command waiting."""
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
