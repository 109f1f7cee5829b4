"""Check finished images against the text of a preset, with Pillow alone.

    python tests/presets/independent_check.py FOLDER

FOLDER holds one folder a preset; each file in it was made with that preset and found `ok`. Prints
what contradicts that, and exits with 1 if anything does.

This is a second opinion: it reads the TOML files itself and imports nothing of ours, which a hook
enforces. It has no mask, so that it measures the subject against the plain colour of the corners,
and does not judge what only the mask knows.
"""

import importlib.abc
import sys
import tomllib
from pathlib import Path

from PIL import Image, ImageChops

PRESETS = Path(__file__).parents[2] / "shared/recipes/data"
FORMATS = {"jpg": "JPEG", "png": "PNG", "gif": "GIF", "bmp": "BMP", "tiff": "TIFF", "webp": "WEBP"}
UNITS = {"kB": 1000, "MB": 1000 * 1000}
NEAR_BACKGROUND = 24
"""Difference by which a JPEG's background may stray without being the subject."""
WHITE = (255, 255, 255)
FAINT = 4
"""Difference from white up to which a pixel is no edge of a subject, however soft."""
STRAYS_PX = 12
"""By which a JPEG's subject may stray into the white beside it."""
SLACK = 0.01
"""By which the subject's share may differ: its edge is soft, and light parts look like white."""


class NoneOfOurs(importlib.abc.MetaPathFinder):
    """Refuse to import the code that is checked."""

    def find_spec(self, fullname, path=None, target=None):
        if fullname.split(".")[0] in ("worker", "shared", "producer"):
            raise ImportError(f"{fullname} is what is checked")


def sides(limit):
    """Return least or greatest width, height and longest side of `500`, `762x1100`, `longest 9`."""
    text = str(limit)
    if text.startswith("longest"):
        return 0, 0, int(text.split()[1])
    width, _, height = text.partition("x")
    return int(width), int(height or width), 0


def size_bytes(limit):
    number, unit = str(limit).split()
    return int(number) * UNITS[unit]


def ratio(limit):
    width, height = str(limit).split(":")
    return float(width) / float(height)


def subject_box(image, background, tolerance=NEAR_BACKGROUND):
    """Return the box of what differs from the plain *background* beyond *tolerance*, or None."""
    plain = Image.new("RGB", image.size, background)
    red, green, blue = ImageChops.difference(image, plain).split()
    most = ImageChops.lighter(ImageChops.lighter(red, green), blue)
    return most.point([255 * (value > tolerance) for value in range(256)]).getbbox()


def is_opaque(image):
    return "A" not in image.getbands() or image.getchannel("A").getextrema()[0] == 255


def background_is_white(image):
    """Tell whether a corner is white, and all that lies apart from the subject's box."""
    right, bottom = image.width - 1, image.height - 1
    corners = [image.getpixel(at) for at in ((0, 0), (right, 0), (0, bottom), (right, bottom))]
    if WHITE not in corners:
        return False
    box = subject_box(image, WHITE, FAINT)
    if box is None:
        return image.getextrema() == ((255, 255),) * 3
    apart = image.copy()
    apart.paste(
        WHITE, (box[0] - STRAYS_PX, box[1] - STRAYS_PX, box[2] + STRAYS_PX, box[3] + STRAYS_PX)
    )
    return apart.getextrema() == ((255, 255),) * 3


def size_faults(image, must):
    """Yield what the preset's limits of width and height refuse."""
    width, height = image.size
    low = sides(must.get("min_side_px", 0))
    high = sides(must.get("max_side_px", 10**9))
    if width < low[0] or height < low[1] or max(width, height) < low[2]:
        yield f"min_side_px: {width}x{height}"
    if max(width, height) > high[2] > 0 or (not high[2] and (width > high[0] or height > high[1])):
        yield f"max_side_px: {width}x{height}"
    if width * height > must.get("megapixels", 10**9) * 10**6:
        yield f"megapixels: {width}x{height}"
    if "aspect" in must:
        wished = ratio(must["aspect"])
        if min(abs(width - height * wished), abs(height - width / wished)) > 1:
            yield f"aspect: {width}x{height}"


def file_faults(path, image, must):
    """Yield what the preset refuses about the file."""
    count = path.stat().st_size
    if "max_bytes" in must and count > size_bytes(must["max_bytes"]):
        yield f"max_bytes: {count}"
    if "min_bytes" in must and count < size_bytes(must["min_bytes"]):
        yield f"min_bytes: {count}"
    if "formats" in must and image.format not in {FORMATS[name] for name in must["formats"]}:
        yield f"formats: {image.format}"
    if must.get("extension_matches") and FORMATS.get(path.suffix[1:]) != image.format:
        yield f"extension_matches: {path.suffix}"
    if must.get("colour_space") and image.mode not in ("RGB", "RGBA", "P"):
        yield f"colour_space: {image.mode}"
    if "min_dpi" in must and min(image.info.get("dpi", (0, 0))) < must["min_dpi"] - 0.5:
        yield f"min_dpi: {image.info.get('dpi')}"


def subject_faults(image, must):
    """Yield what the preset refuses about background and subject."""
    if must.get("no_transparency") and not is_opaque(image):
        yield "no_transparency"
    plain = image.convert("RGB")
    if must.get("white_background") and not background_is_white(plain):
        yield "white_background"
    needs_box = {"fill", "subject_touches_edge"} & must.keys()
    box = subject_box(plain, plain.getpixel((0, 0))) if needs_box else None
    if box is None:
        return
    left, top, right, bottom = box
    width, height = image.size
    share = max((right - left) / width, (bottom - top) / height)
    if share < must.get("fill", 0) - SLACK:
        yield f"fill: {share:.3f}"
    if must.get("subject_touches_edge") and (
        left == 0 or top == 0 or right == width or bottom == height
    ):
        yield f"subject_touches_edge: {box}"


def faults(path, must):
    with Image.open(path) as image:
        image.load()
        yield from size_faults(image, must)
        yield from file_faults(path, image, must)
        yield from subject_faults(image, must)


def main(folder):
    checked, contradictions = 0, 0
    for preset in sorted(each for each in folder.iterdir() if each.is_dir()):
        text = (PRESETS / f"{preset.name}.toml").read_text(encoding="utf-8")
        must = tomllib.loads(text)["checks"]["must"]
        for path in sorted(preset.iterdir()):
            checked += 1
            if found := list(faults(path, must)):
                contradictions += 1
                sys.stdout.write(f"{preset.name}/{path.name}: {'; '.join(found)}\n")
    sys.stdout.write(f"{checked} images found ok, {contradictions} contradicted\n")
    return int(contradictions > 0 or checked == 0)


if __name__ == "__main__":
    sys.meta_path.insert(0, NoneOfOurs())
    sys.exit(main(Path(sys.argv[1])))
