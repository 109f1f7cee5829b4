"""Count what becomes of damaged files, and how often undamaged ones are suspected.

    python tests/fuzz/damage_corpus.py --write docs/quality.md

Photographs are encoded in several formats and damaged as files are in practice: bytes overwritten,
bits flipped, cut, line ends converted. Each is decoded with both settings of `--truncated`. Then
whole files are decoded: generated ones, the photographs in many encodings, and the files below
`--whole`. Any doubt about one of these, or its refusal, is a false alarm. `cjpeg` of libjpeg-turbo
is needed for arithmetic coding; without it those rows are left out.

Prints two tables; exits with 1 after a false alarm, or if fewer than 135 of 195 visibly wrong JPEGs
with overwritten bytes were found.
"""

from __future__ import annotations

import argparse
import collections
import fnmatch
import functools
import io
import itertools
import multiprocessing
import random
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [path for path in (str(ROOT), str(ROOT / "tests")) if path not in sys.path]

import cv2  # noqa: E402 - as a script, it sets the paths first
import numpy as np  # noqa: E402
from PIL import Image, ImageDraw, ImageFile  # noqa: E402
from support.pictures import as_image, encoded  # noqa: E402

from shared.errors import ItemError, UnsupportedImage  # noqa: E402
from worker.imaging.decode import DecodedImage, Limits, decode  # noqa: E402

LIMITS = Limits()
ImageFile.MAXBLOCK = 2**24  # Pillow's buffer is too small for some JPEGs of quality 100
PHOTOS = ROOT / "examples" / "photos"
MARK = "<!-- damage corpus -->"
FOUND_SHARE = 135 / 195
PARTS = 20
"""Files are cut after each of these parts."""
LINE_ENDS = ((b"\n", b"\r\n"), (b"\r\n", b"\n"), (b"\r", b"\n"))
VISIBLE_LEVELS, VISIBLE_SHARE = 8, 0.002
"""Wrong is an image with this share of pixels that differ by more than this many levels of 255."""

FORMATS = {
    "JPEG baseline": {"image_format": "JPEG", "quality": 85},
    "JPEG progressive": {"image_format": "JPEG", "quality": 85, "progressive": True},
    "JPEG arithmetic": {"image_format": "ARITHMETIC"},
    "PNG": {"image_format": "PNG"},
    "WebP": {"image_format": "WEBP", "quality": 85},
    "WebP lossless": {"image_format": "WEBP", "lossless": True},
    "AVIF": {"image_format": "AVIF", "quality": 75, "speed": 8},
    "HEIC": {"image_format": "HEIF", "quality": 75},
    "TIFF uncompressed": {"image_format": "TIFF"},
    "TIFF LZW": {"image_format": "TIFF", "compression": "tiff_lzw"},
    "TIFF deflate": {"image_format": "TIFF", "compression": "tiff_deflate"},
}
OTHERS = (
    ("PNG", {}),
    *(("WEBP", {"quality": quality, "method": 2}) for quality in (10, 50, 80, 100)),
    ("WEBP", {"lossless": True, "method": 2}),
    *(("AVIF", {"quality": quality, "speed": 9}) for quality in (20, 50, 75, 95)),
    *(("HEIF", {"quality": quality}) for quality in (20, 50, 90)),
    *(("TIFF", {"compression": each}) for each in ("raw", "tiff_lzw", "tiff_deflate", "jpeg")),
)
"""Formats and settings of undamaged files that are no JPEGs."""
OUTCOMES = (("silent",), ("noted", "noted, visible"), ("refused",), ("harmless",))
DAMAGE = ("4 bytes overwritten", "1 bit flipped", "cut", "line ends converted")


def photographs(width: int) -> list[np.ndarray]:
    """Return the example photographs, *width* pixels wide."""
    found = []
    for path in sorted(PHOTOS.rglob("*.jpg")):
        with Image.open(path) as image:
            size = (width, round(image.height * width / image.width))
            found.append(np.asarray(image.convert("RGB").resize(size, Image.Resampling.LANCZOS)))
    return found


def file_of(pixels: np.ndarray, image_format: str, **options) -> bytes:
    if image_format != "ARITHMETIC":
        return encoded(pixels, image_format, **options)
    command = ["cjpeg", "-arithmetic", "-quality", "85"]
    return subprocess.run(
        command, input=encoded(pixels, "PPM"), capture_output=True, check=True
    ).stdout


def damaged(data: bytes, damage: str, count: int, chance: random.Random) -> Iterator[bytes]:
    """Yield damaged copies of *data*; its first bytes stay, or it would be no image at all."""
    first = min(700, len(data) // 10)
    if damage == "cut":
        for part in range(1, PARTS):
            yield data[: len(data) * part // PARTS]
    elif damage == "line ends converted":
        for before, after in LINE_ENDS:
            yield data[:first] + data[first:].replace(before, after)
    else:
        for _ in range(count):
            at = chance.randrange(first, len(data) - 4)
            wrong = chance.randbytes(4)
            if damage == "1 bit flipped":
                wrong = bytes([data[at] ^ 1 << chance.randrange(8)])
            yield data[:at] + wrong + data[at + len(wrong) :]


def outcome(data: bytes, truncated: str, before: np.ndarray) -> str:
    """Return what becomes of a damaged file."""
    try:
        decoded = decode(data, LIMITS, truncated=truncated)
    except ItemError:
        return "refused"
    if is_visible(decoded.image, before):
        return "noted, visible" if decoded.doubts else "silent"
    return "noted" if decoded.doubts else "harmless"


def is_visible(after: np.ndarray, before: np.ndarray) -> bool:
    if after.shape != before.shape:
        return True
    worst = cv2.absdiff(after, before).max(axis=2)
    return float((worst > VISIBLE_LEVELS).mean()) > VISIBLE_SHARE


def count_damaged(case: tuple[str, str, np.ndarray, int, int]) -> collections.Counter:
    """Return counts of (format, damage, setting, outcome) for one photograph."""
    name, damage, pixels, count, seed = case
    data = file_of(pixels, **FORMATS[name])
    before = decode(data, LIMITS).image
    chance = random.Random(f"{seed}:{name}:{damage}:{len(data)}")
    counts: collections.Counter = collections.Counter()
    for copy in damaged(data, damage, count, chance):
        counts.update((name, damage, how, outcome(copy, how, before)) for how in ("fail", "accept"))
    return counts


def generated(number: int) -> np.ndarray:
    """Return an image that might be mistaken for a damaged one; deterministic."""
    chance = random.Random(number)
    height, width = chance.randrange(200, 700), chance.randrange(300, 900)
    kinds = (_backdrop, _banner, _collage, _pixel_art, _stripes)
    return kinds[number % len(kinds)](chance, height, width)


def _backdrop(chance: random.Random, height: int, width: int) -> np.ndarray:
    """Return a studio's background: a smooth, slightly tilted gradient, and a product."""
    y, x = np.mgrid[0:height, 0:width]
    light = chance.uniform(0.05, 0.6) * y + chance.uniform(-0.02, 0.02) * x
    image = as_image(
        np.clip(chance.randrange(40, 200) + light[..., None] + [0, 2, 5], 0, 255).astype(np.uint8)
    )
    box = [chance.randrange(width // 2), chance.randrange(height // 2)]
    box += [box[0] + width // 3, box[1] + height // 3]
    ImageDraw.Draw(image).ellipse(box, fill=_colour(chance))
    return np.asarray(image)


def _banner(chance: random.Random, height: int, width: int) -> np.ndarray:
    """Return a photograph with bars of text, on the grid of blocks."""
    image = as_image(_photo(chance, height, width))
    draw = ImageDraw.Draw(image)
    for _ in range(2):
        top, left = 16 * chance.randrange(height // 16), 16 * chance.randrange(width // 16)
        draw.rectangle([left, top, width, top + chance.choice((15, 16, 31))], fill=_colour(chance))
        draw.text((left + 4, top + 2), "HC500 HYPERFIRE 2016-04-19", fill=_colour(chance))
    return np.asarray(image)


def _collage(chance: random.Random, height: int, width: int) -> np.ndarray:
    """Return several photographs side by side, some of them on the grid of blocks."""
    image = np.full((height, width, 3), 255, np.uint8)
    grid = chance.choice((1, 8, 16))
    for _ in range(chance.choice((2, 4, 6))):
        top = chance.randrange(height // 2) // grid * grid
        left = chance.randrange(width // 2) // grid * grid
        part = _photo(chance, height - top, width - left)
        image[top:, left:] = part
    return image


def _pixel_art(chance: random.Random, height: int, width: int) -> np.ndarray:
    side = chance.choice((4, 8, 16))
    noise = np.random.default_rng(chance.randrange(10**6))
    small = noise.integers(0, 4, (-(-height // side), -(-width // side), 3), np.uint8) * 80
    if chance.random() < 0.7:  # a landscape of steps
        ground = np.cumsum(noise.integers(-1, 2, small.shape[1]) * (noise.random() < 0.5))
        below = np.arange(len(small))[:, None] > ground + len(small) // 2
        small = np.where(below[..., None], _colour(chance), _colour(chance)).astype(np.uint8)
    return small.repeat(side, 0).repeat(side, 1)[:height, :width]


def _stripes(chance: random.Random, height: int, width: int) -> np.ndarray:
    y, x = np.mgrid[0:height, 0:width]
    period, slope = chance.choice((7, 8, 16, 24, 32, 64)), chance.choice((0, 0.01, 0.02, 0.5, 2))
    is_light = ((y + slope * x) // period % 2).astype(bool)
    colours = _colour(chance), _colour(chance)
    return np.where(is_light[..., None], *colours).astype(np.uint8)


def _colour(chance: random.Random) -> tuple[int, int, int]:
    return chance.randrange(256), chance.randrange(256), chance.randrange(256)


def _photo(chance: random.Random, height: int, width: int) -> np.ndarray:
    source = chance.choice(_sources())
    return np.asarray(cv2.resize(source, (width, height), interpolation=cv2.INTER_AREA))


@functools.cache
def _sources() -> list[np.ndarray]:
    return photographs(900)


def whole_file(number: int) -> tuple[str, bytes]:
    """Return name and content of an undamaged file; deterministic."""
    chance = random.Random(f"whole {number}")
    if number % 2:
        height, width = chance.randrange(120, 900), chance.randrange(120, 1200)
        pixels = _photo(chance, height, width)
    else:
        pixels = generated(number // 2)
    options = {
        "quality": chance.choice((10, 20, 30, 40, 50, 60, 75, 85, 90, 95, 100)),
        "subsampling": chance.choice((0, 1, 2)),
        "progressive": chance.random() < 0.3,
        "restart_marker_rows": chance.choice((0, 0, 0, 1)),
    }
    image_format = chance.choice(("JPEG",) * 8 + ("PNG", "WEBP", "TIFF"))
    if image_format != "JPEG":
        image_format, other = chance.choice(OTHERS)
        return f"generated {number} {image_format} {other}", encoded(pixels, image_format, **other)
    grey = chance.random() < 0.1
    data = encoded(pixels[..., 1] if grey else pixels, "JPEG", **options)
    if chance.random() < 0.2:  # encoded again, as shops do
        with Image.open(io.BytesIO(data)) as image:
            data = encoded(image.copy(), "JPEG", quality=chance.choice((40, 75, 90)))
    return f"generated {number} {options}", data


def alarm(source: int | Path) -> str | None:
    """Decode an undamaged file; return what is wrong with the result, "" if nothing is.

    None stands for a file of an unsupported kind.
    """
    name, data = whole_file(source) if isinstance(source, int) else (str(source), None)
    try:
        decoded: DecodedImage = decode(data or Path(name).read_bytes(), LIMITS)
    except UnsupportedImage:
        return None
    except ItemError as err:
        return f"{name}: refused: {err}"
    return f"{name}: {'; '.join(decoded.doubts)}" if decoded.doubts else ""


def whole_paths(folders: list[Path], excluded: list[str]) -> list[Path]:
    paths = (path for folder in folders for path in folder.rglob("*") if path.is_file())
    endings = {".jpg", ".jpeg", ".png", ".webp", ".tif", ".tiff"}
    return sorted(
        path
        for path in paths
        if path.suffix.lower() in endings
        and not any(fnmatch.fnmatch(str(path), pattern) for pattern in excluded)
    )


def table(counts: collections.Counter) -> list[str]:
    heads = "silent | noted | refused | harmless"
    lines = [
        f"| file | damage | files | {heads} | `accept`: {heads} |",
        "|---|---|---:|---:|---:|---:|---:|---:|---:|---:|---:|",
    ]
    for name, damage in itertools.product(FORMATS, DAMAGE):
        cells = [
            sum(counts[name, damage, how, what] for what in whats)
            for how in ("fail", "accept")
            for whats in OUTCOMES
        ]
        if any(cells):
            shown = " | ".join(f"{cell:,}" for cell in (sum(cells[:4]), *cells))
            lines.append(f"| {name} | {damage} | {shown} |")
    return lines


def run(count: int, seed: int, whole: int, paths: list[Path], processes: int) -> tuple[str, bool]:
    """Return the report, and whether the goals are met."""
    names = [name for name in FORMATS if name != "JPEG arithmetic" or shutil.which("cjpeg")]
    photos = photographs(480)
    cases = [
        (name, how, photo, count, seed) for name in names for how in DAMAGE for photo in photos
    ]
    counts: collections.Counter = collections.Counter()
    with multiprocessing.get_context("spawn").Pool(processes) as pool:
        for found in pool.imap_unordered(count_damaged, cases):
            counts.update(found)
        alarms = pool.map(alarm, [*range(whole), *paths], chunksize=50)
    key = ("JPEG baseline", "4 bytes overwritten", "accept")
    silent, noted = counts[*key, "silent"], counts[*key, "noted, visible"]
    decoded = [text for text in alarms if text is not None]
    wrong = [text for text in decoded if text]
    visible = max(1, silent + noted)
    goal = (
        f"Of {silent + noted:,} baseline JPEGs with 4 bytes overwritten that decode and are visibly"
        f" wrong, {noted:,} are noted ({noted / visible:.0%}; the goal is 135 of 195, 69 %)."
    )
    total = (
        f"False alarms: {len(wrong):,} of {len(decoded):,} undamaged files ({whole:,} generated,"
        f" {len(decoded) - whole:,} public)."
    )
    lines = [*table(counts), "", goal, "", total, *(f"* {text}" for text in wrong)]
    return "\n".join(lines), not wrong and noted >= visible * FOUND_SHARE


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--count", type=int, default=40, help="copies per photograph and damage")
    parser.add_argument("--undamaged", type=int, default=3_000, help="whole files to generate")
    parser.add_argument("--whole", type=Path, action="append", default=[], metavar="DIR")
    parser.add_argument("--except", action="append", default=[], dest="excluded", metavar="GLOB")
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument(
        "--write", type=Path, metavar="FILE", help=f"replace what is between {MARK}"
    )
    given = parser.parse_args()
    paths = whole_paths(given.whole, given.excluded)
    report, is_good = run(given.count, given.seed, given.undamaged, paths, given.processes)
    sys.stdout.write(report + "\n")
    if given.write:
        before, _, after = given.write.read_text().split(MARK)
        given.write.write_text(f"{before}{MARK}\n{report}\n{MARK}{after}")
    return 0 if is_good else 1


if __name__ == "__main__":
    sys.exit(main())
