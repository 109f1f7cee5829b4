"""How many pictures a CPU should take at once: measured once, then remembered."""

from __future__ import annotations

import json
import logging
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

logger = logging.getLogger(__name__)

SIZES: Final = (1, 2, 4, 8)
ROUNDS: Final = 3
"""Turns of each size; the fastest counts."""
QUIET: Final = 0.8
"""Least share of its threads' time that an undisturbed pass spends on processors (quiet: 0.91 to
0.97). On a busy machine threads wait for each other, and times say nothing about sizes."""
GAIN: Final = 0.02
"""Least share of time an image that a larger batch must save: it also waits to be filled. Little,
as one that does not need all threads at every moment saves more where there is other work."""
FILE_NAME: Final = "batch-sizes.json"


def fastest_batch(
    run: Callable[[int], object],
    *,
    threads: int,
    wall_clock: Callable[[], float] = time.perf_counter,
    cpu_clock: Callable[[], float] = time.process_time,
) -> int | None:
    """Return the number of pictures at once with which an image takes least time.

    Larger batches are tried only while the one before paid: where two pictures do not, this takes
    nine times as long as one picture does.

    Args:
        run: Runs so many pictures at once.
        threads: That it keeps busy.
        wall_clock: In seconds.
        cpu_clock: Seconds of processor time, of all threads.

    Returns:
        One of `SIZES`, at most *threads*: more would wait in turn. None where other work
        disturbed a pass.
    """
    best = 1
    for size in (size for size in SIZES[1:] if size <= threads):
        taken_s: dict[int, list[float]] = {best: [], size: []}
        for one in (best, size) * ROUNDS:
            begun_s, cpu_begun_s = wall_clock(), cpu_clock()
            run(one)
            wall_s, cpu_s = wall_clock() - begun_s, cpu_clock() - cpu_begun_s
            if cpu_s < QUIET * threads * wall_s:
                return None
            taken_s[one].append(wall_s / one)
        if min(taken_s[size]) > (1 - GAIN) * min(taken_s[best]):
            break
        best = size
    return best


def remembered_batch(home: Path, circumstances: str, measure: Callable[[], int | None]) -> int:
    """Return what was measured in these circumstances before, or measure and remember it.

    Args:
        home: `RMBG_HOME`; where it cannot be written to, every start measures.
        circumstances: What the answer depends on: processor, threads, precision, versions.
        measure: Asked only if nothing is known. Where it cannot say, the answer is 1, and the
            next start asks again.
    """
    path = home / FILE_NAME
    known = _read(path)
    if circumstances in known:
        return known[circumstances]
    size = measure()
    if size is None:
        logger.info("batch size not measured", extra={"cause": "other work on this machine"})
        return 1
    logger.info("batch size measured", extra={"batch_size": size, "cause": circumstances})
    part = path.with_name(f".{FILE_NAME}.{os.getpid()}")
    try:
        part.write_text(json.dumps(known | {circumstances: size}, indent=2) + "\n")
        part.replace(path)
    except OSError as err:
        logger.info("batch size not remembered", extra={"cause": str(err)})
    return size


def processor() -> str:
    """Return the processor's name as the kernel gives it, or nothing where it gives none."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return ""
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(names, "")


def _read(path: Path) -> dict[str, int]:
    """Return what is remembered; nothing where the file is missing or not one of ours."""
    try:
        known = json.loads(path.read_text())
    except (OSError, ValueError):
        return {}
    if not isinstance(known, dict):
        return {}
    return {name: size for name, size in known.items() if size in SIZES}
