"""Keys of a job's outputs and documents.

A key depends only on the job and the item, so that a redelivered item is written to the same key
again. Two items of a job never have the same key.
"""

import re
from collections.abc import Collection, Iterable
from datetime import datetime
from functools import lru_cache
from typing import Final

from shared.errors import InvalidKey, InvalidPrefix, RmbgError
from shared.job.spec import ImageOutput, JobSpec, Naming

JOBS: Final = "_jobs"
"""Folder of all job documents in the output bucket."""
PREVIEWS: Final = "_preview"
"""Folder of `Preview` images; workers delete them after a day."""
CUTOUT: Final = "cutout"
MASK: Final = "mask"
OUTPUTS: Final = (CUTOUT, MASK)
"""Outputs that any job can have."""
MAX_KEY_BYTES: Final = 1024
"""S3's limit for a key, in bytes of UTF-8."""

_DATES: Final = ("year", "month", "day", "hour", "minute", "second")
_AT_WORKER: Final = ("width", "height", "batch_num")
_PLACEHOLDER: Final = re.compile(f"%(?:{'|'.join(_DATES + _AT_WORKER)})%")
_CONTROL: Final = re.compile(r"[\x00-\x1f\x7f-\x9f]")
_SURROGATE: Final = re.compile(r"[\ud800-\udfff]")
_OUTPUT: Final = re.compile(r"[a-z][a-z0-9-]{0,63}")
_EXTENSION: Final = re.compile(r"[a-z0-9]{1,8}")


def expand_prefix(prefix: str, now: datetime) -> str:
    """Return *prefix* with its date placeholders replaced by parts of *now*, a local time.

    `%width%`, `%height%` and `%batch_num%` are left for the worker.

    >>> from datetime import datetime
    >>> expand_prefix("%year%/%month%-%day%/%width%", datetime(2026, 3, 9))
    '2026/03-09/%width%'
    """
    for name in _DATES:
        value = getattr(now, name)
        prefix = prefix.replace(f"%{name}%", str(value) if name == "year" else f"{value:02}")
    return prefix


def check_prefix(prefix: str) -> None:
    """Check that a save prefix cannot lead outside itself or to other jobs' documents.

    Raises:
        InvalidPrefix: If it is empty, absolute, ends in `/`, has an empty, `.` or `..` segment or
            a control character, is not valid Unicode, starts with `_jobs` or `_preview`, or is
            over `MAX_KEY_BYTES`.
    """
    _check(
        InvalidPrefix,
        f"save prefix {prefix!r}",
        prefix,
        (prefix.startswith("/"), "begins with '/'; remove it"),
        (prefix.endswith("/"), "ends in '/'; remove it"),
        ("" in prefix.split("/"), "has an empty segment ('//')"),
        (
            prefix.startswith((JOBS, PREVIEWS)),
            f"starts with {JOBS} or {PREVIEWS}, which are reserved for jobs' own documents",
        ),
    )


def check_image_key(image_key: str) -> None:
    """Check that an output key can be derived from an image key.

    Empty segments (`a//b`) are legal in a bucket and are accepted.

    Raises:
        InvalidKey: If it is empty, ends in `/` (a folder), has a `.` or `..` segment or a control
            character, is not valid Unicode, or is over `MAX_KEY_BYTES`.
    """
    is_folder = (image_key.endswith("/"), "ends in '/': it is a folder")
    _check(InvalidKey, f"image key {image_key!r}", image_key, is_folder)


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
    """Return the key of item *index*'s *output*; the same for every repetition.

    Naming by source keeps the source's extension, so that `a.jpg` and `a.png` have different
    outputs: `{save_prefix}/{output}/{image_key}.{ext}`. ComfyUI's naming counts from the number
    that the submission reserved. Preview images have their own folder with either naming.

    Args:
        spec: The job, with dates in its prefix expanded.
        job_id: The job's id; part of preview keys.
        output: `cutout`, `mask` or a recipe's name: lower case letters, digits and `-`.
        index: The item's index; ComfyUI's number is `spec.counter_base + index`.
        image_key: The source's full key.
        width: Width of the image in pixels, for `%width%`.
        height: Height of the image in pixels, for `%height%`.
        ext: Extension in lower case, without the dot.

    Raises:
        InvalidKey: If `check_image_key` refuses the image key, or the result is over
            `MAX_KEY_BYTES`.
    """
    if not _OUTPUT.fullmatch(output) or not _EXTENSION.fullmatch(ext):
        raise InvalidKey(f"output name {output!r} or extension {ext!r} is not valid")
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
            f"image key {image_key!r}: its output key is {size_bytes} bytes long; "
            f"the limit is {MAX_KEY_BYTES}"
        )
    return key


def comfyui_stem(prefix: str) -> str:
    """Return the part of *prefix* before its first placeholder.

    Numbers are reserved, and existing outputs listed, for a bucket and this stem. Jobs whose
    prefixes differ only after it share a sequence, which leaves gaps.

    >>> comfyui_stem("shop/ComfyUI"), comfyui_stem("shop/w%width%_x")
    ('shop/ComfyUI', 'shop/w')
    """
    return _PLACEHOLDER.split(prefix, maxsplit=1)[0]


def highest_number(names: Iterable[str], prefix: str) -> int:
    """Return the highest number among the keys *names* of images with *prefix*; 0 if none.

    All outputs count, since the outputs of an item share one number. Placeholders in *prefix*
    match any number.

    >>> highest_number(["a_00002_.png", "a_mask_00007_.png", "a/9.png", "ab_00009_.png"], "a")
    7
    """
    output = f"(?:_{_OUTPUT.pattern})?"
    pattern = re.compile(rf"{_any_size(prefix)}{output}_([0-9]{{5,18}})_\.{_EXTENSION.pattern}")
    return max((int(found[1]) for found in map(pattern.fullmatch, names) if found), default=0)


def results_key(job_id: str) -> str:
    """Return the key of a job's records, one JSON object per line."""
    return f"{JOBS}/{job_id}/results.jsonl"


def report_key(job_id: str) -> str:
    """Return the key of a job's report page."""
    return f"{JOBS}/{job_id}/report.html"


def shard_key(job_id: str, unit: str, epoch: int) -> str:
    """Return the key of the records of a range (*unit*), written for one epoch of its ticket."""
    return f"{JOBS}/{job_id}/shards/{unit}.{epoch}.jsonl"


def manifest_key(job_id: str, chunk: int) -> str:
    """Return the key of a manifest chunk that is not in Redis; *job_id* may be a nonce."""
    return f"{JOBS}/{job_id}/manifest/{chunk:07}.json.z"


def output_folders(spec: JobSpec, job_id: str, *, outputs: Collection[str] = OUTPUTS) -> list[str]:
    """Return the key prefixes of all the job's images, sorted and without overlaps.

    Other jobs may write to them too. Empty for a job that writes no images.
    """
    if spec.image_output is ImageOutput.HIDE:
        return []
    if spec.image_output is ImageOutput.PREVIEW:
        return [f"{PREVIEWS}/{spec.date}/{job_id}/easyPreview/"]
    literal = comfyui_stem(spec.save_prefix)
    if spec.naming is Naming.COMFYUI or literal != spec.save_prefix:
        return [literal]
    return sorted(f"{literal}/{output}/" for output in outputs)


def is_own_output(spec: JobSpec, key: str, *, outputs: Collection[str] = OUTPUTS) -> bool:
    """Return whether *key*, listed in the job's input bucket, is an output of the job.

    This lets a job read from the bucket and prefix that it writes to. Placeholders, dates
    included, match any number: a prefix before expansion also matches outputs of earlier days.
    """
    if spec.input_bucket != spec.output_bucket:
        return False
    folders = (JOBS, PREVIEWS, spec.review_prefix)
    if key.startswith(tuple(f"{folder}/" for folder in folders if folder is not None)):
        return True
    return _own_pattern(spec.save_prefix, spec.naming, tuple(outputs)).match(key) is not None


@lru_cache(maxsize=16)
def _own_pattern(prefix: str, naming: Naming, outputs: tuple[str, ...]) -> re.Pattern[str]:
    names = "|".join(map(re.escape, outputs))
    start = _any_size(prefix)
    if naming is Naming.COMFYUI:
        return re.compile(rf"{start}(?:_(?:{names}))?_[0-9]{{5,18}}_\.{_EXTENSION.pattern}\Z")
    return re.compile(rf"{start}/(?:{names})/")


def _any_size(prefix: str) -> str:
    """Return a pattern of *prefix* in which placeholders match any number."""
    return "[0-9]+".join(map(re.escape, _PLACEHOLDER.split(prefix)))


def _check(error: type[RmbgError], name: str, key: str, *further: tuple[bool, str]) -> None:
    """Raise *error*, saying what is wrong, if *key* cannot be part of an object's key.

    Args:
        error: Class of the error.
        name: The key with its description, for the message.
        key: The key.
        further: Conditions to test after the general ones, each with its description.
    """
    size_bytes = len(key.encode("utf-8", "surrogatepass"))
    checks = (
        (_SURROGATE.search(key), "is not valid Unicode"),
        (not key, "is empty"),
        (_CONTROL.search(key), "has a control character"),
        ({".", ".."} & set(key.split("/")), "has a '.' or '..' segment"),
        (size_bytes > MAX_KEY_BYTES, f"is {size_bytes} bytes long; the limit is {MAX_KEY_BYTES}"),
        *further,
    )
    for is_wrong, fault in checks:
        if is_wrong:
            raise error(f"{name} {fault}")
