"""Sorting more than is held in memory."""

import random

import pytest

from producer.results.external_sort import in_order


@pytest.mark.parametrize("run_rows", [1, 7, 100, 1000])
def test_rows_come_in_the_order_of_their_keys_bytes_however_many_fit(run_rows):
    """S3 lists by the bytes of UTF-8, which is not the order of UTF-16 or of a locale."""
    keys = [f"{n:03}" for n in range(97)] + ["Z", "a", "ä", "\U0001f600", "\uffee", 'q"\n']
    rows = [[key, n, None] for n, key in enumerate(keys)]
    random.Random(1).shuffle(rows)

    found = list(in_order(iter(rows), run_rows=run_rows))

    assert [row[0] for row in found] == sorted(keys, key=str.encode)
    assert sorted(found, key=lambda row: row[1]) == sorted(rows, key=lambda row: row[1])


def test_nothing_sorted_is_nothing():
    assert list(in_order([])) == []
