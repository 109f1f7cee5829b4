"""Names, versions and contents of the distribution."""

import re
import tomllib
from importlib.metadata import version
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())


def test_the_version_is_the_newest_in_the_changelog():
    headings = re.findall(
        r"^## \[?([0-9][^\]\s]*)", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE
    )

    assert headings[0] == version("rmbg-queue") == PROJECT["project"]["version"]


def test_the_wheel_contains_the_three_packages():
    wheel = PROJECT["tool"]["hatch"]["build"]["targets"]["wheel"]

    assert sorted(wheel["packages"]) == ["producer", "shared", "worker"]


def test_it_cannot_be_uploaded_to_a_public_index():
    assert "Private :: Do Not Upload" in PROJECT["project"]["classifiers"]


def test_no_package_contains_tests():
    shipped = [
        path for name in ("producer", "shared", "worker") for path in (ROOT / name).rglob("*.py")
    ]

    assert not [path for path in shipped if path.name.startswith(("test_", "conftest"))]
    assert len(shipped) > 50


@pytest.mark.parametrize("name", ["celery", "kombu", "torch"])
def test_dependencies_that_break_between_versions_have_an_upper_bound(name):
    listed = (
        PROJECT["project"]["dependencies"] + PROJECT["project"]["optional-dependencies"]["worker"]
    )

    [found] = [each for each in listed if re.match(rf"{name}\b", each)]

    assert re.search(r"<\d", found)


def test_every_requirement_has_an_exact_version_in_the_constraints():
    pinned = re.findall(
        r"^([A-Za-z0-9_.-]+)==", (ROOT / "constraints.txt").read_text(), re.MULTILINE
    )
    project = PROJECT["project"]
    wanted = list(project["dependencies"])
    for extra in project["optional-dependencies"].values():
        wanted += extra

    def plain(name):
        return re.sub(r"[-_.]+", "-", name).lower()

    names = {plain(re.match(r"[A-Za-z0-9_.-]+", each)[0]) for each in wanted}
    assert names - {plain(name) for name in pinned} == set()
