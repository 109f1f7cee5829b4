"""Run the images of a batch in parallel passes on a CPU, each on its share of the threads."""

import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from threading import Semaphore

import torch
from torch import Tensor

from worker.inference.api import Done


class Streams:
    """Runs each image of a batch in a pass of its own, several at once.

    A single pass over all threads waits after each layer for the slowest thread, and other work
    (decoding, writing files) regularly takes a core for a moment. Independent passes took 0.41 s
    instead of 0.44 s per image on two cores, and 0.46 s instead of 0.51 s where other work took an
    eighth of the cores (docs/adr/0010).

    Args:
        run: One pass; called from several threads at once.
        threads: Threads to divide among the passes.
    """

    def __init__(self, run: Callable[[Sequence[Tensor]], list[Tensor]], threads: int) -> None:
        self._run = run
        self._threads = threads
        self.at_once = threads
        """Maximum number of passes at once, from 1 to *threads*; do not set it during a batch."""
        self._pool = ThreadPoolExecutor(threads, "stream")

    def __call__(self, images: Sequence[Tensor]) -> list[Tensor]:
        """Return what *run* returned for each image, in order, after all passes have ended.

        Images left over after full groups of `at_once` divide all threads among themselves: a
        single image gets all of them.

        Raises:
            BaseException: The error of the first image that failed.
        """
        even = len(images) - len(images) % self.at_once
        return self._run_group(images[:even]) + self._run_group(images[even:])

    def launch(self, images: Sequence[Tensor]) -> Done[Tensor]:
        """Run a whole batch: on a CPU there is nothing that could run it meanwhile."""
        started_s = time.perf_counter()
        outputs = self(images)
        return Done(outputs, time.perf_counter() - started_s)

    def _run_group(self, images: Sequence[Tensor]) -> list[Tensor]:
        at_once = min(self.at_once, len(images))
        if at_once <= 1:
            return [output for image in images for output in self._pass(image, self._threads)]
        share, free = self._threads // at_once, Semaphore(at_once)

        def run(image: Tensor) -> list[Tensor]:
            with free:
                return self._pass(image, share)

        passes = [self._pool.submit(run, image) for image in images]
        wait(passes)
        outputs: list[Tensor] = []
        while passes:
            # Removed from the list, because an exception and its future would keep each other and
            # the memory of the pass alive until garbage collection; a retry needs that memory.
            outputs += passes.pop(0).result()
        return outputs

    def _pass(self, image: Tensor, threads: int) -> list[Tensor]:
        # Torch keeps the number per calling thread; a new thread starts with the last one set.
        torch.set_num_threads(threads)
        return self._run([image])
