"""From what a job says to the keys that its pictures and documents are written at; pure.

Every key is a function of the job and the item alone, so that a redelivered item writes the same
key again. Two different items of a job never meet at a key.
"""

import re
from collections.abc import Collection, Iterable
from datetime import datetime
from functools import lru_cache
from typing import Final

from shared.errors import InvalidKey, InvalidPrefix
from shared.job.spec import ImageOutput, JobSpec, Naming

JOBS: Final = "_jobs"
"""Where a job's documents lie, at the output bucket's root."""
PREVIEWS: Final = "_preview"
"""Where `Preview` pictures lie; what is older than a day there is deleted."""
CUTOUT: Final = "cutout"
MASK: Final = "mask"
OUTPUTS: Final = (CUTOUT, MASK)
"""Outputs that every job may have."""
MAX_KEY_BYTES: Final = 1024
"""Longest key that S3 takes, in bytes of UTF-8."""

_DATES: Final = ("year", "month", "day", "hour", "minute", "second")
_AT_WORKER: Final = ("width", "height", "batch_num")
_PLACEHOLDER: Final = re.compile(f"%(?:{'|'.join(_DATES + _AT_WORKER)})%")
_CONTROL: Final = re.compile(r"[\x00-\x1f\x7f-\x9f]")
_OUTPUT: Final = re.compile(r"[a-z][a-z0-9-]{0,63}")
_EXTENSION: Final = re.compile(r"[a-z0-9]{1,8}")


def expand_prefix(prefix: str, now: datetime) -> str:
    """Return *prefix* with its date placeholders filled in from *now*, the producer's local time.

    `%width%`, `%height%` and `%batch_num%` stay for the worker; what is no placeholder stays as
    it is.

    >>> from datetime import datetime
    >>> expand_prefix("%year%/%month%-%day%/%width%", datetime(2026, 3, 9))
    '2026/03-09/%width%'
    """
    for name in _DATES:
        value = getattr(now, name)
        prefix = prefix.replace(f"%{name}%", str(value) if name == "year" else f"{value:02}")
    return prefix


def check_prefix(prefix: str) -> None:
    """Refuse a save prefix that could write outside itself, over our own documents or nowhere.

    Raises:
        InvalidPrefix: If it is empty, absolute, ends in `/`, has an empty, `.` or `..` segment or
            a control character, is no Unicode, starts with `_jobs` or `_preview`, or is over
            `MAX_KEY_BYTES`.
    """
    fault = _fault(prefix)
    if fault is None and prefix.startswith("/"):
        fault = "begins with '/'; leave that out"
    if fault is None and prefix.endswith("/"):
        fault = "ends in '/'; leave that out"
    if fault is None and "" in prefix.split("/"):
        fault = "has an empty segment ('//')"
    if fault is None and prefix.startswith((JOBS, PREVIEWS)):
        fault = f"starts with {JOBS} or {PREVIEWS}, which are kept for jobs' own documents"
    if fault is not None:
        raise InvalidPrefix(f"save prefix {prefix!r} {fault}")


def check_image_key(image_key: str) -> None:
    """Refuse an image key from which no output key can be made.

    Empty segments (`a//b`) are odd but legal in a bucket and are let through.

    Raises:
        InvalidKey: If it is empty, ends in `/` (a folder's marker), has a `.` or `..` segment or
            a control character, is no Unicode or over `MAX_KEY_BYTES`.
    """
    fault = _fault(image_key)
    if fault is None and image_key.endswith("/"):
        fault = "ends in '/': that is a folder's marker, not a picture"
    if fault is not None:
        raise InvalidKey(f"image key {image_key!r} {fault}")


def output_key(
    spec: JobSpec,
    *,
    job_id: str,
    output: str,
    index: int,
    image_key: str,
    width: int,
    height: int,
    ext: str = "png",
) -> str:
    """Return the key at which item *index* writes *output*; the same at every repetition.

    Naming by source appends to the source's key, never replaces, so that `a.jpg` and `a.png` do
    not meet: `{save_prefix}/{output}/{image_key}.{ext}`. ComfyUI's naming counts from the number
    that submission reserved. Preview pictures have a place of their own under either naming.

    Args:
        spec: The job, with dates in its prefix expanded.
        job_id: The job's id; part of preview keys.
        output: `cutout`, `mask` or a recipe's: lower case letters, digits and `-`.
        index: The item's index; ComfyUI's number is `spec.counter_base + index`.
        image_key: The source's full key.
        width: Of the picture, in pixels, for `%width%`.
        height: Of the picture, in pixels, for `%height%`.
        ext: Extension without the dot, lower case.

    Raises:
        InvalidKey: If the image key is refused by `check_image_key`, or the result is over
            `MAX_KEY_BYTES`.
    """
    if not _OUTPUT.fullmatch(output) or not _EXTENSION.fullmatch(ext):
        raise InvalidKey(f"no output can be called {output!r} with extension {ext!r}")
    check_image_key(image_key)
    values = {"width": width, "height": height, "batch_num": index}
    prefix = re.sub(
        f"%({'|'.join(_AT_WORKER)})%", lambda found: str(values[found[1]]), spec.save_prefix
    )
    if spec.image_output is ImageOutput.PREVIEW:
        key = f"{PREVIEWS}/{spec.date}/{job_id}/easyPreview/{output}/{image_key}.{ext}"
    elif spec.naming is Naming.COMFYUI:
        stem = prefix if output == CUTOUT else f"{prefix}_{output}"
        key = f"{stem}_{spec.counter_base + index:05}_.{ext}"
    else:
        key = f"{prefix}/{output}/{image_key}.{ext}"
    if (size_bytes := len(key.encode())) > MAX_KEY_BYTES:
        raise InvalidKey(
            f"image key {image_key!r}: its output key would be {size_bytes} bytes long; "
            f"the limit is {MAX_KEY_BYTES}"
        )
    return key


def comfyui_stem(prefix: str) -> str:
    """Return the literal part of *prefix* before the worker's placeholders, if any.

    Numbers are reserved for a bucket and this stem, and what is there already is listed under
    it. Jobs whose prefixes differ behind a placeholder share a sequence, which leaves gaps.

    >>> comfyui_stem("shop/ComfyUI"), comfyui_stem("shop/w%width%_x")
    ('shop/ComfyUI', 'shop/w')
    """
    return _PLACEHOLDER.split(prefix, maxsplit=1)[0]


def highest_number(names: Iterable[str], prefix: str) -> int:
    """Return the highest counter among the keys *names* of *prefix*'s pictures, 0 if none.

    Keys of every output count, as one number stands for all outputs of an item. Placeholders in
    *prefix* match any number.

    >>> highest_number(["a_00002_.png", "a_mask_00007_.png", "a/9.png", "ab_00009_.png"], "a")
    7
    """
    output = f"(?:_{_OUTPUT.pattern})?"
    pattern = re.compile(rf"{_any_size(prefix)}{output}_([0-9]{{5,18}})_\.{_EXTENSION.pattern}")
    return max((int(found[1]) for found in map(pattern.fullmatch, names) if found), default=0)


def results_key(job_id: str) -> str:
    """Return the key of a job's records, one JSON object a line."""
    return f"{JOBS}/{job_id}/results.jsonl"


def report_key(job_id: str) -> str:
    """Return the key of a job's report page."""
    return f"{JOBS}/{job_id}/report.html"


def shard_key(job_id: str, unit: str, epoch: int) -> str:
    """Return the key of one range's records, as written by one issue of its ticket."""
    return f"{JOBS}/{job_id}/shards/{unit}.{epoch}.jsonl"


def manifest_key(job_id: str, chunk: int) -> str:
    """Return the key of one chunk of a manifest too long for Redis; *job_id* may be a nonce."""
    return f"{JOBS}/{job_id}/manifest/{chunk:07}.json.z"


def output_folders(spec: JobSpec, job_id: str, *, outputs: Collection[str] = OUTPUTS) -> list[str]:
    """Return prefixes, in order and none within another, below which all the job's pictures lie.

    Other jobs' pictures may lie there as well. None for a job that writes no pictures.
    """
    if spec.image_output is ImageOutput.HIDE:
        return []
    if spec.image_output is ImageOutput.PREVIEW:
        return [f"{PREVIEWS}/{spec.date}/{job_id}/"]
    literal = comfyui_stem(spec.save_prefix)
    if spec.naming is Naming.COMFYUI or literal != spec.save_prefix:
        return [literal]
    return sorted(f"{literal}/{output}/" for output in outputs)


def is_own_output(spec: JobSpec, key: str, *, outputs: Collection[str] = OUTPUTS) -> bool:
    """Tell whether *key*, listed in the job's input bucket, is one of the job's own writing.

    So a job may read from the bucket and prefix that it writes to. Placeholders, dates too,
    match any number: a prefix that is not yet expanded finds the outputs of earlier days as well.
    """
    if spec.input_bucket != spec.output_bucket:
        return False
    if key.startswith((f"{JOBS}/", f"{PREVIEWS}/")):
        return True
    if spec.review_prefix is not None and key.startswith(f"{spec.review_prefix}/"):
        return True
    return _own(spec.save_prefix, spec.naming, tuple(outputs)).match(key) is not None


@lru_cache(maxsize=16)
def _own(prefix: str, naming: Naming, outputs: tuple[str, ...]) -> re.Pattern[str]:
    names = "|".join(map(re.escape, outputs))
    start = _any_size(prefix)
    if naming is Naming.COMFYUI:
        return re.compile(rf"{start}(?:_(?:{names}))?_[0-9]{{5,18}}_\.{_EXTENSION.pattern}\Z")
    return re.compile(rf"{start}/(?:{names})/")


def _any_size(prefix: str) -> str:
    """Return a pattern of *prefix* in which placeholders stand for any number."""
    return "[0-9]+".join(map(re.escape, _PLACEHOLDER.split(prefix)))


def _fault(key: str) -> str | None:
    """Return what is wrong with *key* as part of an object's key, or None."""
    try:
        size_bytes = len(key.encode())
    except UnicodeEncodeError:
        return "is not valid Unicode"
    if not key:
        return "is empty"
    if _CONTROL.search(key):
        return "has a control character"
    if {".", ".."} & set(key.split("/")):
        return "has a '.' or '..' segment"
    if size_bytes > MAX_KEY_BYTES:
        return f"is {size_bytes} bytes long; the limit is {MAX_KEY_BYTES}"
    return None
