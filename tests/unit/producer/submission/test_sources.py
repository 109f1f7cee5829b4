"""Keys from lines, and image extensions; the integration tests list prefixes."""

import io
import itertools
import tracemalloc

import pytest

from producer.submission.sources import (
    KeySource,
    LineSource,
    Others,
    is_image,
    parse_prefix,
)
from shared.errors import InvalidOption


def lines(body):
    return LineSource(io.BytesIO(body), "keys.txt")


def test_keys_keep_the_order_of_the_lines():
    assert list(lines(b"b.jpg\na/c.png\nb.jpg\n")) == ["b.jpg", "a/c.png", "b.jpg"]


def test_blank_lines_and_carriage_returns_are_removed():
    assert list(lines(b"\r\na.jpg\r\n   \n\nb.jpg")) == ["a.jpg", "b.jpg"]


def test_spaces_around_a_key_are_kept():
    """They are legal in a bucket; without them the key names another object."""
    assert list(lines(b" a.jpg \n")) == [" a.jpg "]


def test_a_byte_order_mark_is_not_part_of_the_first_key():
    assert list(lines("\N{BOM}a.jpg\nb.jpg\n".encode())) == ["a.jpg", "b.jpg"]


def test_keys_may_contain_any_unicode_letter():
    assert list(lines("Schuhe/größe 42/№ 1.jpg\n".encode())) == ["Schuhe/größe 42/№ 1.jpg"]


def test_the_error_for_a_line_that_is_not_utf_8_names_the_line():
    with pytest.raises(InvalidOption, match=r"keys\.txt, line 2: not valid UTF-8"):
        list(lines(b"a.jpg\n\xff\xd8\xff\xe0\n"))


def test_an_overlong_line_is_refused_before_it_fills_memory():
    with pytest.raises(InvalidOption, match=r"keys\.txt, line 1: 4096 bytes or more"):
        list(lines(b"x" * 10_000_000))


def test_keys_are_not_all_held_in_memory():
    class Endless(io.RawIOBase):
        def __init__(self):
            self.keys = (b"catalogue/2026/%07d.jpg\n" % n for n in range(1_000_000))

        def readline(self, _size=-1):
            return next(self.keys, b"")

    tracemalloc.start()
    try:
        count = sum(1 for _ in itertools.islice(LineSource(Endless(), "x"), 200_000))
        _, peak_bytes = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()

    assert count == 200_000
    assert peak_bytes < 100_000


@pytest.mark.parametrize(
    ("source", "text"),
    [
        (
            LineSource(io.BytesIO(b"\n \n"), "keys.txt"),
            "no image keys in keys.txt; blank lines read: 2",
        ),
        (KeySource([]), "no image keys given"),
    ],
)
def test_an_empty_source_describes_what_was_read(source, text):
    assert list(source) == []
    assert source.describe_empty() == text


def test_keys_of_a_program_are_passed_through():
    assert list(KeySource(["a", "b"])) == ["a", "b"]


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


@pytest.mark.parametrize(
    ("url", "parts"),
    [
        ("s3://inbox/a/b/", ("inbox", "a/b/")),
        ("s3://inbox/a b//c", ("inbox", "a b//c")),
        ("s3://inbox/", ("inbox", "")),
        ("s3://inbox", ("inbox", "")),
    ],
)
def test_a_url_is_split_into_bucket_and_prefix(url, parts):
    assert parse_prefix(url) == parts


@pytest.mark.parametrize(
    "url", ["inbox/a/", "http://inbox/a", "s3:/inbox/a", "s3://", "s3:///a", "S3://inbox/"]
)
def test_the_error_for_an_invalid_url_shows_the_valid_form(url):
    with pytest.raises(InvalidOption, match="s3://bucket/prefix/"):
        parse_prefix(url)
