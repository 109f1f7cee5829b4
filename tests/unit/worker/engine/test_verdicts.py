"""The verdict on an item: the worst of its mask's and its outputs'."""

import pytest

from shared.job.record import OutputFacts
from worker.engine.verdicts import doubted, worst

FAILED = OutputFacts(verdict="review", failed={"fill": (0.5, "0.85 1")})
NOTED = OutputFacts(noted={"fill": (0.5, "0.85 1")})


def test_an_item_without_failed_checks_keeps_the_verdict_of_its_mask():
    quality = {"verdict": "ok", "coverage": 0.4}
    assert worst(quality, {"shop": OutputFacts(), "tile": NOTED}) is quality


@pytest.mark.parametrize(
    ("mask", "item"), [("ok", "review"), ("review", "review"), ("reject",) * 2]
)
def test_a_failed_check_makes_a_good_item_doubtful_and_a_bad_one_no_better(mask, item):
    found = worst({"verdict": mask}, {"shop": FAILED})
    assert found == {"verdict": item, "reasons": "shop: fill is 0.5, limit 0.85 1"}


def test_the_reasons_of_the_mask_come_first():
    quality = {"verdict": "review", "reasons": "soft 0.2 above 0.15"}
    found = worst(quality, {"shop": FAILED})
    assert found["reasons"] == "soft 0.2 above 0.15; shop: fill is 0.5, limit 0.85 1"


def test_an_output_of_a_doubtful_mask_is_doubtful():
    assert doubted(OutputFacts(width=8)) == OutputFacts(width=8, verdict="review")
