"""Keys from lines, and what counts as a picture; prefixes are listed in the integration tests."""

import io
import itertools
import tracemalloc

import pytest

from producer.submission.sources import (
    KeySource,
    LineSource,
    at_least_one,
    is_picture,
    parse_prefix,
)
from shared.errors import InvalidOption, NoKeys


def lines(body):
    return LineSource(io.BytesIO(body), "keys.txt")


def test_one_key_a_line_in_the_file_s_order():
    assert list(lines(b"b.jpg\na/c.png\nb.jpg\n")) == ["b.jpg", "a/c.png", "b.jpg"]


def test_blank_lines_are_ignored_and_line_ends_of_windows_cut_off():
    assert list(lines(b"\r\na.jpg\r\n   \n\nb.jpg")) == ["a.jpg", "b.jpg"]


def test_spaces_at_the_ends_of_a_key_stay():
    """They are legal in a bucket, and cutting them off would name another object."""
    assert list(lines(b" a.jpg \n")) == [" a.jpg "]


def test_a_byte_order_mark_is_not_part_of_the_first_key():
    assert list(lines("\N{BOM}a.jpg\nb.jpg\n".encode())) == ["a.jpg", "b.jpg"]


def test_keys_may_hold_any_letters():
    assert list(lines("Schuhe/größe 42/№ 1.jpg\n".encode())) == ["Schuhe/größe 42/№ 1.jpg"]


def test_a_line_that_is_not_utf_8_is_named():
    with pytest.raises(InvalidOption, match=r"keys\.txt, line 2 is not UTF-8"):
        list(lines(b"a.jpg\n\xff\xd8\xff\xe0\n"))


def test_a_file_that_is_no_list_of_keys_is_refused_before_it_fills_memory():
    with pytest.raises(InvalidOption, match=r"keys\.txt, line 1: over 4096 bytes"):
        list(lines(b"x" * 10_000_000))


def test_a_million_keys_are_never_held_together():
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
    ("source", "said"),
    [
        (LineSource(io.BytesIO(b"\n \n"), "keys.txt"), "no keys in keys.txt: 2 lines read"),
        (KeySource([]), "no keys were given"),
    ],
)
def test_no_key_at_all_says_what_was_looked_at(source, said):
    with pytest.raises(NoKeys, match=said):
        list(at_least_one(source))


def test_a_source_with_keys_is_handed_through():
    assert list(at_least_one(KeySource(["a", "b"]))) == ["a", "b"]


@pytest.mark.parametrize("name", ["a.jpg", "b/c.JPEG", "x.tar.png", "d.e/f.WebP", ".hidden/g.heic"])
def test_pictures_are_told_by_extension_in_any_case(name):
    assert is_picture(name)


@pytest.mark.parametrize("name", ["a", "jpg", "a.jpg/b", "a.jpg/", "a.txt", "a.jpg.txt", ""])
def test_other_names_are_no_pictures(name):
    assert not is_picture(name)


@pytest.mark.parametrize(
    ("url", "parts"),
    [
        ("s3://inbox/a/b/", ("inbox", "a/b/")),
        ("s3://inbox/a b//c", ("inbox", "a b//c")),
        ("s3://inbox/", ("inbox", "")),
        ("s3://inbox", ("inbox", "")),
    ],
)
def test_a_prefix_is_split_into_bucket_and_prefix(url, parts):
    assert parse_prefix(url) == parts


@pytest.mark.parametrize(
    "url", ["inbox/a/", "http://inbox/a", "s3:/inbox/a", "s3://", "s3:///a", "S3://inbox/"]
)
def test_what_is_no_prefix_is_refused_with_the_form_it_should_have(url):
    with pytest.raises(InvalidOption, match="s3://bucket/prefix/"):
        parse_prefix(url)
