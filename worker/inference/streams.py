"""Passes of a CPU side by side: a batch's pictures at once, each on its share of the threads."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor, wait
from threading import Semaphore
from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from torch import Tensor

    Pass = Callable[[Sequence[Tensor]], list[Tensor]]


class Streams:
    """Runs each picture of a batch in a pass of its own, some at once.

    One pass over all threads waits after each layer for the slowest of them, and something else
    always wants a core for a moment: pictures are decoded, files written. Passes that do not wait
    for each other took 0.41 instead of 0.44 s an image on two cores, and 0.46 instead of 0.51
    where other work took an eighth of them (docs/adr/0010).

    Args:
        run: One pass. Called from several threads at once.
        threads: To be shared out.
    """

    def __init__(self, run: Pass, threads: int) -> None:
        self._run = run
        self._threads = threads
        self.at_once = threads
        """Most passes at a time, from 1 to *threads*; not to be set while a batch runs."""
        self._pool = ThreadPoolExecutor(threads, "stream")

    def __call__(self, pictures: Sequence[Tensor]) -> list[Tensor]:
        """Run all; returns when all passes have ended, also those that failed.

        What is left over when passes have been filled evenly shares all threads: a picture that
        is alone has them all.

        Returns:
            What *run* returned for each picture, in the order of *pictures*.

        Raises:
            BaseException: The first picture's that failed.
        """
        even = len(pictures) - len(pictures) % self.at_once
        return self._side_by_side(pictures[:even]) + self._side_by_side(pictures[even:])

    def _side_by_side(self, pictures: Sequence[Tensor]) -> list[Tensor]:
        lanes = min(self.at_once, len(pictures))
        if lanes <= 1:
            return [out for picture in pictures for out in self._pass(picture, self._threads)]
        share, gate = self._threads // lanes, Semaphore(lanes)

        def run(picture: Tensor) -> list[Tensor]:
            with gate:
                return self._pass(picture, share)

        passes = [self._pool.submit(run, picture) for picture in pictures]
        wait(passes)
        outputs: list[Tensor] = []
        while passes:
            # Taken out, as a failure and its future would keep each other, and all that the pass
            # held, until some later collection of garbage; fewer pictures are tried at once.
            outputs += passes.pop(0).result()
        return outputs

    def _pass(self, picture: Tensor, threads: int) -> list[Tensor]:
        # Torch counts threads for each calling thread, and gives a new one the last number set.
        torch.set_num_threads(threads)
        return self._run([picture])
