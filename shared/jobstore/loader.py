"""Load Lua scripts: their source with the parts they use, and their arguments by name."""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from itertools import chain
from typing import Final, TypeAlias

Arg: TypeAlias = str | bytes | float

_FOLDER: Final = files(__package__).joinpath("scripts")


@dataclass(frozen=True)
class Script:
    """A script as Redis runs it.

    Its header declares:

    * `ARGS` arguments, as `name` or `name:int`; the script reads them as local variables
    * `EACH` fields of a repeated group; the script reads them with `for a, b in each() do`
    * `USES` parts of the library (`_items.lua`, ...) that it needs beside `_prelude.lua`
    """

    name: str
    source: str
    args: tuple[str, ...]
    each: tuple[str, ...]

    def argv(self, args: Mapping[str, Arg], rows: Iterable[Sequence[Arg]]) -> list[Arg]:
        """Return the arguments in the order of the script.

        Raises:
            TypeError: If a name is missing or unknown, or a row has the wrong length.
        """
        table = list(rows)
        if args.keys() != set(self.args) or any(len(row) != len(self.each) for row in table):
            raise TypeError(
                f"script {self.name} takes {self.args} and rows of {self.each}, "
                f"not {tuple(args)} and {table[:1]}"
            )
        return [*(args[name] for name in self.args), *chain.from_iterable(table)]


@cache
def load(name: str) -> Script:
    """Return the script *name*.

    Its first line holds its flags, which Redis expects first. Scripts that process jobs have
    `allow-oom`, so that a full Redis refuses new jobs but can still finish the others.
    """
    flags, _, body = _read(name).partition("\n")
    args, each = declared(body, "ARGS"), declared(body, "EACH")
    parts = (_read(f"_{part}") for part in ("prelude", *declared(body, "USES")))
    return Script(
        name=name,
        source="\n".join([flags, *parts, _locals(args), _iterator(args, each), body]),
        args=tuple(arg.partition(":")[0] for arg in args),
        each=tuple(field.partition(":")[0] for field in each),
    )


def names() -> list[str]:
    """Return the names of all scripts, without the library's parts."""
    found = (file.name.removesuffix(".lua") for file in _FOLDER.iterdir())
    return sorted(name for name in found if not name.startswith("_"))


def declared(text: str, what: str) -> list[str]:
    """Return what the header lines `-- ARGS`, `-- EACH` or `-- USES` of a script declare."""
    return " ".join(re.findall(rf"^-- {what} +(.*)$", text, re.MULTILINE)).split()


def _locals(args: Sequence[str]) -> str:
    """Return Lua that reads *args* into local variables."""
    return "\n".join(
        f"local {arg.partition(':')[0]} = {_value(arg, str(n))}" for n, arg in enumerate(args, 1)
    )


def _iterator(args: Sequence[str], each: Sequence[str]) -> str:
    """Return Lua that defines `each`, an iterator over the rows after *args*."""
    if not each:
        return ""
    values = ", ".join(_value(field, f"i + {n}") for n, field in enumerate(each, 1))
    return f"""local function each()
  local i = {len(args) - len(each)}
  return function()
    i = i + {len(each)}
    if i < #ARGV then return {values} end
  end
end"""


def _value(declaration: str, index: str) -> str:
    return f"tonumber(ARGV[{index}])" if declaration.endswith(":int") else f"ARGV[{index}]"


def _read(name: str) -> str:
    return _FOLDER.joinpath(f"{name}.lua").read_text(encoding="utf-8")
