"""Repeat a conditional write that met another one."""

import random
import time
from collections.abc import Callable
from typing import Final

from shared.errors import StoreUnavailable
from shared.objects.answers import WriteConflict

_CONFLICT_ROUNDS: Final = 3


def without_conflict(put: Callable[[], str]) -> str:
    """Call *put* until it meets no concurrent write, at most three times."""
    for attempt in range(_CONFLICT_ROUNDS):
        try:
            return put()
        except WriteConflict as err:
            conflict = err
            time.sleep(random.uniform(0.02, 0.2) * (attempt + 1))  # noqa: S311 - no secret
    raise StoreUnavailable(
        f"{conflict}, {_CONFLICT_ROUNDS} times",
        bucket=conflict.bucket,
        operation=conflict.operation,
        code=conflict.code,
    ) from conflict
