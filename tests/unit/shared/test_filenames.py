"""Images and other files, told apart by their names."""

import tracemalloc

import pytest

from shared.filenames import Others, is_image


@pytest.mark.parametrize("name", ["a.jpg", "b/c.JPEG", "x.tar.png", "d.e/f.WebP", ".hidden/g.heic"])
def test_images_are_recognised_by_extension_in_any_case(name):
    assert is_image(name)


@pytest.mark.parametrize("ending", ["hif", "mpo", "apng", "pjpeg", "dib", "JFI", "Jps", "heics"])
def test_rare_extensions_of_formats_that_are_read_are_recognised(ending):
    assert is_image(f"shop/a.{ending}")


@pytest.mark.parametrize(
    "name",
    [
        "._a.jpg",
        "shop/._a.jpg",
        "__MACOSX/shop/a.jpg",
        "shop/@eaDir/a.jpg/SYNOFILE_THUMB_M.jpg",
        "#recycle/a.jpg",
        "$RECYCLE.BIN/S-1-5-21/$RAB12CD.jpg",
        "System Volume Information/a.png",
        ".@__thumb/s100a.jpg",
        ".thumbnails/normal/0a.png",
        ".Trash-1000/files/a.jpg",
        ".AppleDouble/a.jpg",
        ".stversions/a.jpg",
        "Thumbs.db",
        ".DS_Store",
    ],
)
def test_files_that_systems_create_beside_images_are_not_images(name):
    assert not is_image(name)


def test_some_other_files_are_named_first_one_of_each_kind():
    others = Others()
    for n in range(9):
        others.add(f"._{n}.jpg")
    for name in ("a.txt", "b.txt", "c.PSD", "d"):
        others.add(name)

    assert others.describe("ignored") == (
        "13 other files ignored: a.txt, c.PSD, d, b.txt, ._0.jpg, ..."
    )


def test_few_other_files_are_all_named_and_escaped():
    others = Others()
    assert others.describe() == "0 other files"

    others.add("a\nb\udce9.txt")

    assert others.describe() == r"1 other file: a\nb\udce9.txt"


def test_names_of_other_files_are_not_all_held_in_memory():
    others = Others()
    tracemalloc.start()
    try:
        for n in range(50_000):
            others.add(f"a.{n}")
            others.add(f"{n}.txt")
        _, peak_bytes = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()

    assert others.count == 100_000
    assert peak_bytes < 100_000


@pytest.mark.parametrize("name", ["a", "jpg", "a.jpg/b", "a.jpg/", "a.txt", "a.jpg.txt", ""])
def test_other_names_are_not_images(name):
    assert not is_image(name)
