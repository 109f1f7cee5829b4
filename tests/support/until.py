"""To wait on a condition instead of sleeping for a guess."""

import time

_STEP_S = 0.005


def until(condition, *, within_s=10.0):
    """Return the first true answer of *condition*; fail the test if there is none in time."""
    deadline_s = time.monotonic() + within_s
    while not (answer := condition()):
        assert time.monotonic() < deadline_s, f"not within {within_s} s: {condition}"
        time.sleep(_STEP_S)
    return answer
