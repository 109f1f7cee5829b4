"""CPU time of one image outside the network, by step, of this checkout or of two of them.

    python -m benchmarks.cpu_image [--images 12] [--rounds 7] [--against CHECKOUT]
        [--inputs FOLDER]

Each image is a JPEG of 2000 x 2000, half of them photographs, half synthetic products; cutout and
mask are written as PNG with default options. One thread. With ``--against``, a second process
measures another checkout; the two take turns on every image, and every result is compared by its
SHA-256. The network runs once per image, in this process only.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Final

HERE: Final = Path(__file__).resolve().parents[1]
ROOT: Final = Path(sys.argv[2]) if sys.argv[1:2] == ["--serve"] else HERE
"""The checkout that this process measures; its modules are imported below."""
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

import cv2  # noqa: E402 - needs the path set above
import numpy as np  # noqa: E402
import torch  # noqa: E402

from shared.job.options import PictureOptions  # noqa: E402
from shared.job.thresholds import Thresholds  # noqa: E402
from worker.imaging.compose import compose  # noqa: E402
from worker.imaging.decode.jpeg_layout import read_layout  # noqa: E402
from worker.imaging.decode.jpeg_steps import find_steps  # noqa: E402
from worker.imaging.encode.png import encode_png  # noqa: E402
from worker.imaging.foreground import foreground  # noqa: E402
from worker.imaging.operations import ImageOperations  # noqa: E402
from worker.imaging.render import edge_colours  # noqa: E402
from worker.inference.pixels import postprocess, preprocess  # noqa: E402
from worker.runtime.malloc import keep_memory  # noqa: E402

SIDE_PX: Final = 2000
PARTS: Final = ("decode: damage check", "compose: foreground", "colours for recipes")
"""Steps that are part of another one, or that only jobs with recipes have; not in the sum."""


def calls_of(data: bytes, output: np.ndarray) -> dict[str, Callable[[], Any]]:
    """Return a call per step of one image; *output* is the network's."""
    imaging = ImageOperations(max_pixels=10**9, max_bytes=10**9, children=1)
    options = PictureOptions()
    image = imaging.decode(data, options, isolate=False).image
    height, width = image.shape[:2]
    segmented = postprocess.finish(output, height, width, stretch="guarded")
    mask = segmented.mask
    cutout = compose(image, mask, edges="estimate")
    layout = read_layout(data)
    assert layout is not None
    return {
        "read header": lambda: imaging.count_pixels(data),
        "decode": lambda: imaging.decode(data, options, isolate=False).image,
        "decode: damage check": lambda: find_steps(image, layout),
        "prepare": lambda: preprocess.prepare(image).numpy(),
        "finish mask": lambda: postprocess.finish(output, height, width, stretch="guarded").mask,
        "measure mask": lambda: imaging.measure(mask, segmented.low, segmented.high, Thresholds()),
        "compose: foreground": lambda: foreground(image, mask),
        "compose": lambda: imaging.compose(image, mask, options, compose),
        "encode cutout": lambda: encode_png(cutout, texts={}, level="fast"),
        "encode mask": lambda: encode_png(mask, texts={}, level="fast"),
        "colours for recipes": lambda: edge_colours(image, mask),
    }


def digest(result: object) -> str:
    """Return the SHA-256 of a step's result."""
    if isinstance(result, np.ndarray):
        return hashlib.sha256(np.ascontiguousarray(result).data).hexdigest()
    body = result if isinstance(result, bytes) else repr(result).encode()
    return hashlib.sha256(body).hexdigest()


def measure(folder: Path, number: int, rounds: int) -> dict[str, Any]:
    """Return CPU times in milliseconds and digests of image *number*, by step."""
    calls = calls_of((folder / f"{number}.jpg").read_bytes(), np.load(folder / f"{number}.npy"))
    digests = {name: digest(call()) for name, call in calls.items()}
    times: dict[str, list[float]] = {name: [] for name in calls}
    for _ in range(rounds):
        for name, call in calls.items():
            started_s = time.process_time()
            call()
            times[name].append(1000 * (time.process_time() - started_s))
    return {"digests": digests, "ms": times}


def serve(folder: Path) -> None:
    """Measure each image whose number comes on standard input."""
    keep_memory({})  # as in a worker
    cv2.setNumThreads(1)
    torch.set_num_threads(1)
    for line in sys.stdin:
        number, rounds = map(int, line.split())
        print(json.dumps(measure(folder, number, rounds)), flush=True)


class Checkout:
    """A process that measures one checkout."""

    def __init__(self, root: Path, folder: Path) -> None:
        self.process = subprocess.Popen(
            [sys.executable, __file__, "--serve", str(root), str(folder)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def measure(self, number: int, rounds: int) -> dict[str, Any]:
        """See `measure`."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        print(number, rounds, file=self.process.stdin, flush=True)
        measured: dict[str, Any] = json.loads(self.process.stdout.readline())
        return measured

    def close(self) -> None:
        """End the process."""
        assert self.process.stdin is not None
        self.process.stdin.close()
        self.process.wait()


def sources(count: int) -> Iterator[np.ndarray]:
    """Yield *count* images: photographs, scaled and shifted, in turn with products."""
    from benchmarks.products import product  # noqa: PLC0415 - of this checkout

    photos = sorted((HERE / "examples/photos").rglob("*.jpg"))
    for number in range(count):
        turn, is_product = divmod(number, 2)
        if is_product:
            yield product(turn, SIDE_PX)
            continue
        image = cv2.imread(str(photos[turn % len(photos)]))[:, :, ::-1]
        zoom = 1 + 0.07 * (turn // len(photos))
        side = round(SIDE_PX * zoom)
        scaled = cv2.resize(image, (side, side), interpolation=cv2.INTER_CUBIC)
        yield scaled[:SIDE_PX, side - SIDE_PX :]


def write_inputs(folder: Path, count: int) -> None:
    """Write each image as a JPEG and the network's output for it."""
    from support.weights import isnet_weights  # noqa: PLC0415 - only here

    from benchmarks.products import jpeg  # noqa: PLC0415
    from worker.inference.segmenter import Segmenter  # noqa: PLC0415

    segmenter = Segmenter.load(isnet_weights(), device="cpu")
    for number, image in enumerate(sources(count)):
        (folder / f"{number}.jpg").write_bytes(jpeg(np.ascontiguousarray(image)))
        (output,) = segmenter.forward([segmenter.prepare(np.ascontiguousarray(image))])
        np.save(folder / f"{number}.npy", output.float().numpy())


def report(results: dict[str, list[dict[str, Any]]]) -> None:
    """Print the medians by step, and what differs between two checkouts."""
    medians: dict[str, dict[str, float]] = {}
    for name, measured in results.items():
        steps = {
            step: statistics.median(ms for each in measured for ms in each["ms"][step])
            for step in measured[0]["ms"]
        }
        steps["sum"] = sum(ms for step, ms in steps.items() if step not in PARTS)
        medians[name] = steps
    print("| CPU ms per image | " + " | ".join(medians) + " |\n|---|" + "---:|" * len(medians))
    for step in next(iter(medians.values())):
        print(f"| {step} | " + " | ".join(f"{each[step]:.2f}" for each in medians.values()) + " |")
    if len(results) > 1:
        pairs = [[each["digests"] for each in measured] for measured in results.values()]
        different = [
            f"{step} of image {number}"
            for number, (one, other) in enumerate(zip(*pairs, strict=True))
            for step in one
            if one[step] != other[step]
        ]
        print(f"{len(pairs[0])} images; results that differ: {', '.join(different) or 'none'}")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--images", type=int, default=12)
    parser.add_argument("--rounds", type=int, default=7, help="at least 1")
    parser.add_argument("--against", type=Path, help="another checkout, measured first")
    parser.add_argument("--inputs", type=Path, help="a folder to keep the inputs in")
    parser.add_argument("--serve", type=Path, nargs=2, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.serve:
        serve(options.serve[1])
        return
    with ExitStack() as stack:
        made = stack.enter_context(tempfile.TemporaryDirectory(prefix="rmbg-bench-"))
        folder = options.inputs or Path(made)
        folder.mkdir(parents=True, exist_ok=True)
        if not (folder / f"{options.images - 1}.npy").exists():
            write_inputs(folder, options.images)
        roots = {"before": options.against.resolve()} if options.against else {}
        roots["now"] = HERE
        checkouts = {name: Checkout(root, folder) for name, root in roots.items()}
        for checkout in checkouts.values():
            stack.callback(checkout.close)
        results: dict[str, list[dict[str, Any]]] = {name: [] for name in roots}
        for number in range(options.images):
            for name, checkout in checkouts.items():
                results[name].append(checkout.measure(number, options.rounds))
        report(results)


if __name__ == "__main__":
    main()
