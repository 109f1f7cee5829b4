"""Random weights whose outputs range from near 0 to near 1, like those of real weights."""

from pathlib import Path

import torch

from support.photographs import NAMES, photograph
from worker.inference.architectures.isnet.network import Network
from worker.inference.segmenter import Segmenter

SPREAD = 3.0
"""Standard deviation of the logits; without scaling all outputs are within 0.01 of 0.5, and wrong
ones would pass a comparison."""


def write_random_weights(path: Path) -> None:
    """Write the same random weights to *path* (`.pth`) on each machine with the same torch."""
    torch.manual_seed(0)
    network = Network()
    torch.save(network.state_dict(), path)
    cpu = Segmenter.load(path, device="cpu", precision="fp32")
    (output,) = cpu.forward([cpu.prepare(photograph(NAMES[0]))])
    logit = torch.logit(output)
    middle, spread = float(logit.mean()), float(logit.std())
    with torch.no_grad():
        network.side1.weight *= SPREAD / spread
        network.side1.bias.sub_(middle).mul_(SPREAD / spread)
    torch.save(network.state_dict(), path)
