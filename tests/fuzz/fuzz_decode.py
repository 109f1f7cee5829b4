"""Fuzz `decode` with thousands of damaged images, in a process with limits.

    python tests/fuzz/fuzz_decode.py --seed 1 --files 100000

Real files of every format are damaged at random, each with its own seed, and decoded. The rules:
no crash, no hang, no memory over the limit, and every error is an `ItemError` with a reason. Prints
one JSON line; exits with 1 if a rule was broken. `--only SEED:N` decodes one file and prints the
result.
"""

from __future__ import annotations

import argparse
import collections
import json
import os
import random
import resource
import signal
import struct
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [path for path in (str(ROOT), str(ROOT / "tests")) if path not in sys.path]

import numpy as np  # noqa: E402 - as a script, it sets the paths first
from support import icc  # noqa: E402
from support.pictures import (  # noqa: E402
    as_image,
    encoded,
    exif,
    photo,
    png,
    png_chunk,
    tiff,
    ycck_jpeg,
)

from shared.errors import ItemError  # noqa: E402
from worker.imaging.decode import Limits, decode, peek  # noqa: E402

LIMITS = Limits(max_pixels=1_000_000)
MEMORY_BYTES = 256 * 2**20
"""Far more than an image of 1 MP needs; more is only allocated because of a false header."""

LIMIT_S = 10.0
EXTREMES = (0, 1, 2, 127, 128, 255, 256, 32767, 32768, 65535, 2**31 - 1, 2**31, 2**32 - 1)


def sources() -> dict[str, bytes]:
    """Return small valid files, each with another code path in the decoders."""
    rgb = photo(24, 18)
    rgba = np.dstack([rgb, photo(24, 18, seed=1)[..., 0]])
    deep = rgb.astype(np.uint16) * 257
    profile, turned = icc.rgb_profile(icc.DISPLAY_P3), exif(6)
    palette = as_image(rgb).quantize(16)
    files = {
        "jpeg": encoded(rgb, "JPEG", exif=turned, icc_profile=profile),
        "jpeg-plain": encoded(rgb, "JPEG"),
        "jpeg-grey": encoded(rgb[..., 0], "JPEG"),
        "jpeg-progressive": encoded(rgb, "JPEG", progressive=True, exif=turned),
        "jpeg-cmyk": encoded(rgba, "JPEG", "CMYK", icc_profile=icc.cmyk_profile(_corner)),
        "jpeg-ycck": ycck_jpeg(rgba),
        "jpeg-several": encoded(rgb, "MPO", **_two_frames(rgb)),
        "png": encoded(rgb, "PNG", exif=turned, icc_profile=profile),
        "png-alpha": encoded(rgba, "PNG"),
        "png-palette": encoded(palette, "PNG", transparency=b"\0\x80\xff"),
        "png-deep": png(deep, chunks=[(b"tRNS", b"\1\1\2\2\3\3")]),
        "png-interlaced": png(rgb, interlaced=True, chunks=[(b"gAMA", b"\0\0\xb1\x8f")]),
        "png-cicp": png(rgb, chunks=[(b"cICP", bytes((12, 13, 0, 1)))]),
        "png-animated": encoded(rgb, "PNG", **_two_frames(rgb)),
        "webp": encoded(rgb, "WEBP", exif=turned, icc_profile=profile),
        "webp-lossless": encoded(rgba, "WEBP", lossless=True),
        "webp-animated": encoded(rgb, "WEBP", **_two_frames(rgb)),
        "avif": encoded(rgb, "AVIF", exif=turned, icc_profile=profile),
        "avif-alpha": encoded(rgba, "AVIF"),
        "avif-wide": encoded(rgb, "AVIF").replace(b"nclx\0\1", b"nclx\0\x0c"),
        "avif-long": encoded(photo(96, 96), "AVIF"),
        "webp-long": encoded(photo(96, 96), "WEBP"),
        "tiff": encoded(rgb, "TIFF", exif=turned, icc_profile=profile),
        "tiff-deep": tiff(deep, photometric=2),
        "tiff-deep-grey": tiff(deep[..., 0], photometric=1, order=">"),
        "tiff-lab": tiff(rgb, photometric=8),
        "tiff-alpha": tiff(rgba, photometric=2, tags={338: 1}),
        "tiff-cmyk": encoded(rgba, "TIFF", "CMYK"),
        "tiff-pages": encoded(rgb, "TIFF", **_two_frames(rgb)),
        "gif": encoded(palette, "GIF", transparency=3),
        "gif-animated": encoded(rgb, "GIF", **_two_frames(rgb)),
        "bmp": encoded(rgb, "BMP"),
        "bmp-palette": encoded(palette, "BMP"),
    }
    for compression in ("tiff_lzw", "tiff_deflate", "packbits", "jpeg"):
        files[f"tiff-{compression}"] = encoded(rgb, "TIFF", compression=compression)
    try:
        files["heif"] = encoded(photo(64, 64), "HEIF", exif=turned)
        files["heif-alpha"] = encoded(np.dstack([photo(64, 64), photo(64, 64)[..., 0]]), "HEIF")
    except ImportError:
        pass  # the optional extra is not installed
    return files


def _two_frames(rgb: np.ndarray) -> dict:
    # Pillow stores a format's settings in appended images, so each file gets its own image.
    return {"save_all": True, "append_images": [as_image(rgb[::-1])]}


def _corner(c: int, m: int, y: int, k: int) -> tuple[float, float, float]:
    return (0, 0, 0) if k else (100 - 30 * (c + m + y), 60 * (m - c), 60 * (y - c))


def damaged(seed: int, number: int, files: dict[str, bytes]) -> tuple[str, bytes, str]:
    """Return source name, damaged file and setting of case *number*; deterministic."""
    chance = random.Random(f"{seed}:{number}")
    name = chance.choice(sorted(files))
    data = bytearray(files[name])
    for _ in range(chance.choice((1, 1, 1, 2, 3, 8))):
        data = bytearray(chance.choice(WAYS)(data, chance, files))
    if name.startswith("png") and chance.random() < 0.7:
        data = bytearray(_with_valid_checksums(bytes(data)))
    return name, bytes(data), chance.choice(("fail", "accept"))


def flip_bits(data, chance, files):
    for _ in range(chance.choice((1, 4, 16))):
        if data:
            data[chance.randrange(len(data))] ^= 1 << chance.randrange(8)
    return data


def cut(data, chance, files):
    return data[: chance.randrange(len(data) + 1)]


def splice(data, chance, files):
    """Continue with another file, or with another position of the same one."""
    other = files[chance.choice(sorted(files))] if chance.random() < 0.5 else bytes(data)
    return data[: chance.randrange(len(data) + 1)] + other[chance.randrange(len(other) + 1) :]


def edit_header(data, chance, files):
    for _ in range(chance.choice((1, 3))):
        if data:
            data[chance.randrange(min(len(data), 64))] = chance.choice((0, 1, 127, 255, 42))
    return data


def edit_number(data, chance, files):
    """Write an extreme value into two or four bytes: a length, an offset or a size."""
    kind = chance.choice(("<H", ">H", "<I", ">I"))
    size = struct.calcsize(kind)
    if len(data) > size:
        at = chance.randrange(min(len(data) - size, chance.choice((64, 512, 10**6))))
        struct.pack_into(kind, data, at, chance.choice(EXTREMES) % 2 ** (8 * size))
    return data


def repeat(data, chance, files):
    start = chance.randrange(len(data) + 1)
    block = data[start : start + chance.choice((4, 64, 1_000))]
    return data[:start] + block * chance.choice((2, 50)) + data[start:]


def remove(data, chance, files):
    start = chance.randrange(len(data) + 1)
    return data[:start] + data[start + chance.choice((1, 4, 100)) :]


WAYS = (flip_bits, flip_bits, cut, splice, edit_header, edit_number, edit_number, repeat, remove)


def _with_valid_checksums(data: bytes) -> bytes:
    """Recompute the checksums of a PNG, so that they do not reveal the damage."""
    result, at = data[:8], 8
    while at + 12 <= len(data):
        (length,) = struct.unpack_from(">I", data, at)
        content = data[at + 8 : at + 8 + length]
        if len(content) < length:
            break
        result += png_chunk(data[at + 4 : at + 8], content)
        at += 12 + length
    return result + data[at:]


def try_cases(seed: int, first: int, last: int, progress: int, limit_s: float) -> dict:
    """Decode the cases in this process; write the number of the current one to *progress*."""
    files = sources()
    outcomes, causes = collections.Counter(), collections.Counter()
    failures, slowest = [], (0.0, "")
    idle_bytes = _limit_memory()
    for number in range(first, last):
        os.pwrite(progress, b"%20d" % number, 0)
        name, data, truncated = damaged(seed, number, files)
        signal.setitimer(signal.ITIMER_REAL, limit_s)
        began = time.perf_counter()
        try:
            outcomes[outcome(data, truncated, causes)] += 1
        except Exception as err:  # noqa: BLE001 - any other exception is a failure
            failures.append({"case": f"{seed}:{number}", "source": name, "error": repr(err)})
        took = time.perf_counter() - began
        signal.setitimer(signal.ITIMER_REAL, 0)
        slowest = max(slowest, (took, f"{seed}:{number} {name}"))
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    return {
        "outcomes": outcomes,
        "causes": causes,
        "failures": failures,
        "slowest": slowest,
        "peak_bytes": peak - idle_bytes,
    }


def outcome(data: bytes, truncated: str, causes: collections.Counter) -> str:
    """Decode one file and return the name of the outcome.

    Raises:
        Exception: If a rule is broken.
    """
    try:
        decoded = decode(data, LIMITS, truncated=truncated)
    except ItemError as err:
        if not str(err).strip(" :"):
            raise AssertionError("an ItemError without a reason") from err
        causes[type(err.__cause__).__name__] += 1
        memory = ": memory" if "out of memory" in str(err) else ""
        return type(err).__name__ + memory
    height, width, channels = decoded.image.shape
    if channels != 3 or height * width > LIMITS.max_pixels or decoded.image.dtype != np.uint8:
        raise AssertionError(f"decoded to {decoded.image.shape}")
    header = peek(data, LIMITS)
    if header.width * header.height < height * width:
        raise AssertionError(f"the header declares {header}, decoded to {decoded.image.shape}")
    return "decoded, noted" if decoded.notes else "decoded"


def _limit_memory() -> int:
    """Limit memory on top of what is allocated now; return the present peak in bytes."""
    text = Path("/proc/self/status").read_text()
    status = dict(line.split(":", 1) for line in text.splitlines())
    held = int(status["VmData"].split()[0]) * 1024
    resource.setrlimit(resource.RLIMIT_DATA, (held + MEMORY_BYTES,) * 2)
    return int(status["VmHWM"].split()[0]) * 1024


def hunt(seed: int, files: int, *, limit_s: float = LIMIT_S) -> dict:
    """Run *files* cases in child processes; report a death and continue with the next case."""
    outcomes, causes = collections.Counter(), collections.Counter()
    failures, slowest, peak, first = [], (0.0, ""), 0, 0
    with tempfile.TemporaryFile() as progress:
        while first < files:
            last = min(first + 5_000, files)
            os.pwrite(progress.fileno(), b"%20d" % -1, 0)
            arguments = [seed, first, last, progress.fileno(), limit_s]
            ended = subprocess.run(
                [sys.executable, "-W", "error", __file__, "--child", json.dumps(arguments)],
                capture_output=True,
                text=True,
                check=False,
                pass_fds=[progress.fileno()],
            )
            if ended.returncode == 0:
                found = json.loads(ended.stdout)
                outcomes.update(found["outcomes"])
                causes.update(found["causes"])
                failures += found["failures"]
                slowest = max(slowest, tuple(found["slowest"]))
                peak = max(peak, found["peak_bytes"])
                first = last
                continue
            at = int(os.pread(progress.fileno(), 20, 0))
            if at < first:
                raise RuntimeError(f"the child did not start: {ended.stderr}")
            error = f"died: {_how(ended.returncode)} {ended.stderr[-300:]}".strip()
            failures.append({"case": f"{seed}:{at}", "error": error})
            first = at + 1
    return {
        "seed": seed,
        "files": files,
        "outcomes": outcomes,
        "causes": causes,
        "slowest_s": round(slowest[0], 3),
        "slowest_case": slowest[1],
        "peak_bytes": peak,
        "failures": failures,
    }


def _how(code: int) -> str:
    return signal.Signals(-code).name if code < 0 else f"exit code {code}"


def show(case: str) -> None:
    """Decode one case in this process and print the outcome or the traceback."""
    seed, number = map(int, case.split(":"))
    name, data, truncated = damaged(seed, number, sources())
    path = Path(tempfile.gettempdir(), f"case-{seed}-{number}.{name}")
    path.write_bytes(data)
    sys.stdout.write(f"{name}, {truncated}, {len(data)} bytes, written to {path}\n")
    sys.stdout.write(outcome(data, truncated, collections.Counter()) + "\n")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--files", type=int, default=2_000)
    parser.add_argument("--only", metavar="SEED:N")
    parser.add_argument("--child", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.child:
        sys.stdout.write(json.dumps(try_cases(*json.loads(given.child))))
        return 0
    if given.only:
        show(given.only)
        return 0
    report = hunt(given.seed, given.files)
    sys.stdout.write(json.dumps(report) + "\n")
    return 1 if report["failures"] else 0


if __name__ == "__main__":
    sys.exit(main())
