"""Wait for a condition instead of sleeping for a guessed time."""

import time

WITHIN_S = 30.0
"""Default deadline: generous, because it only costs time when a test fails anyway."""
_STEP_S = 0.005


def poll(*, within_s, every_s=_STEP_S):
    """Yield now and then every *every_s* seconds, until *within_s* seconds have passed."""
    deadline_s = time.monotonic() + within_s
    yield
    while time.monotonic() < deadline_s:
        time.sleep(every_s)  # noqa: TID251 - the one place that waits
        yield


def until(condition, *, within_s=WITHIN_S):
    """Return the first truthy value of *condition()*; fail the test if the deadline passes."""
    for _ in poll(within_s=within_s):
        if value := condition():
            return value
    raise AssertionError(f"not true within {within_s} s: {condition}")
