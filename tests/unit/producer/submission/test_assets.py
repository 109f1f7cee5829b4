"""Images that recipes name as backgrounds: local files, keys, and what is refused."""

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import cast

import pytest
from support.memory_store import MemoryStore

from producer.services import Services
from producer.submission import assets
from producer.submission.assets import pinned, read_object
from producer.submission.outputs import choose_outputs
from shared.errors import BucketUnavailable, InvalidOption, InvalidRecipe
from shared.job.outputs import RecipeOutput
from shared.recipes import Recipe
from shared.recipes.background import Asset, StoredAsset
from shared.settings import ServiceSettings

OAK = b"oak"
SHA256 = hashlib.sha256(OAK).hexdigest()


class MemoryServices:
    """Services whose object store is in memory."""

    def __init__(self) -> None:
        self.settings = ServiceSettings.from_env(
            {"HOME": "/nonexistent", "RMBG_INPUT_BUCKETS": "inbox,studio"}
        )
        self.objects = MemoryStore()


@pytest.fixture
def services() -> MemoryServices:
    return MemoryServices()


@pytest.fixture
def recipe(tmp_path: Path) -> Callable[[str], str]:
    """Return a recipe file beside `oak.jpg` with this background."""
    (tmp_path / "bg").mkdir()
    (tmp_path / "bg/oak.jpg").write_bytes(OAK)
    (tmp_path / "oak").write_bytes(OAK)

    def write(background: str) -> str:
        path = tmp_path / "bg/shop.toml"
        path.write_text(f"background = '{background}'")
        return str(path)

    return write


def read(services: MemoryServices, key: str) -> bytes:
    return read_object(cast("Services", services), "inbox", key)


@pytest.mark.parametrize("name", ["oak.jpg", "./oak.jpg", "../bg/oak.jpg", "../oak"])
def test_a_file_is_found_beside_the_recipe_wherever_the_command_runs(
    recipe: Callable[[str], str], name: str
) -> None:
    chosen = choose_outputs([recipe(name)])

    assert chosen.recipes[0].recipe.background == StoredAsset(SHA256)
    assert chosen.files == {SHA256: OAK}


def test_an_absolute_path_is_a_file(recipe: Callable[[str], str], tmp_path: Path) -> None:
    assert choose_outputs([recipe(f"{tmp_path}/oak")]).files == {SHA256: OAK}


@pytest.mark.parametrize("name", ["pine.jpg", "bg/oak.jpg", "s3://inbox/oak.jpg"])
def test_what_is_no_file_is_a_key(recipe: Callable[[str], str], name: str) -> None:
    chosen = choose_outputs([recipe(name)])

    assert chosen.recipes[0].recipe.background == Asset(name)
    assert chosen.files == {}


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("./pine.jpg", r"background \./pine\.jpg: .* cannot be read: No such file"),
        ("..", "cannot be read: Is a directory"),
        ("./a\\u0000b", "its name is not valid"),
        (f"sha256:{'0' * 64}", "is a job's copy; name the image itself"),
    ],
)
def test_a_path_without_a_readable_file_is_refused(
    recipe: Callable[[str], str], tmp_path: Path, name: str, told: str
) -> None:
    path = Path(recipe("x"))
    path.write_text(f'background = "{name if name != ".." else "./."}"')

    with pytest.raises(InvalidRecipe, match=told):
        choose_outputs([str(path)])


def test_an_image_that_is_empty_or_too_large_is_refused(
    recipe: Callable[[str], str], services: MemoryServices, tmp_path: Path
) -> None:
    with (tmp_path / "bg/oak.jpg").open("r+b") as file:
        file.truncate(assets.MAX_ASSET_BYTES + 1)
    with pytest.raises(InvalidRecipe, match=r"too large .* the limit is 64 MiB"):
        choose_outputs([recipe("oak.jpg")])

    services.objects.put("inbox", "none.jpg", b"", content_type="-")
    with pytest.raises(InvalidOption, match="empty or too large"):
        read(services, "none.jpg")


def test_a_key_and_a_url_are_read_from_the_input_buckets(services: MemoryServices) -> None:
    services.objects.put("inbox", "oak.jpg", OAK, content_type="-")
    services.objects.put("studio", "a/pine.jpg", b"pine", content_type="-")

    assert read(services, "oak.jpg") == OAK
    assert read(services, "s3://studio/a/pine.jpg") == b"pine"


@pytest.mark.parametrize(
    ("key", "told"),
    [
        ("pine.jpg", "inbox/pine.jpg"),
        ("s3://cutouts/oak.jpg", "'cutouts' is not an input bucket; use inbox, studio"),
        ("s3://inbox", "has no key"),
    ],
)
def test_an_object_that_cannot_be_read_is_refused(
    services: MemoryServices, key: str, told: str
) -> None:
    services.objects.put("inbox", "oak.jpg", OAK, content_type="-")
    with pytest.raises(InvalidOption, match=told):
        read(services, key)


def test_an_outage_of_the_store_is_no_fault_of_the_recipe(services: MemoryServices) -> None:
    def fail(*_: str) -> None:
        raise BucketUnavailable("injected")

    services.objects.before = fail
    with pytest.raises(BucketUnavailable):
        read(services, "oak.jpg")


def output(name: str, background: str) -> RecipeOutput:
    return RecipeOutput(name=name, recipe=Recipe(background=background))


def test_each_image_is_named_by_its_content_and_returned_once() -> None:
    outputs = [output("a", "oak.jpg"), output("b", "copy.jpg"), output("c", "white")]

    made, images = pinned(outputs, {"unused": b"x"}, lambda _: OAK)

    assert [str(each.recipe.background) for each in made] == [f"sha256:{SHA256}"] * 2 + ["#ffffff"]
    assert images == {SHA256: OAK}


def test_all_images_that_cannot_be_read_are_named_at_once() -> None:
    def missing(key: str) -> bytes:
        raise InvalidOption(f"no {key}")

    with pytest.raises(InvalidRecipe) as refused:
        pinned([output("a", "oak.jpg"), output("b", "pine.jpg")], {}, missing)

    assert str(refused.value).splitlines() == [
        "output a: background oak.jpg: no oak.jpg",
        "output b: background pine.jpg: no pine.jpg",
    ]
