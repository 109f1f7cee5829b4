"""An image key that is not valid Unicode, from submission to the results."""

import pytest
from support.producing import json_lines

pytestmark = pytest.mark.integration


def test_a_key_that_is_not_valid_unicode_is_listed_as_its_escape(client, hand, run_rmbg):
    """Neither JSON nor a terminal can hold it; the job's other images are unaffected."""
    job = client.submit(["a.jpg", "bad-\udc80.jpg"])

    status = hand.run(job)

    assert (status.done, status.failed) == (1, 1)
    assert json_lines(run_rmbg("results", job))[1]["image_key"] == r"bad-\udc80.jpg"
    assert rb"bad-\udc80.jpg" in run_rmbg("failures", job).stdout
