"""Sorting of more rows than are held in memory."""

import random
import resource
import tracemalloc

import pytest

from producer.results.external_sort import in_order


def test_rows_are_ordered_by_the_utf_8_bytes_of_their_key():
    """S3 lists in this order, which is not that of UTF-16 or of a locale."""
    keys = [f"{n:03}" for n in range(97)] + [
        "Z",
        "a",
        "\u00e4",
        "\U0001f600",
        "\uffee",
        'q"\n',
        "nul\0",
    ]
    rows = [(key, n, None) for n, key in enumerate(keys)]
    random.Random(1).shuffle(rows)

    found = list(in_order(iter(rows), columns=3))

    assert [row[0] for row in found] == sorted(keys, key=str.encode)
    assert sorted(found, key=lambda row: row[1]) == sorted(rows, key=lambda row: row[1])


def test_all_rows_of_a_key_are_kept():
    assert sorted(in_order([("k", 1), ("k", 2), ("k", 1)], columns=2)) == [
        ("k", 1),
        ("k", 1),
        ("k", 2),
    ]


def test_no_rows_give_no_rows():
    assert list(in_order([], columns=1)) == []


def test_rows_are_not_held_in_memory():
    rows = 20_000
    tracemalloc.start()
    try:
        count = sum(1 for _ in in_order(((f"{n:0100}", n) for n in range(rows)), columns=2))
        _, peak_bytes = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()

    assert count == rows
    assert peak_bytes < 10 * rows


@pytest.fixture
def small_files():
    """Limit the size of every file that this process writes to 64 KiB."""
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 16, limits[1]))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, limits)


def test_a_file_that_cannot_be_written_is_an_os_error(small_files):
    with pytest.raises(OSError, match=r"cannot sort in a temporary file: .*TMPDIR"):
        list(in_order(((f"{n:0100}", n) for n in range(100_000)), columns=2))
