"""Images that recipes name as backgrounds: read once at submission, and copied for the workers."""

import hashlib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import IO, Final

from producer.services import Services
from producer.submission.sources import OBJECT_URL
from shared.errors import InvalidOption, InvalidRecipe, ItemError
from shared.job.outputs import RecipeOutput, assets_of
from shared.recipes import Recipe
from shared.recipes.background import Asset, StoredAsset

MAX_ASSET_BYTES: Final = 64 * 2**20
"""Largest image; a producer holds it in memory, and so does each worker."""
_PATH: Final = ("/", "./", "../")
"""How a name begins that is a path, never a key."""


def read_local(
    recipe: Recipe, folder: Path | None, *, origin: str
) -> tuple[Recipe, Mapping[str, bytes]]:
    """Return *recipe* with the local file that it names by its SHA-256, and the file's bytes.

    Keys of a bucket stay as they are. A name without `./` is a file if there is one.

    Args:
        recipe: The recipe.
        folder: Folder of the recipe file; None if it is of no file. Only files name local files:
            a recipe that a program passes on must not read what its user cannot.
        origin: The recipe, for messages.

    Raises:
        InvalidRecipe: If the file cannot be read, or the image is named in another wrong way.
    """
    background = recipe.background
    if isinstance(background, StoredAsset):
        raise InvalidRecipe(f"recipe {origin}: {background} is a job's copy; name the image itself")
    if not isinstance(background, Asset) or _is_url(background.key):
        return recipe, {}
    is_path = background.key.startswith(_PATH)
    if folder is None:
        if is_path:
            raise InvalidRecipe(
                f"recipe {origin}: background {background} is a local file, which only a recipe "
                "file can name; give the key of an image in the input bucket"
            )
        return recipe, {}
    path = folder / background.key
    if not (is_path or _is_file(path)):
        return recipe, {}
    data = _read_file(path, f"recipe {origin}: background {background}")
    return _stored(recipe, data), {_sha256(data): data}


def pinned(
    outputs: Sequence[RecipeOutput], files: Mapping[str, bytes], read: Callable[[str], bytes]
) -> tuple[tuple[RecipeOutput, ...], Mapping[str, bytes]]:
    """Return *outputs* with each image named by its SHA-256, and the bytes of all by SHA-256.

    Args:
        outputs: The outputs.
        files: Bytes of local files by SHA-256.
        read: Returns the image at a key or URL; raises `InvalidOption`.

    Raises:
        InvalidRecipe: If images cannot be read; the message lists all.
    """
    found, problems, made = dict(files), [], []
    for output in outputs:
        background = output.recipe.background
        if isinstance(background, Asset):
            try:
                data = read(background.key)
            except InvalidOption as err:
                problems.append(f"output {output.name}: background {background}: {err}")
                continue
            found[_sha256(data)] = data
            output = output.model_copy(update={"recipe": _stored(output.recipe, data)})  # noqa: PLW2901 - with its image
        made.append(output)
    if problems:
        raise InvalidRecipe("\n".join(problems))
    return tuple(made), {sha256: found[sha256] for sha256 in assets_of(made)}


def read_object(services: Services, bucket: str, key: str) -> bytes:
    """Return the image at *key* of *bucket*, or at an `s3://` URL of another input bucket.

    Raises:
        InvalidOption: If it is missing, too large or not readable, or the bucket is not allowed.
        StoreUnavailable: If the store cannot be asked now.
        BucketUnavailable: If the bucket is missing or forbidden.
    """
    if _is_url(key):
        found = OBJECT_URL.fullmatch(key)
        if found is None:
            raise InvalidOption("the URL has no key; use the form s3://bucket/key")
        bucket, key = found[1], found[2]
    allowed = services.settings.input_buckets
    if bucket not in allowed:
        raise InvalidOption(f"bucket {bucket!r} is not an input bucket; use {', '.join(allowed)}")
    try:
        with services.objects.open(bucket, key) as opened:
            _check_size(opened.size_bytes)
            return opened.read()
    except ItemError as err:
        raise InvalidOption(str(err)) from err


def _is_url(key: str) -> bool:
    return key[:5].lower() == "s3://"


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except (OSError, ValueError):
        return False


def _read_file(path: Path, what: str) -> bytes:
    try:
        with path.open("rb") as file:
            return _read_all(file)
    except (OSError, ValueError) as err:
        reason = getattr(err, "strerror", None) or "its name is not valid"
        raise InvalidRecipe(f"{what}: {path} cannot be read: {reason}") from err
    except InvalidOption as err:
        raise InvalidRecipe(f"{what}: {err}") from err


def _read_all(file: IO[bytes]) -> bytes:
    data = file.read(MAX_ASSET_BYTES + 1)
    _check_size(len(data))
    return data


def _check_size(size_bytes: int) -> None:
    if not 0 < size_bytes <= MAX_ASSET_BYTES:
        limit = f"the limit is {MAX_ASSET_BYTES // 2**20} MiB"
        raise InvalidOption(f"the image is empty or too large ({size_bytes:,} bytes); {limit}")


def _stored(recipe: Recipe, data: bytes) -> Recipe:
    return recipe.model_copy(update={"background": StoredAsset(_sha256(data))})


def _sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()
