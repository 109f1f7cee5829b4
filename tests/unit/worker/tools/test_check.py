"""`rmbg check`: images that exist already are compared with the checks of presets."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image, ImageDraw

from shared.errors import InvalidOption
from shared.job.outputs import RecipeOutput
from shared.recipes import Recipe
from shared.tool_requests import CheckRequest
from worker.tools import run_tool
from worker.tools.check import check_files

SHOP = RecipeOutput(
    name="shop",
    recipe=Recipe.model_validate(
        {
            "checks": {
                "must": {"min_side_px": 500, "formats": ["jpg"], "fill": 0.85},
                "should": {"min_side_px": 900, "upscaled": True},
            }
        }
    ),
)


def disc(path: Path, side_px: int = 600, share: float = 0.9) -> Path:
    """Write a dark disc on white that fills *share* of the image."""
    image = Image.new("RGB", (side_px, side_px), "white")
    first, last = side_px * (1 - share) / 2, side_px * (1 + share) / 2
    ImageDraw.Draw(image).ellipse((first, first, last, last), fill=(40, 60, 80))
    image.save(path, quality=95, subsampling=0)
    return path


def run(*files: Path, as_json: bool = False) -> int:
    names = tuple(map(str, files))
    request = CheckRequest(files=names, outputs=(SHOP,), as_json=as_json)
    return check_files(request.model_dump_json().encode(), {})


def test_an_image_that_complies_is_ok_and_says_what_was_not_possible(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = disc(tmp_path / "a.jpg")

    assert run(path) == 0

    name, preset, verdict, told = capsys.readouterr().out.rstrip("\n").split("\t")
    assert (name, preset, verdict) == (str(path), "shop", "ok")
    assert told.startswith("note: min_side_px: 600x600 is too small")


@pytest.mark.parametrize(
    ("file", "told"),
    [
        ({"side_px": 400}, "min_side_px: 400x400 is too small"),
        ({"share": 0.5}, "fill: the subject fills 50"),
    ],
)
def test_a_check_that_must_pass_fails_with_its_value(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], file: dict[str, float], told: str
) -> None:
    assert run(disc(tmp_path / "a.jpg", **file)) == 1  # type: ignore[arg-type]
    assert f"\tfails\t{told}" in capsys.readouterr().out


def test_one_failing_file_among_good_ones_is_enough_for_exit_code_1(tmp_path: Path) -> None:
    (tmp_path / "b.jpg").write_bytes(b"no image")
    assert run(disc(tmp_path / "a.jpg"), tmp_path / "b.jpg") == 1
    assert run(tmp_path / "a.jpg") == 0


def test_json_has_every_finding(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run(disc(tmp_path / "a.jpg"), as_json=True)

    body = json.loads(capsys.readouterr().out)

    states = {(each["check"], each["level"]): each["state"] for each in body["findings"]}
    assert states == {
        ("fill", "must"): "passed",
        ("formats", "must"): "passed",
        ("min_side_px", "must"): "passed",
        ("min_side_px", "should"): "failed",
        ("upscaled", "should"): "not possible",
    }
    assert (body["ok"], body["error"]) == (True, None)


def test_files_that_cannot_be_opened_and_empty_folders_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidOption, match=r"cannot read .*none\.jpg: No such file"):
        run(tmp_path / "none.jpg")
    with pytest.raises(InvalidOption, match="no file to check"):
        run(tmp_path)


def test_a_tool_reads_its_request_from_an_open_file(tmp_path: Path) -> None:
    path = disc(tmp_path / "a.jpg")
    request = CheckRequest(files=(str(path),), outputs=(SHOP,))
    reader, writer = os.pipe()
    os.write(writer, request.model_dump_json().encode())
    os.close(writer)

    assert run_tool("check", reader, {}) == 0


def test_the_command_checks_files_and_folders(tmp_path: Path) -> None:
    """Through both commands: `rmbg` becomes `rmbg-worker`."""
    disc(tmp_path / "a.jpg")
    recipe = tmp_path / "shop.toml"
    recipe.write_text("[checks.must]\nmin_side_px = 700\n")
    rmbg = Path(sys.executable).with_name("rmbg")
    command = [rmbg, "check", tmp_path / "a.jpg", "--preset", str(recipe)]

    done = subprocess.run(command, capture_output=True, text=True, check=False)

    assert (done.returncode, done.stderr) == (1, "")
    assert done.stdout == f"{tmp_path}/a.jpg\tshop\tfails\tmin_side_px: 600x600 is too small\n"


@pytest.mark.parametrize(
    ("args", "told"),
    [
        (["--preset", "amazon-main"], "give files or --prefix, one of them"),
        (["a.jpg", "--preset", "mask"], "cutout and mask have no checks"),
        (["a.jpg", "--preset", "amazon"], "output 'amazon' is no preset; known: cutout, mask,"),
    ],
)
def test_wrong_usage_is_one_line_and_exit_code_2(args: list[str], told: str) -> None:
    rmbg = Path(sys.executable).with_name("rmbg")
    done = subprocess.run([rmbg, "check", *args], capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert told in done.stderr
    assert done.stderr.count("\n") == 1


def test_files_of_a_folder_that_are_no_images_are_ignored_and_counted(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    disc(tmp_path / "a.jpg")
    for name in ("notes.txt", "._a.jpg", "Thumbs.db"):
        (tmp_path / name).write_bytes(b"no image")

    assert run(tmp_path) == 0

    told = capsys.readouterr()
    assert len(told.out.splitlines()) == 1
    assert "ignored: 3" in told.err or "3 " in told.err, told.err


def test_a_file_that_is_named_is_checked_whatever_its_name(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_bytes(b"no image")

    assert run(tmp_path / "notes.txt") == 1
