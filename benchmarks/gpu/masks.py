"""Masks of the device against those of a CPU in fp32, by precision and batch size."""

from __future__ import annotations

from benchmarks.gpu.common import DTYPES, IS_CUDA, LOW, TOLERANCE, apart, emit, images, segmenter
from benchmarks.gpu.common import weights as weights_file
from worker.inference.segmenter import Segmenter

BATCHES = (1, 3, 16) if IS_CUDA else (1,)


def masks() -> None:
    """Compare every precision and batch size; a wrong mask makes all other figures worthless."""
    cpu = Segmenter.load(weights_file(), device="cpu", precision="fp32")
    photographs = images(4 if IS_CUDA else 1)
    # Prepared once: devices round a few pixels otherwise, which random weights amplify.
    prepared = [cpu.prepare(each) for each in photographs]
    expected = [cpu.forward([each])[0] for each in prepared]
    for precision in DTYPES if IS_CUDA else (LOW,):
        found_by = segmenter(precision)
        for size in BATCHES:
            found_by.batch_size = size
            outputs = found_by.forward([prepared[n % len(prepared)] for n in range(size)])
            worst = max(
                apart(output, expected[n % len(expected)]) for n, output in enumerate(outputs)
            )
            emit(
                "masks",
                precision=precision,
                batch=size,
                worst=worst,
                limit=TOLERANCE[precision],
                ok=worst <= TOLERANCE[precision],
            )
