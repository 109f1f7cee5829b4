"""Keys from lines, and image extensions; the integration tests list prefixes."""

import io
import itertools
import re
import tracemalloc

import pytest

from producer.submission.lines import LineSource
from producer.submission.sources import KeySource, parse_prefix
from shared.errors import InvalidKey, InvalidOption
from shared.job.keys import check_image_key
from shared.job.manifest import pack, unpack


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


@pytest.mark.parametrize("start", [b"", b"\xef\xbb\xbf"])
def test_a_line_that_is_not_utf_8_is_a_key_whose_item_fails(start):
    """As the name of a local file that is not UTF-8; the other images are processed."""
    source = lines(start + b"chemise-\xe9t\xe9.jpg\nb.jpg\n\xff\xd8\n")

    keys = list(source)

    assert keys == ["chemise-\udce9t\udce9.jpg", "b.jpg", "\udcff\udcd8"]
    assert unpack(pack(keys)) == keys
    for key in (keys[0], keys[2]):
        with pytest.raises(InvalidKey):
            check_image_key(key)
    assert source.remark() == (
        "warning: lines of keys.txt that are not UTF-8: 2 (line 1: chemise-\\xe9t\\xe9.jpg); "
        "these images fail with InvalidKey"
    )


def test_lines_of_both_doubtful_kinds_are_reported_in_a_line_each():
    source = lines(b"a\xff.jpg\n./a.jpg\n")

    list(source)

    assert [line.split(":")[1] for line in source.remark().splitlines()] == [
        " lines of keys.txt that are not UTF-8",
        " lines of keys.txt that are probably no keys",
    ]


@pytest.mark.parametrize(
    ("body", "line"),
    [("a.jpg\nb.jpg\n".encode("utf-16"), 1), (b"a.jpg\n\xff\xd8\xff\xe0\0\x10JFIF\0", 2)],
    ids=["UTF-16", "an image"],
)
def test_a_file_that_is_no_text_in_utf_8_is_refused(body, line):
    with pytest.raises(InvalidOption, match=rf"keys\.txt, line {line}: holds a zero byte; write"):
        list(lines(body))


def test_an_overlong_line_is_refused_before_it_fills_memory():
    with pytest.raises(InvalidOption, match=r"keys\.txt, line 1: 4096 bytes or more"):
        list(lines(b"x" * 10_000_000))


@pytest.mark.parametrize("scheme", ["s3", "S3"])
def test_urls_of_the_job_s_bucket_are_keys(scheme):
    source = lines(f"{scheme}://inbox/a b/c.jpg\nd.jpg\ns3://inbox//e.jpg".encode())

    assert source.first_bucket() == "inbox"
    source.bucket = "inbox"
    assert list(source) == ["a b/c.jpg", "d.jpg", "/e.jpg"]
    assert list(KeySource(["s3://inbox/a.jpg", "b.jpg"], "inbox")) == ["a.jpg", "b.jpg"]


@pytest.mark.parametrize("body", [b"a.jpg\ns3://inbox/b.jpg\n", b"", b"\n", b"s3://inbox\n"])
def test_only_the_first_key_names_the_bucket(body):
    assert lines(body).first_bucket() is None


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("s3://other/a.jpg", "'s3://other/a.jpg' is not in the job's input bucket inbox; submit"),
        ("s3://inbox/", "'s3://inbox/' has no key; use the form s3://bucket/key"),
        ("s3://inbox", "'s3://inbox' has no key"),
        ("s3:///a.jpg", "'s3:///a.jpg' has no key"),
    ],
)
def test_other_urls_are_refused_at_submission(url, reason):
    source = lines(f"s3://inbox/a.jpg\n\n{url}\n".encode())
    source.bucket = "inbox"

    with pytest.raises(InvalidOption, match=re.escape(f"keys.txt, line 3: {reason}")):
        list(source)
    with pytest.raises(InvalidOption, match=re.escape(reason)):
        list(KeySource([url], "inbox"))


@pytest.mark.parametrize(
    "line",
    [
        "https://shop.example/inbox/a.jpg",
        "gs://inbox/a.jpg",
        "2026-03-09 12:00:01     123456 shop/a.jpg",
        "/home/u/a.jpg",
        "./a.jpg",
        "C:\\images\\a.jpg",
        '"a.jpg"',
        '{"key": "a.jpg"}',
    ],
)
def test_lines_that_are_probably_no_keys_are_kept_with_a_remark(line):
    """They are legal as keys."""
    source = lines(f"a.jpg\n{line}\n{line}\n".encode())

    assert list(source) == ["a.jpg", line, line]
    assert source.remark() == (
        f"warning: lines of keys.txt that are probably no keys: 2 (line 2: {line}); "
        "a key is the path of an object within its bucket"
    )


def test_plain_keys_get_no_remark():
    source = lines("shop/2026-03-09 12.jpg\nC/a.jpg\n~a.jpg\n.hidden/a.jpg\nä.jpg".encode())

    assert len(list(source)) == 5
    assert source.remark() is None


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


@pytest.mark.parametrize(
    ("url", "parts"),
    [
        ("s3://inbox/a/b/", ("inbox", "a/b/")),
        ("s3://inbox/a b//c", ("inbox", "a b//c")),
        ("s3://inbox/11\u202fAM\u3000/", ("inbox", "11\u202fAM\u3000/")),
        ("s3://inbox/", ("inbox", "")),
        ("s3://inbox", ("inbox", "")),
    ],
)
def test_a_url_is_split_into_bucket_and_prefix(url, parts):
    assert parse_prefix(url) == parts


@pytest.mark.parametrize(
    "url",
    [
        "inbox/a/",
        "http://inbox/a",
        "s3:/inbox/a",
        "s3://",
        "s3:///a",
        "S3://inbox/",
        "s3://inbox/\udcff",
    ],
)
def test_the_error_for_an_invalid_url_shows_the_valid_form(url):
    with pytest.raises(InvalidOption, match="s3://bucket/prefix/"):
        parse_prefix(url)
