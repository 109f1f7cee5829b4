"""Compare the pixels of `decode` with those of another reader, libvips, over public test files.

    python tests/fuzz/compare_decoders.py --fetch out/fixtures
    python tests/fuzz/compare_decoders.py FOLDER...

`--fetch` clones the test images of image libraries into a folder; they are never committed. Prints
one line for each file that differs and one JSON line; exits with 1 if a file differs without an
excuse. `EXCUSES` lists where libvips itself is not a reference.
"""

from __future__ import annotations

import argparse
import collections
import io
import json
import signal
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [path for path in (str(ROOT), str(ROOT / "tests")) if path not in sys.path]

import numpy as np  # noqa: E402 - as a script, it sets the paths first
import pyvips  # noqa: E402
from fuzz.fixtures import FetchError, fetch  # noqa: E402
from PIL import Image  # noqa: E402

from shared.errors import ItemError  # noqa: E402
from worker.imaging.decode import DecodedImage, Limits, decode  # noqa: E402

SUFFIXES = frozenset({".png", ".tif", ".tiff", ".jpg", ".jpeg", ".gif", ".webp"})
"""libvips reads no BMP, and the versions in packages no HEIC."""
LIMITS = Limits(max_pixels=50_000_000)
LIMIT_S = 30
MEAN = 3.0
"""Greatest mean difference of 255: other chroma upsampling, rounding of profiles."""
FAINT = 16
"""Alpha up to this leaves too few bits of premultiplied colours to compare."""
COMPRESSION, PHOTOMETRIC, ORIENTATION, PALETTE, EXTRA = 259, 262, 274, 320, 338


EXCUSES = {
    "it takes unspecified extra channels for alpha": lambda _, tags: 0 in tags.get(EXTRA, ()),
    "it takes none of several extra channels for alpha": lambda _, tags: (
        len(tags.get(EXTRA, ())) > 1
    ),
    "it converts YCbCr only in JPEG": lambda _, tags: (
        tags.get(PHOTOMETRIC) == 6 and tags.get(COMPRESSION) not in (6, 7)
    ),
    "it is built without old-style JPEG and LZMA": lambda _, tags: (
        tags.get(COMPRESSION) in (6, 34925)
    ),
    "it ignores the orientation in XMP and in text chunks of a PNG": lambda image, _: (
        image.format == "PNG" and image.getexif().get(ORIENTATION, 1) > 1
    ),
    "it applies an orientation of the wrong type": lambda _, tags: isinstance(
        tags.get(ORIENTATION), bytes
    ),
    "it reads a palette of 8-bit levels as black": lambda image, tags: (
        image.mode == "P" and max(tags.get(PALETTE, (256,))) < 256
    ),
}
"""Where libvips is no reference: by image and TIFF tags."""


def excuse(data: bytes, ours: DecodedImage) -> str | None:
    """Return why libvips is no reference for a file, or None."""
    if any("CMYK" in note for note in ours.notes):
        return "it has another default for CMYK without a profile"
    if b"cICP" in data[:1000]:
        return "it ignores the colour space that a PNG names"
    with Image.open(io.BytesIO(data)) as image:
        tags = getattr(image, "tag_v2", {})
        return next((reason for reason, applies in EXCUSES.items() if applies(image, tags)), None)


def theirs(data: bytes) -> tuple[np.ndarray, np.ndarray]:
    """Return colours and alpha as libvips decodes them.

    Raises:
        pyvips.Error: If it cannot.
    """
    image = pyvips.Image.new_from_buffer(data, "", fail_on="error").autorot()
    if image.get_typeof("icc-profile-data") and image.interpretation != "b-w":
        image = image.icc_transform("srgb", embedded=True, black_point_compensation=True)
    elif image.interpretation != "srgb" or image.format != "uchar":
        image = image.colourspace("srgb")
    pixels = image.numpy()
    if pixels.dtype == np.uint16:
        pixels = (pixels >> 8).astype(np.uint8)
    pixels = pixels.reshape(*pixels.shape[:2], -1).astype(int)
    bands = pixels.shape[-1]
    colours = pixels[..., :3] if bands >= 3 else pixels[..., :1].repeat(3, -1)
    return colours, pixels[..., -1] if bands in (2, 4) else np.full(pixels.shape[:2], 255)


def compare(data: bytes) -> tuple[str, str]:
    """Return an outcome and its details for one file."""
    try:
        ours = decode(data, LIMITS)
    except ItemError as err:
        return "refused", str(err)
    try:
        colours, alpha = theirs(data)
    except pyvips.Error as err:
        return "libvips refuses", str(err).splitlines()[0]
    found = ours.image if ours.straight is None else ours.straight
    if found.shape != colours.shape:
        difference = f"{found.shape} instead of {colours.shape}"
    else:
        own_alpha = np.full(alpha.shape, 255) if ours.alpha is None else ours.alpha.astype(int)
        visible = (own_alpha > FAINT) & (alpha > FAINT)
        mean = float(np.abs(found - colours)[visible].mean()) if visible.any() else 0.0
        mean_alpha = float(np.abs(own_alpha - alpha).mean())
        if max(mean, mean_alpha) <= MEAN:
            return "equal", ""
        difference = f"colours differ by {mean:.1f}, alpha by {mean_alpha:.1f}"
    reason = excuse(data, ours)
    return ("excused", f"{difference}: {reason}") if reason else ("differs", difference)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folders", nargs="*", type=Path, metavar="FOLDER")
    parser.add_argument("--fetch", type=Path, metavar="FOLDER")
    given = parser.parse_args()
    try:
        folders = given.folders + (fetch(given.fetch, SUFFIXES) if given.fetch else [])
    except FetchError as err:
        sys.exit(f"compare_decoders: {err}")
    outcomes: collections.Counter[str] = collections.Counter()
    for path in sorted(each for folder in folders for each in folder.rglob("*")):
        if path.suffix.lower() not in SUFFIXES or not path.is_file():
            continue
        signal.alarm(LIMIT_S)  # ends this process if a decoder hangs
        outcome, details = compare(path.read_bytes())
        signal.alarm(0)
        outcomes[outcome] += 1
        if outcome == "differs":
            sys.stdout.write(f"{path}: {details}\n")
    sys.stdout.write(json.dumps({"outcomes": outcomes}) + "\n")
    return 1 if outcomes["differs"] or not outcomes else 0


if __name__ == "__main__":
    sys.exit(main())
