"""`rmbg preview`: one image through all stages, with the real network."""

import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image
from support.weights import isnet_weights

PHOTO = Path(__file__).parents[4] / "examples/photos/coffee.jpg"


def preview(*args: object) -> subprocess.CompletedProcess[str]:
    rmbg = Path(sys.executable).with_name("rmbg")
    command = [rmbg, "preview", *map(str, args), "--rem-mode", "isnet-general-use"]
    return subprocess.run(command, capture_output=True, text=True, check=False)


@pytest.mark.weights
@pytest.mark.timeout(600)
def test_an_image_is_shown_with_its_outputs_and_what_their_checks_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RMBG_HOME", str(isnet_weights().parents[1]))
    (tmp_path / "tile.toml").write_text('format = "webp"\ncrop = true\nwidths = [64, 128]\n')
    out = tmp_path / "out"

    done = preview(
        PHOTO, "--output", tmp_path / "tile.toml", "--output", "amazon-main", "--folder", out
    )

    *lines, page = done.stdout.splitlines()
    assert (done.returncode, page) == (1, str(out / "preview.html")), done.stderr
    assert [line.split("\t")[:2] for line in lines] == [
        ["mask", "review"],
        ["tile", "ok"],
        ["amazon-main", "review"],
    ]
    written = {str(path.relative_to(out)) for path in out.rglob("*") if path.is_file()}
    assert written == {
        "preview.html",
        "mask/coffee.jpg.png",
        "tile/64/coffee.jpg.webp",
        "tile/128/coffee.jpg.webp",
        "amazon-main/coffee.jpg.jpg",
        "cutout/coffee.jpg.png",
    }
    html = Path(page).read_text()
    assert all(name in html for name in written - {"preview.html"})


@pytest.mark.weights
@pytest.mark.timeout(600)
def test_a_recipe_with_an_image_beside_it_is_previewed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RMBG_HOME", str(isnet_weights().parents[1]))
    Image.new("RGB", (40, 30), (0, 250, 0)).save(tmp_path / "green.png")
    (tmp_path / "wood.toml").write_text("size = 90\nfill = 0.2\nbackground = 'green.png'\n")

    done = preview(PHOTO, "--output", tmp_path / "wood.toml", "--folder", tmp_path / "out")

    assert "wood\tok" in done.stdout, done.stderr
    made = Image.open(tmp_path / "out/wood/coffee.jpg.png").convert("RGB")
    assert (made.size, made.getpixel((0, 0))) == ((90, 90), (0, 250, 0))


def test_a_preview_of_a_key_without_a_bucket_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("RMBG_INPUT_BUCKETS", raising=False)
    (tmp_path / "wood.toml").write_text("background = 'bg/wood.jpg'")

    done = preview(PHOTO, "--output", tmp_path / "wood.toml")

    assert done.returncode == 2
    assert "bg/wood.jpg: there is no such file beside the recipe file" in done.stderr


def test_an_image_that_is_not_there_is_named(tmp_path: Path) -> None:
    done = preview(tmp_path / "none.jpg", "--folder", tmp_path)
    assert done.returncode == 2
    assert "none.jpg: No such file or directory" in done.stderr
