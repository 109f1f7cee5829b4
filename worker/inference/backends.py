"""Back ends: ways to run a network on a device. The fastest one with the same masks serves."""

import logging
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final, Literal, TypeAlias, get_args

import torch
from torch import Tensor

from shared.errors import InvalidOption
from worker.inference.architectures import FuseFor
from worker.inference.stored import one_at_a_time, read_results, write_results

logger = logging.getLogger(__name__)

BackendName: TypeAlias = Literal["eager", "fused", "graph", "tensorrt"]
"""`eager`: torch's operators as they are. `fused`: convolution, bias and ReLU in one. `graph`:
`fused`, recorded and replayed (see `worker.inference.graphs`). `tensorrt`: compiled by TensorRT
(see `worker.inference.engines`)."""
CANDIDATES: Final[dict[str, tuple[BackendName, ...]]] = {
    "cpu": ("eager", "fused"),
    "cuda": ("eager", "fused", "graph", "tensorrt"),
}
"""Back ends by type of device."""
UNMEASURED: Final[BackendName] = "fused"
"""Back end without a measurement; always on a CPU, where no other one has been faster."""
LEVELS: Final = {"fp32": 0.1, "fp16": 2.5, "bf16": 13.0}
"""Greatest difference of an output from the plain network's, in levels of 255, by precision. The
plain network in that precision differs as much from the one in fp32 (docs/performance.md)."""
ROUNDS: Final = 5
"""Batches of each back end; the fastest counts."""
GAIN: Final = 0.02
"""Minimum share of the time that a back end must save, as in `batch_size`."""
FILE_NAME: Final = "back-ends.json"

RunBatch: TypeAlias = Callable[[Sequence[Tensor]], list[Tensor]]
"""Runs a whole batch at once; see `Segmenter.run_once`."""


def pick_backend(name: BackendName | Literal["auto"], device: str) -> BackendName:
    """Return the back end of this name on this type of device; `auto` is `UNMEASURED`.

    Raises:
        InvalidOption: If the device does not have it.
    """
    if name == "auto":
        return UNMEASURED
    if name not in CANDIDATES[device]:
        raise InvalidOption(
            f"RMBG_BACKEND={name} does not run on {device}; use one of"
            f" {', '.join(CANDIDATES[device])} or auto"
        )
    return name


def measured_backends(device: str, *, lacks_tensorrt: str | None) -> tuple[BackendName, ...]:
    """Return the back ends to measure on this type of device.

    Args:
        device: `cpu` or `cuda`.
        lacks_tensorrt: What is missing for TensorRT; None: nothing is.
    """
    if lacks_tensorrt is None or "tensorrt" not in CANDIDATES[device]:
        return CANDIDATES[device]
    facts = {"backend": "tensorrt", "cause": lacks_tensorrt}
    logger.info("back end not measured", extra=facts)
    return tuple(name for name in CANDIDATES[device] if name != "tensorrt")


def fuses_for(backend: BackendName, device: str) -> FuseFor | None:
    """Return the device for which *backend* fuses operators."""
    if backend in ("eager", "tensorrt"):
        return None
    return "cpu" if device == "cpu" else "cuda"


def stored_backend(
    home: Path, circumstances: str, measure: Callable[[], BackendName] | None
) -> BackendName:
    """Return the stored back end for these circumstances; measure and store it if there is none.

    Args:
        home: `RMBG_HOME`; if it is not writable, every start measures.
        circumstances: What the result depends on: device, batch size, precision, versions.
        measure: Called only if nothing is stored; None: the result is `UNMEASURED` then.
    """
    names: tuple[BackendName, ...] = get_args(BackendName)
    path = home / FILE_NAME
    known = read_results(path, names)
    if circumstances in known:
        return known[circumstances]
    if measure is None:
        return UNMEASURED
    with one_at_a_time(path):
        known = read_results(path, names)
        found = known.get(circumstances) or measure()
        write_results(path, known | {circumstances: found})
    return found


def fastest_backend(
    names: Sequence[BackendName],
    load: Callable[[BackendName], RunBatch],
    batch: Sequence[Tensor],
    *,
    levels: float,
    clock: Callable[[], float] = time.perf_counter,
) -> BackendName:
    """Return the fastest of *names* whose outputs equal those of the first one.

    Args:
        names: The plain back end, then others.
        load: Returns a back end. One that cannot be loaded or run is left out, unless it is the
            plain one.
        batch: A batch of the usual size.
        levels: Greatest difference of an output, in levels of 255.
        clock: Returns seconds.
    """
    plain = load(names[0])
    expected = [output.cpu() for output in plain(batch)]
    best, best_s = names[0], _seconds(plain, batch, clock)
    for name in names[1:]:
        try:
            run = load(name)
            apart = _levels_apart(run(batch), expected)
            taken_s = _seconds(run, batch, clock)
        except (RuntimeError, InvalidOption) as err:
            logger.warning("back end does not run", extra={"backend": name, "cause": str(err)})
            continue
        if not apart <= levels:  # also if it is not a number
            cause = f"masks differ by {apart:.1f} levels from those of {names[0]}"
            logger.warning("back end refused", extra={"backend": name, "cause": cause})
        elif taken_s < (1 - GAIN) * best_s:
            best, best_s = name, taken_s
    facts = {"backend": best, "ms": round(1000 * best_s / len(batch), 3)}
    logger.info("back end chosen", extra=facts)
    return best


def _seconds(run: RunBatch, batch: Sequence[Tensor], clock: Callable[[], float]) -> float:
    """Return the shortest time of a batch; the run before was the warm-up."""
    taken_s = []
    for _ in range(ROUNDS):
        started_s = clock()
        run(batch)
        taken_s.append(clock() - started_s)
    return min(taken_s)


def _levels_apart(found: Sequence[Tensor], expected: Sequence[Tensor]) -> float:
    """Return the greatest difference of two lists of outputs, in levels of 255."""
    differences = [
        (one.cpu().float() - other.float()).abs().max()
        for one, other in zip(found, expected, strict=True)
    ]
    return 255 * float(torch.stack(differences).max())
