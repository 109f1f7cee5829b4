"""Typed values out of a mapping of variables; every problem is collected and reported at once."""

from __future__ import annotations

import math
import re
from pathlib import Path
from typing import TYPE_CHECKING, Final
from urllib.parse import SplitResult, urlsplit

from shared.errors import InvalidOption

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

_TRUE: Final = frozenset({"1", "true", "yes", "on"})
_FALSE: Final = frozenset({"0", "false", "no", "off"})
_USERINFO: Final = re.compile(r"://.*@", re.DOTALL)
_PASSWORD_PARAMETER: Final = re.compile(r"([?&](?:password|username)=)[^&#]*")


def redact(url: str) -> str:
    """Return *url* with user and password replaced by `***`, for messages.

    A malformed URL is masked as well, up to its last `@`: too much rather than too little.

    >>> redact("redis://:secret@host:6379/0")
    'redis://***@host:6379/0'
    """
    return _PASSWORD_PARAMETER.sub(r"\1***", _USERINFO.sub("://***@", url))


class Reader:
    """Reads typed values out of a mapping and collects what is wrong with them.

    An unset or blank variable takes its default. A value that cannot be used is noted as a
    problem and the default returned in its place, so that reading goes on to the next one;
    `finish` then raises them all. Values are never quoted for variables that hold secrets.
    """

    def __init__(self, env: Mapping[str, str]) -> None:
        self._env = env
        self._problems: list[str] = []

    def problem(self, name: str, text: str) -> None:
        """Note that variable *name* cannot be used, and why."""
        self._problems.append(f"{name}: {text}")

    def finish(self) -> None:
        """Raise `InvalidOption` with one line for each problem, if there is any."""
        if self._problems:
            raise InvalidOption("\n".join(["these settings cannot be used:", *self._problems]))

    def text(self, name: str, default: str | None = None) -> str | None:
        """Return the value without surrounding blanks."""
        return self._env.get(name, "").strip() or default

    def flag(self, name: str, *, default: bool = False) -> bool:
        """Return a truth value: 1/0, true/false, yes/no or on/off in any case."""
        value = self.text(name)
        if value is None:
            return default
        if value.lower() not in _TRUE | _FALSE:
            self.problem(name, f"{value!r} is none of 1, 0, true, false, yes, no, on, off")
            return default
        return value.lower() in _TRUE

    def seconds(
        self, name: str, default: float, *, least: float = 0.0, most: float = 86_400.0
    ) -> float:
        """Return a finite number of seconds in [*least*, *most*]."""
        value = self.text(name)
        try:
            number = default if value is None else float(value)
        except ValueError:
            number = math.nan
        if not least <= number <= most:  # also when it is not a number
            self.problem(name, f"{value!r} is no number of seconds from {least:g} to {most:g}")
            return default
        return number

    def whole(self, name: str, default: int, *, least: int = 0, most: int = 2**63) -> int:
        """Return a whole number in [*least*, *most*]."""
        value = self.text(name)
        if value is None:
            return default
        if not re.fullmatch(r"-?[0-9]{1,18}", value) or not least <= int(value) <= most:
            self.problem(name, f"{value!r} is no whole number from {least} to {most}")
            return default
        return int(value)

    def choice(self, name: str, default: str, choices: Collection[str]) -> str:
        """Return one of *choices*, which are compared exactly."""
        value = self.text(name, default) or default
        if value not in choices:
            self.problem(name, f"{value!r} is none of {', '.join(choices)}")
            return default
        return value

    def names(self, name: str, default: tuple[str, ...]) -> tuple[str, ...]:
        """Return a comma-separated list, blanks and repetitions dropped, order kept."""
        value = self.text(name)
        if value is None:
            return default
        return tuple(dict.fromkeys(part.strip() for part in value.split(",") if part.strip()))

    def path(self, name: str, default: Path) -> Path:
        """Return a path; a leading `~` stands for the mapping's `HOME`."""
        value = self.text(name)
        return default if value is None else self._expand(value)

    def url(self, name: str, default: str | None, *, schemes: Collection[str]) -> str | None:
        """Return a URL of one of *schemes* that names a host; problems quote it redacted."""
        value = self.text(name, default)
        if value is None:
            return None
        parts = _split(value)
        if parts is None or parts.scheme not in schemes or not parts.hostname:
            wanted = " or ".join(f"{scheme}://host" for scheme in schemes)
            self.problem(name, f"{redact(value)!r} is not of the form {wanted}")
            return default
        return value

    def address(self, name: str) -> tuple[str, int] | None:
        """Return host and port of `host:port`, an IPv6 host in brackets; None where it is unset.

        Port 0 lets the system choose one.
        """
        value = self.text(name)
        if value is None:
            return None
        parts = _split(f"//{value}")
        if parts is None or not parts.hostname or parts.port is None or parts.path:
            self.problem(name, f"{value!r} is not of the form host:port")
            return None
        return parts.hostname, parts.port

    @property
    def cache_home(self) -> Path:
        """`$XDG_CACHE_HOME`, or `~/.cache` where it is unset or, against its rule, relative."""
        given = self._expand(self._env.get("XDG_CACHE_HOME", ""))
        return given if given.is_absolute() else self._expand("~/.cache")

    def _expand(self, path: str) -> Path:
        home = self._env.get("HOME")
        if home and (path == "~" or path.startswith("~/")):
            return Path(home) / path[2:]
        return Path(path).expanduser() if path.startswith("~") else Path(path)


def _split(url: str) -> SplitResult | None:
    try:
        parts = urlsplit(url)
        _ = parts.port  # parsed on reading: raises where it is no number
    except ValueError:
        return None
    return parts
