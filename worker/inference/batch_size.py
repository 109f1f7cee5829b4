"""Choose the batch size of a device.

On CUDA it follows from the device's memory; `batch_runner` halves it while memory is short. For a
CPU, the number of images to process in parallel is measured once and stored, and the batch size
follows from it.
"""

import logging
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

from worker.inference.stored import read_results, write_results

logger = logging.getLogger(__name__)

LARGE_DEVICE_BYTES: Final = 32 * 2**30
"""Memory of a CUDA device from which a batch has 32 images instead of 16."""
IMAGES_PER_STREAM: Final = 2
"""Images in a batch for each of a CPU's parallel passes. Compared with one, an image takes 1, 7 and
8 % less time with two, most on the most uneven cores (16 jobs each, alternating)."""
SIZES: Final = (1, 2, 4, 8)
ROUNDS: Final = 3
"""Passes of each size; the fastest counts."""
QUIET: Final = 0.8
"""Minimum share of its threads' time that an undisturbed pass uses the CPU (idle machine: 0.91 to
0.97). On a busy machine threads wait for each other, so that the times are not comparable."""
GAIN: Final = 0.02
"""Minimum share of the time per image that a larger batch must save, as it takes longer to fill.
Small, because independent passes save more where there is other work."""
FILE_NAME: Final = "batch-sizes.json"


def initial_batch_size(device_bytes: int | None) -> int:
    """Return the batch size of a device with this memory; None for a CPU, until it is measured.

    On a CPU each image in parallel takes memory of its own (docs/adr/0010).
    """
    if device_bytes is None:
        return 1
    return 32 if device_bytes >= LARGE_DEVICE_BYTES else 16


def batch_size_for(parallel_images: int) -> int:
    """Return the batch size of a CPU that processes *parallel_images* at once.

    It is twice as many: passes wait for each other only at the end of a batch, and they seldom get
    equal shares of the processor (docs/adr/0010).
    """
    return parallel_images * IMAGES_PER_STREAM if parallel_images > 1 else 1


def fastest_batch_size(
    run: Callable[[int], object],
    *,
    threads: int,
    wall_clock: Callable[[], float] = time.perf_counter,
    cpu_clock: Callable[[], float] = time.process_time,
) -> int | None:
    """Return the number of parallel images with the shortest time per image.

    A larger number is tried only if the one before was faster. If two images are not, the whole
    measurement takes nine times as long as one image.

    Args:
        run: Runs this many images at once.
        threads: Number of threads that *run* uses.
        wall_clock: Returns seconds.
        cpu_clock: Returns seconds of CPU time of all threads.

    Returns:
        One of `SIZES`, at most *threads*, since more could not run in parallel. None if other work
        disturbed a pass.
    """
    best = 1
    for size in (size for size in SIZES[1:] if size <= threads):
        taken_s: dict[int, list[float]] = {best: [], size: []}
        for one in (best, size) * ROUNDS:
            started_s, cpu_started_s = wall_clock(), cpu_clock()
            run(one)
            wall_s, cpu_s = wall_clock() - started_s, cpu_clock() - cpu_started_s
            if cpu_s < QUIET * threads * wall_s:
                return None
            taken_s[one].append(wall_s / one)
        if min(taken_s[size]) > (1 - GAIN) * min(taken_s[best]):
            break
        best = size
    return best


def known_batch_sizes(home: Path) -> dict[str, int]:
    """Return the stored sizes by circumstances; none if the file is missing or not valid."""
    return read_results(home / FILE_NAME, SIZES)


def stored_batch_size(home: Path, circumstances: str, measure: Callable[[], int | None]) -> int:
    """Return the stored size for these circumstances; measure and store it if there is none.

    Args:
        home: `RMBG_HOME`; if it is not writable, every start measures.
        circumstances: What the result depends on: processor, threads, precision, versions.
        measure: Called only if nothing is stored. If it returns None, the result is 1, and the
            next start measures again.
    """
    known = known_batch_sizes(home)
    if circumstances in known:
        return known[circumstances]
    size = measure()
    if size is None:
        logger.info(
            "batch size not measured", extra={"cause": "the machine is busy with other work"}
        )
        return 1
    logger.info("batch size measured", extra={"batch_size": size, "cause": circumstances})
    write_results(home / FILE_NAME, known | {circumstances: size})
    return size


def processor() -> str:
    """Return the processor's name according to the kernel, or an empty string."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return ""
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(names, "")
