"""`rmbg remove`: arguments that are refused before weights are looked for."""

import os
import subprocess

import pytest
from support.command import RMBG, complaint, environment, rmbg


@pytest.fixture
def photo(tmp_path):
    path = tmp_path / "a.jpg"
    path.write_bytes(b"an image, for all that this command knows")
    return path


@pytest.fixture
def offline(tmp_path):
    """An environment without weights, in which none can be fetched."""
    return {"RMBG_HOME": str(tmp_path / "home"), "RMBG_OFFLINE": "1"}


def test_a_file_that_exists_is_not_replaced(photo, tmp_path, offline):
    out = tmp_path / "out.png"
    out.write_bytes(b"mine")

    line = complaint(rmbg("remove", photo, out, env=offline))

    assert line == f"{out} exists; remove it, or give --force to replace files"
    assert out.read_bytes() == b"mine"


def test_outputs_in_a_folder_that_exist_are_not_replaced(photo, tmp_path, offline):
    (tmp_path / "out/cutout").mkdir(parents=True)

    line = complaint(rmbg("remove", photo, tmp_path / "out", env=offline))

    assert line.startswith(f"{tmp_path}/out/cutout exists")


def test_a_folder_that_cannot_be_written_is_named(photo, offline):
    assert complaint(rmbg("remove", photo, "/proc/out.png", env=offline)).startswith(
        "cannot write to /proc: "
    )


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (["--output", "cutout", "--output", "mask"], "outputs mask, cutout do not fit into one"),
        (["--rem-mode", "none"], "unknown model 'none'; use one of "),
        (["--solid", "blue"], "Invalid value for '--solid'"),
        (["--output", "no-such"], "no-such"),
    ],
)
def test_options_are_checked_before_weights_are_looked_for(photo, tmp_path, offline, args, said):
    assert said in complaint(rmbg("remove", photo, tmp_path / "b.png", *args, env=offline))


def test_weights_are_looked_for_last(photo, tmp_path, offline):
    done = rmbg("remove", photo, tmp_path / "b.png", env=offline)

    assert done.returncode == 2
    assert "downloads are off" in done.stderr.decode()


def test_several_images_need_a_folder(photo, tmp_path, offline):
    second = tmp_path / "b.jpg"
    second.write_bytes(b"another")

    line = complaint(rmbg("remove", photo, second, "-", env=offline))

    assert line == "several images do not fit into standard output; name a folder"


def test_two_files_of_one_name_are_refused(photo, tmp_path, offline):
    (tmp_path / "other").mkdir()
    second = tmp_path / "other/a.jpg"
    second.write_bytes(b"another")

    line = complaint(rmbg("remove", photo, second, tmp_path / "out/", env=offline))

    assert "have the same name" in line


def test_a_source_that_is_not_there_is_named(tmp_path, offline):
    line = complaint(rmbg("remove", tmp_path / "none.jpg", tmp_path / "out.png", env=offline))

    assert line == f"{tmp_path}/none.jpg: no such file or folder"


def test_standard_input_that_is_closed_is_refused(offline):
    done = subprocess.run(
        ["/bin/sh", "-c", f"{RMBG} remove - <&-"],
        env=environment(offline),
        capture_output=True,
        check=False,
    )

    assert complaint(done) == "standard input is closed"


def test_a_terminal_gets_no_image(photo, offline):
    primary, secondary = os.openpty()
    done = subprocess.run(
        [RMBG, "remove", photo],
        env=environment(offline),
        stdout=secondary,
        stderr=subprocess.PIPE,
        check=False,
    )
    os.close(primary)
    os.close(secondary)

    assert done.returncode == 2
    assert b"standard output is a terminal" in done.stderr


def test_a_closed_output_gets_no_image(photo, offline):
    """It would be lost, and the exit code would say that all is well."""
    done = subprocess.run(
        ["sh", "-c", 'exec "$0" remove "$1" - >&-', RMBG, photo],
        env=environment(offline),
        stderr=subprocess.PIPE,
        check=False,
    )

    assert done.returncode == 2
    assert b"standard output is closed" in done.stderr
