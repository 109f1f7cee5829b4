"""Keys of a job's outputs.

A key depends only on the job and the item, so that a redelivered item is written to the same key
again. Two items of a job never have the same key.

    source:   {prefix}/[held/]{output}/[{width}/]{image key}.{ext}
    ComfyUI:  {folder}/[held/]{stem}[_{output}[-w{width}]]_{number:05}_.{ext}
"""

import re
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

from shared.errors import InvalidKey
from shared.job.keys import (
    AT_WORKER,
    JOBS,
    MAX_KEY_BYTES,
    PLACEHOLDER,
    PREVIEWS,
    check_image_key,
)
from shared.job.spec import ImageOutput, JobSpec, Naming

CUTOUT: Final = "cutout"
MASK: Final = "mask"
BUILT_IN: Final = (CUTOUT, MASK)
"""Outputs that need no recipe."""
HELD: Final = "held"
"""Folder of the outputs that wait for a person."""
OUTPUT_NAME: Final = re.compile(r"[a-z][a-z0-9-]{0,63}")
_EXTENSION: Final = re.compile(r"[a-z0-9]{1,8}")


@dataclass(frozen=True)
class Slot:
    """One of the objects that an item is written to."""

    output: str
    """`cutout`, `mask` or a recipe's name."""
    ext: str
    """Extension in lower case, without the dot."""
    width_px: int = 0
    """Width, if the output is written in several; else 0."""
    held: bool = False
    """Whether it waits for a person."""

    @property
    def folder(self) -> str:
        """Folder below the prefix, if outputs are named after their sources."""
        parts = (HELD if self.held else "", self.output, str(self.width_px or ""))
        return "/".join(filter(None, parts))


def output_key(
    spec: JobSpec,
    slot: Slot,
    *,
    job_id: str,
    index: int,
    image_key: str,
    width: int,
    height: int,
) -> str:
    """Return the key of item *index*'s *slot*; the same for every repetition.

    Naming by source keeps the source's extension, so that `a.jpg` and `a.png` have different
    outputs. ComfyUI's naming counts from the number that the submission reserved. Preview images
    have their own folder with either naming.

    Args:
        spec: The job, with dates in its prefix expanded.
        slot: The output; its name is of lower case letters, digits and `-`.
        job_id: The job's id; part of preview keys.
        index: The item's index; ComfyUI's number is `spec.counter_base + index`.
        image_key: The source's full key.
        width: Width of the source in pixels, for `%width%`.
        height: Height of the source in pixels, for `%height%`.

    Raises:
        InvalidKey: If `check_image_key` refuses the image key, or the result is over
            `MAX_KEY_BYTES`.
    """
    if not OUTPUT_NAME.fullmatch(slot.output) or not _EXTENSION.fullmatch(slot.ext):
        raise InvalidKey(f"output name {slot.output!r} or extension {slot.ext!r} is not valid")
    check_image_key(image_key)
    values = {"width": width, "height": height, "batch_num": index}
    prefix = re.sub(
        f"%({'|'.join(AT_WORKER)})%", lambda found: str(values[found[1]]), spec.save_prefix
    )
    if spec.image_output is ImageOutput.PREVIEW:
        folder = f"{PREVIEWS}/{spec.date}/{job_id}/easyPreview"
        key = f"{folder}/{slot.folder}/{image_key}.{slot.ext}"
    elif spec.naming is Naming.COMFYUI:
        key = f"{_numbered(prefix, slot)}_{spec.counter_base + index:05}_.{slot.ext}"
    else:
        key = f"{prefix}/{slot.folder}/{image_key}.{slot.ext}"
    if (size_bytes := len(key.encode())) > MAX_KEY_BYTES:
        raise InvalidKey(
            f"image key {image_key!r}: its output key is {size_bytes} bytes long; "
            f"the limit is {MAX_KEY_BYTES}"
        )
    return key


def _numbered(prefix: str, slot: Slot) -> str:
    """Return the key of *slot* under ComfyUI's naming, before the number."""
    folder, slash, stem = prefix.rpartition("/")
    held = f"{HELD}/" if slot.held else ""
    output = "" if slot.output == CUTOUT else f"_{slot.output}"
    width = f"-w{slot.width_px}" if slot.width_px else ""
    return f"{folder}{slash}{held}{stem}{output}{width}"


def numbered_names(spec: JobSpec) -> frozenset[str]:
    """Return the keys of a job's outputs under ComfyUI's naming, each before its number.

    >>> from shared.job.spec import JobSpec
    >>> shop = JobSpec(input_bucket="a", output_bucket="b", weights_sha256="", save_prefix="s/a")
    >>> sorted(numbered_names(shop))
    ['s/a', 's/a_mask']
    """
    widths = {each.name: each.recipe.widths or (0,) for each in spec.outputs}
    return frozenset(
        _numbered(spec.save_prefix, Slot(name, "png", width_px, held))
        for name in spec.output_names
        for width_px in widths.get(name, (0,))
        for held in {False, name in spec.held_outputs}
    )


def comfyui_stem(prefix: str) -> str:
    """Return the part of *prefix* before its first placeholder.

    Numbers are reserved, and existing outputs listed, for a bucket and this stem. Jobs whose
    prefixes differ only after it share a sequence, which leaves gaps.

    >>> comfyui_stem("shop/ComfyUI"), comfyui_stem("shop/w%width%_x")
    ('shop/ComfyUI', 'shop/w')
    """
    return PLACEHOLDER.split(prefix, maxsplit=1)[0]


def comfyui_stems(prefix: str) -> tuple[str, str]:
    """Return the prefixes to list for existing outputs: that of `comfyui_stem`, and of held ones.

    >>> comfyui_stems("shop/ComfyUI")
    ('shop/ComfyUI', 'shop/held/ComfyUI')
    """
    folder, slash, stem = comfyui_stem(prefix).rpartition("/")
    return f"{folder}{slash}{stem}", f"{folder}{slash}{HELD}/{stem}"


def highest_number(names: Iterable[str], prefix: str) -> int:
    """Return the highest number among the keys *names* of images with *prefix*; 0 if none.

    All outputs count, held ones and all widths too, since the outputs of an item share one
    number. Placeholders in *prefix* match any number.

    >>> highest_number(["a_00002_.png", "a_mask_00007_.png", "a/9.png", "ab_00009_.png"], "a")
    7
    >>> highest_number(["b/held/a_amazon-main-w640_00012_.jpg"], "b/a")
    12
    """
    pattern = re.compile(
        rf"{_stem(prefix)}(?:_{OUTPUT_NAME.pattern})?_([0-9]{{5,18}})_\.{_EXTENSION.pattern}"
    )
    return max((int(found[1]) for found in map(pattern.fullmatch, names) if found), default=0)


def output_folders(spec: JobSpec, job_id: str) -> list[str]:
    """Return the key prefixes of all the job's images, sorted and without overlaps.

    Other jobs may write to them too. Empty for a job that writes no images.
    """
    if spec.image_output is ImageOutput.HIDE:
        return []
    if spec.image_output is ImageOutput.PREVIEW:
        return [f"{PREVIEWS}/{spec.date}/{job_id}/easyPreview/"]
    literal = comfyui_stem(spec.save_prefix)
    if spec.naming is Naming.COMFYUI:
        return sorted(comfyui_stems(spec.save_prefix)) if spec.held_outputs else [literal]
    if literal != spec.save_prefix:
        return [literal]
    held = {f"{literal}/{HELD}/{output}/" for output in spec.held_outputs}
    return sorted({f"{literal}/{output}/" for output in spec.output_names} | held)


def is_own_output(spec: JobSpec, key: str) -> bool:
    """Return whether *key*, listed in the job's input bucket, is an output of the job.

    This lets a job read from the bucket and prefix that it writes to. Cutouts and masks count even
    if this job writes none. Placeholders, dates included, match any number: a prefix before
    expansion also matches outputs of earlier days.
    """
    if spec.input_bucket != spec.output_bucket:
        return False
    folders = (JOBS, PREVIEWS, spec.review_prefix)
    if key.startswith(tuple(f"{folder}/" for folder in folders if folder is not None)):
        return True
    names = frozenset({*BUILT_IN, *spec.output_names})
    return _own_pattern(spec.save_prefix, spec.naming, names).match(key) is not None


@lru_cache(maxsize=16)
def _own_pattern(prefix: str, naming: Naming, outputs: Collection[str]) -> re.Pattern[str]:
    names = "|".join(map(re.escape, sorted(outputs)))
    if naming is Naming.COMFYUI:
        output = f"(?:_(?:{names})(?:-w[0-9]+)?)?"
        return re.compile(rf"{_stem(prefix)}{output}_[0-9]{{5,18}}_\.{_EXTENSION.pattern}\Z")
    return re.compile(rf"{_any_size(prefix)}/(?:{HELD}/)?(?:{names})/")


def _stem(prefix: str) -> str:
    """Return a pattern of ComfyUI's *prefix*, also of held outputs."""
    folder, slash, stem = prefix.rpartition("/")
    return f"{_any_size(folder + slash)}(?:{HELD}/)?{_any_size(stem)}"


def _any_size(prefix: str) -> str:
    """Return a pattern of *prefix* in which placeholders match any number."""
    return "[0-9]+".join(map(re.escape, PLACEHOLDER.split(prefix)))
