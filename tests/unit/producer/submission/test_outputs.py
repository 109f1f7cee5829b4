"""Outputs of a job: what names and files a user can give, and what is refused."""

from datetime import UTC, datetime
from pathlib import Path

import pytest

from producer.submission.options import JobOptions
from producer.submission.outputs import Outputs, choose_outputs
from shared.errors import InvalidOption, InvalidRecipe
from shared.job.spec import JobSpec
from shared.recipes import Recipe, presets

NOW = datetime(2026, 11, 25, tzinfo=UTC)


def spec_of(*given: str | Recipe, keep_mask: bool = True, **options: str) -> JobSpec:
    chosen = JobOptions.of(outputs=given, keep_mask=keep_mask, **options)  # type: ignore[arg-type]
    return chosen.to_spec("inbox", "out", now=NOW, commercial=False)


def write(path: Path, text: str) -> str:
    path.write_text(text)
    return str(path)


def test_without_outputs_a_job_is_what_it_always_was() -> None:
    spec = spec_of()
    assert spec.output_names == ("mask", "cutout")
    assert spec.needs == ()
    assert choose_outputs([]).is_default
    assert choose_outputs(["cutout"]) == Outputs()


def test_outputs_are_written_after_the_mask_and_before_the_cutout(tmp_path: Path) -> None:
    shop = write(tmp_path / "Shop Front.toml", "fill = 0.8")
    spec = spec_of("cutout", shop, "amazon-main", Recipe(name="tiny", longest_px=64))
    assert spec.output_names == ("mask", "shop-front", "amazon-main", "tiny", "cutout")
    assert spec.needs == ("outputs",)
    assert spec.outputs[0].recipe.fill == 0.8
    assert all(len(each.hash) == len(each.hash_alpha) == 16 for each in spec.outputs)


def test_the_mask_alone_and_no_mask_are_possible() -> None:
    assert spec_of("mask").output_names == ("mask",)
    assert spec_of("amazon-main", keep_mask=False).output_names == ("amazon-main",)


def test_a_recipe_travels_in_the_job_and_a_file_that_changes_later_changes_nothing(
    tmp_path: Path,
) -> None:
    shop = write(tmp_path / "shop.toml", "fill = 0.8")
    spec = spec_of(shop)
    write(tmp_path / "shop.toml", "fill = 0.1")
    again = JobSpec.from_json(spec.to_json(), spec.added_json())
    assert again == spec
    assert again.outputs[0].recipe.fill == 0.8


def test_a_changed_recipe_is_another_job_and_the_hash_of_no_other_output(tmp_path: Path) -> None:
    before = spec_of(write(tmp_path / "a.toml", "fill = 0.8"), Recipe(name="b"))
    after = spec_of(write(tmp_path / "a.toml", "fill = 0.7"), Recipe(name="b"))
    assert before.fingerprint("k") != after.fingerprint("k")
    assert before.hashes_of("a").isdisjoint(after.hashes_of("a"))
    assert before.hashes_of("b") == after.hashes_of("b")
    assert before.hashes_of("cutout") == after.hashes_of("cutout") == spec_of().hashes_of("mask")


def test_the_problems_of_all_recipes_are_named_at_once(tmp_path: Path) -> None:
    first = write(tmp_path / "one.toml", "fil = 1\nfill = 2")
    second = write(tmp_path / "two.json", '{"format": "jpg"}')
    with pytest.raises(InvalidRecipe) as refused:
        choose_outputs([first, "amazon-mian", second, str(tmp_path / "none.toml")])
    for part in ("fil: unknown field", "fill: give a share", "'amazon-mian' is no preset"):
        assert part in str(refused.value)
    for part in ("jpg keeps no transparency", "none.toml cannot be read: No such file", *["mask"]):
        assert part in str(refused.value)


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ([Recipe(name="a"), Recipe(name="a", fill=0.5)], "two outputs are called a"),
        ([Recipe(name="held")], "the name held is reserved"),
        ([Recipe()], "has no usable name"),
        ([Recipe(name="a", background="./oak.jpg")], "only a recipe file can name"),
        ([Recipe(name="a", background=f"sha256:{'0' * 64}")], "is a job's copy"),
        ([Recipe(name="a", fill=0.5, padding="5%")], "fill and padding exclude"),
        ([Recipe(name=f"a{n}") for n in range(17)], "at most 16"),
    ],
)
def test_outputs_that_cannot_be_written_are_refused(given: list[Recipe], told: str) -> None:
    with pytest.raises(InvalidOption, match=told):
        choose_outputs(given)


def test_a_job_that_would_write_nothing_is_refused() -> None:
    with pytest.raises(InvalidOption, match="exclude each other"):
        choose_outputs(["mask"], keep_mask=False)


def test_a_file_beside_is_named_when_its_path_is_meant(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path / "shop.toml", "")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InvalidRecipe, match=r"for the file give \./shop\.toml"):
        choose_outputs(["shop"])
    assert choose_outputs(["./shop.toml"]).recipes[0].name == "shop"


@pytest.mark.parametrize("outputs", [["amazon-main"], ["cutout", "amazon-main"]])
def test_review_copies_exclude_held_outputs(outputs: list[str]) -> None:
    with pytest.raises(InvalidOption, match="--route-review"):
        spec_of(*outputs, review_prefix="review")


@pytest.mark.parametrize("name", presets.names())
def test_every_preset_can_be_submitted(name: str) -> None:
    assert spec_of(name).output_names == ("mask", name)
