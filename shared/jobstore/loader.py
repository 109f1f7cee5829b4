"""From a script's name to what Redis is given to run."""

from __future__ import annotations

import re
from functools import cache
from importlib.resources import files
from typing import Final

PRELUDE: Final = "_prelude"


@cache
def source(name: str) -> str:
    """Return the script *name* with the common prelude in it.

    A script's first line holds its flags, which Redis wants first. `allow-oom` stands in those
    that work jobs off, so that a full Redis refuses new jobs and can still empty itself.
    """
    flags, _, body = _read(name).partition("\n")
    used = re.search(r"^-- USES +(.+)$", body, re.MULTILINE)
    parts = [PRELUDE, *(f"_{part}" for part in (used[1].split() if used else ()))]
    return "\n".join([flags, *map(_read, parts), body])


def names() -> list[str]:
    """Return the names of all scripts, without the prelude."""
    scripts = files(__package__).joinpath("scripts").iterdir()
    found = sorted(each.name.removesuffix(".lua") for each in scripts if each.name.endswith(".lua"))
    return [name for name in found if not name.startswith("_")]


def _read(name: str) -> str:
    return files(__package__).joinpath("scripts", f"{name}.lua").read_text(encoding="utf-8")
