"""The fuzzer's short run, and a check that it would notice."""

import sys

import pytest
from fuzz.fuzz_decode import damaged, hunt, sources

from worker.imaging.decode import Limits, decode

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="limits memory as Linux counts it")
FILES = 2_000


def test_no_damaged_file_breaks_the_rules():
    """No crash, no hang, no memory over the limit; every refusal is ours and has a reason."""
    report = hunt(20261123, FILES)

    assert report["failures"] == []
    assert sum(report["outcomes"].values()) == FILES
    assert report["outcomes"]["decoded"] > FILES / 20
    assert report["outcomes"]["UndecodableImage"] > FILES / 20


def test_every_source_is_whole():
    """Damage is only worth something on files that decode."""
    for data in sources().values():
        assert decode(data, Limits()).image.size


def test_a_case_can_be_made_again_from_its_numbers():
    files = sources()

    assert damaged(7, 11, files) == damaged(7, 11, files)
    assert damaged(7, 11, files) != damaged(7, 12, files)


def test_a_process_that_dies_is_reported_with_its_case():
    """A time limit that nothing can keep kills it at each file."""
    report = hunt(5, 2, limit_s=1e-6)

    assert [failure["case"] for failure in report["failures"]] == ["5:0", "5:1"]
    assert all("SIGALRM" in failure["error"] for failure in report["failures"])
