"""Results of measurements, stored by what they depend on, in a JSON file of `RMBG_HOME`."""

import json
import logging
import os
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

from filelock import FileLock

logger = logging.getLogger(__name__)

T = TypeVar("T", bound=int | str)


@contextmanager
def one_at_a_time(path: Path) -> Iterator[None]:
    """Hold the lock of the measurements in *path*, so that no two processes measure at once.

    They would disturb each other, and the second one needs only the result of the first. Without a
    writable folder there is no lock.
    """
    lock = FileLock(path.with_name(f".{path.name}.lock"))
    try:
        lock.acquire()
    except OSError as err:
        logger.info("measurement not locked", extra={"cause": str(err)})
    try:
        yield
    finally:
        lock.release()


def read_results(path: Path, valid: Collection[T]) -> dict[str, T]:
    """Return the stored results by circumstances; none if the file is missing or not valid.

    Results that are not in *valid* are left out: another version may have stored them.
    """
    try:
        known = json.loads(path.read_text())
    except (OSError, ValueError):
        return {}
    if not isinstance(known, dict):
        return {}
    return {name: value for name, value in known.items() if value in valid}


def write_results(path: Path, results: Mapping[str, T]) -> None:
    """Replace the stored results; if *path* is not writable, the next start measures again."""
    part = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        part.write_text(json.dumps(dict(results), indent=2) + "\n")
        part.replace(path)
    except OSError as err:
        logger.info("measurement not stored", extra={"cause": str(err)})
