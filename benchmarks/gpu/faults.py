"""Faults on the device: no memory, an image that is not finite, a lost device, a hidden one."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from benchmarks.gpu.common import DEVICE, DTYPES, IS_CUDA, LOW, TOLERANCE, apart, emit, weights
from benchmarks.gpu.common import images as photographs
from shared.errors import DeviceFull, DeviceLost, InferenceFailed
from worker.inference.architectures import load_network
from worker.inference.segmenter import Segmenter
from worker.inference.torch_errors import PassFailed

_BATCH = 16 if IS_CUDA else 2
_CHECK = "from worker.cli import main; main()"


class Recorded(nn.Module):
    """A network that notes the size of each batch, and can fail on white images."""

    def __init__(self, network: nn.Module, *, fails_on_white: bool = False) -> None:
        super().__init__()
        self.network, self.fails_on_white = network, fails_on_white
        self.tried: list[int] = []

    def forward(self, x: Tensor) -> Tensor:
        self.tried.append(len(x))
        result: Tensor = self.network(x)
        if self.fails_on_white:
            result[x.float().amin((1, 2, 3)) > 0.49] = float("nan")
        return result


def recorded(*, fails_on_white: bool = False) -> tuple[Recorded, Segmenter]:
    """Return a network that notes its batches, and a segmenter over it."""
    network = load_network("isnet", weights(), DTYPES[LOW], fuse_for=None)
    noting = Recorded(network, fails_on_white=fails_on_white)
    segmenter = Segmenter(
        noting, device=DEVICE, dtype=DTYPES[LOW], weights_sha256="0" * 64, batch_size=_BATCH
    )
    return noting, segmenter


def out_of_memory() -> None:
    """Leave half of what a batch needs, by a limit and by another holder of the memory."""
    network, segmenter = recorded()
    prepared = [segmenter.prepare(each) for each in photographs(_BATCH)]
    torch.cuda.reset_peak_memory_stats()
    expected = [output.cpu() for output in segmenter.forward(prepared)]
    peak = torch.cuda.max_memory_allocated()
    emit("memory", batch=_BATCH, peak_mib=round(peak / 2**20))
    for how in ("limit", "holder"):
        network.tried.clear()
        torch.cuda.empty_cache()
        free, whole = torch.cuda.mem_get_info()
        held = None
        if how == "limit":
            torch.cuda.set_per_process_memory_fraction(peak / 2 / whole)
        else:
            held = torch.empty(max(1, free - peak // 2), dtype=torch.uint8, device=DEVICE)
        try:
            found = [output.cpu() for output in segmenter.forward(prepared)]
        except DeviceFull as err:
            emit("out of memory", how=how, tried=network.tried[:], said=str(err)[:500], ok=False)
            continue
        finally:
            torch.cuda.set_per_process_memory_fraction(1.0)
        del held
        worst = max(apart(one, other) for one, other in zip(found, expected, strict=True))
        ok = worst <= TOLERANCE[LOW] and min(network.tried) < _BATCH
        emit("out of memory", how=how, tried=network.tried[:], worst=worst, ok=ok)


def poisoned_image() -> None:
    """Run a batch with one image whose output is not finite, then each image alone."""
    _, segmenter = recorded(fails_on_white=True)
    white = segmenter.prepare(photographs(1)[0] * 0 + 255)
    batch = [segmenter.prepare(each) for each in photographs(_BATCH - 1)]
    batch.insert(1, white)
    ends = [_end(segmenter, [each]) for each in batch]
    whole = _end(segmenter, batch)
    ok = whole == PassFailed.__name__ and ends.count("done") == _BATCH - 1
    emit("poisoned image", whole=whole, alone=ends, ok=ok and ends[1] == InferenceFailed.__name__)


def _end(segmenter: Segmenter, batch: Sequence[Tensor]) -> str:
    try:
        segmenter.forward(batch)
    except (PassFailed, InferenceFailed) as err:
        return type(err).__name__
    return "done"


def lost_device() -> None:
    """Break the context of a process by a device-side assertion, and run a batch in it."""
    if IS_CUDA and "--broken" not in sys.argv:
        begun_s = time.monotonic()
        args = [sys.executable, "-m", "benchmarks.gpu.checks", "lost-device", "--broken"]
        done = subprocess.run(args, capture_output=True, text=True, timeout=100, check=False)
        ok = done.returncode == 0 and f"raised {DeviceLost.__name__}" in done.stdout
        said = (done.stdout.strip() or done.stderr.strip()).splitlines()[-1:]
        took_s = round(time.monotonic() - begun_s, 1)
        emit("lost device", rc=done.returncode, said=said, seconds=took_s, ok=ok)
        return
    _, segmenter = recorded()
    batch = [segmenter.prepare(each) for each in photographs(2)]
    segmenter.forward(batch)
    one = torch.zeros(1, device=DEVICE)
    one[torch.tensor([7], device=DEVICE)]
    try:
        segmenter.forward(batch[:1])
    except DeviceLost as err:
        print(f"raised {type(err).__name__}: {str(err)[:200]}", flush=True)
        os._exit(0)  # CUDA's own clean-up would fail
    print("raised nothing", flush=True)


def hidden_device() -> None:
    """Ask a worker for a GPU that its environment hides."""
    hidden = {"CUDA_VISIBLE_DEVICES": "", "RMBG_DEVICE": "cuda", "RMBG_WEIGHTS": str(weights())}
    done = subprocess.run(
        [sys.executable, "-c", _CHECK, "--check"],
        env={**os.environ, **hidden, "RMBG_MODELS": "isnet-general-use"},  # noqa: TID251 - a child's
        capture_output=True,
        text=True,
        check=False,
    )
    said = (done.stderr.strip().splitlines() or [""])[-1]
    emit("hidden device", rc=done.returncode, said=said[:300], ok=done.returncode == 2)
