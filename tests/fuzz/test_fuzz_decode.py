"""A short run of the fuzzer, and checks that it detects failures."""

import sys

import pytest
from fuzz.fuzz_decode import damaged, hunt, sources

from worker.imaging.decode import Limits, decode

pytestmark = pytest.mark.skipif(
    sys.platform != "linux", reason="RLIMIT_DATA counts all memory on Linux only"
)
FILES = 2_000


def test_no_damaged_file_breaks_the_rules():
    """No crash, no hang, no memory over the limit; every error is an `ItemError` with a reason."""
    report = hunt(20261123, FILES)

    assert report["failures"] == []
    assert sum(report["outcomes"].values()) == FILES
    assert report["outcomes"]["decoded"] > FILES / 20
    assert report["outcomes"]["UndecodableImage"] > FILES / 20


def test_every_source_decodes():
    """Otherwise its damaged variants would test nothing."""
    for data in sources().values():
        assert decode(data, Limits()).image.size


def test_a_case_can_be_reproduced_from_its_numbers():
    files = sources()

    assert damaged(7, 11, files) == damaged(7, 11, files)
    assert damaged(7, 11, files) != damaged(7, 12, files)


def test_a_process_that_dies_is_reported_with_its_case():
    """A time limit of 1 us kills it at each file."""
    report = hunt(5, 2, limit_s=1e-6)

    assert [failure["case"] for failure in report["failures"]] == ["5:0", "5:1"]
    assert all("SIGALRM" in failure["error"] for failure in report["failures"])
