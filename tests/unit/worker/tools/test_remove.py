"""`rmbg remove` with the real network: the same pixels and records as `rmbg run`."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from support.command import RMBG, environment
from support.weights import isnet_weights

PHOTOS = Path(__file__).parents[4] / "examples/photos"
pytestmark = [pytest.mark.weights, pytest.mark.timeout(600)]

IMPORTS = """
import sys
sys.path[:] = sys.argv[1:]
import worker.tools.remove
import worker.inference.segmenter
heavy = ("celery", "kombu", "redis", "boto3", "botocore", "httpx", "rich")
print([name for name in heavy if name in sys.modules])
"""


def call(*args, stdin=b"", stdout=subprocess.PIPE):
    """Run `rmbg` with the real weights."""
    return subprocess.run(
        [RMBG, *map(str, args), "--rem-mode", "isnet-general-use"],
        env=environment({"RMBG_HOME": str(isnet_weights().parents[1])}),
        input=stdin,
        stdout=stdout,
        stderr=subprocess.PIPE,
        check=False,
    )


def files(folder):
    """Return the bytes of all outputs below *folder*, by path."""
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in folder.rglob("*")
        if path.suffix in (".png", ".jpg")
    }


def records(folder):
    return [json.loads(line) for line in (folder / "results.jsonl").read_text().splitlines()]


@pytest.mark.integration
def test_outputs_and_records_equal_those_of_a_run(tmp_path):
    """Also of an image that cannot be decoded."""
    src, ran, removed = (tmp_path / name for name in ("src", "ran", "removed"))
    (src / "sub").mkdir(parents=True)
    shutil.copy(PHOTOS / "coffee.jpg", src / "sub")
    shutil.copy(PHOTOS / "cat.jpg", src)
    (src / "bad.jpg").write_bytes(b"no image")
    options = ("--alpha", "auto", "--output", "cutout", "--output", "amazon-main")

    first = call("run", src, ran, *options)
    second = call("remove", src, removed, *options)

    assert (first.returncode, second.returncode) == (1, 1), (first, second)
    assert b"bad.jpg: UndecodableImage: " in second.stderr
    assert len(files(removed)) == 6
    assert files(removed) == files(ran)
    assert records(removed) == records(ran)
    assert not (ran / ".rmbg").exists()


def test_one_image_goes_from_standard_input_to_standard_output_or_to_a_file(tmp_path):
    photo, out = PHOTOS / "coffee.jpg", tmp_path / "new/coffee.png"

    streamed = call("remove", "-", stdin=photo.read_bytes())
    written = call("remove", photo, out, "--records", tmp_path / "records.jsonl")

    assert (streamed.returncode, written.returncode) == (0, 0), (streamed, written)
    assert streamed.stdout == out.read_bytes()
    assert (streamed.stderr, written.stdout, written.stderr) == (b"", b"", b"")
    [record] = map(json.loads, (tmp_path / "records.jsonl").read_text().splitlines())
    assert (record["image_key"], record["cutout_key"]) == ("coffee.jpg", "cutout/coffee.jpg.png")


def test_an_image_that_fails_exits_with_1(tmp_path):
    done = call("remove", "-", tmp_path / "out.png", stdin=b"no image")

    assert done.returncode == 1
    assert done.stderr.startswith(b"rmbg: stdin: UndecodableImage: ")
    assert not (tmp_path / "out.png").exists()


def test_a_closed_pipe_is_one_sentence():
    process = subprocess.Popen(
        [RMBG, "remove", PHOTOS / "coffee.jpg", "--rem-mode", "isnet-general-use"],
        env=environment({"RMBG_HOME": str(isnet_weights().parents[1])}),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    process.stdout.close()
    said = process.stderr.read()
    process.stderr.close()

    assert process.wait() == 2
    assert said == b"rmbg: cannot write to standard output: Broken pipe\n"


def test_no_client_of_a_service_is_imported():
    ended = subprocess.run(
        [sys.executable, "-c", IMPORTS, *sys.path], capture_output=True, text=True, check=True
    )

    assert ended.stdout == "[]\n"
