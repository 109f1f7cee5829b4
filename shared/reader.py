"""Read settings from environment variables: a base class and the types of their values."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Final, Self, TypeAlias

from pydantic import (
    AfterValidator,
    AliasGenerator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
    ValidationInfo,
    model_validator,
)

from shared.errors import InvalidOption
from shared.urls import has_bare_password, split_url

_PREFIX: Final = "RMBG_"
_NOT_FLAGS: Final = frozenset({"t", "f", "y", "n"})
"""Pydantic takes these for truth values as well."""


class Settings(BaseModel):
    """Base of immutable settings that `from_env` reads from environment variables.

    Field `max_items` is read from `RMBG_MAX_ITEMS`. The constructor takes values by field name;
    `settings.model_copy(update={"max_items": 8})` returns a changed copy.
    """

    model_config = ConfigDict(
        frozen=True,
        populate_by_name=True,
        hide_input_in_errors=True,
        alias_generator=AliasGenerator(validation_alias=lambda name: f"{_PREFIX}{name.upper()}"),
    )

    @classmethod
    def from_env(cls, env: Mapping[str, str]) -> Self:
        """Read the variables of all fields; a blank variable counts as not set.

        Besides `RMBG_*` and `HF_TOKEN`, only `HOME` and `XDG_CACHE_HOME` are read.

        Raises:
            InvalidOption: With one line for each problem, or a single line. No line holds a
                secret.
        """
        given = {
            name: text for name, value in env.items() if _is_read(name) and (text := value.strip())
        }
        try:
            return cls.model_validate(given, context=env)
        except ValidationError as err:
            found = err.errors(include_url=False, include_input=False)
        problems = [_problem(error) for error in found]
        if len(problems) == 1:
            raise InvalidOption(f"invalid settings: {problems[0]}")
        raise InvalidOption("\n".join(["invalid settings:", *problems]))

    @model_validator(mode="before")
    @classmethod
    def _read_groups(cls, given: dict[str, Any], info: ValidationInfo) -> dict[str, Any]:
        """Pass the variables on to fields that are settings themselves."""
        if info.context is None:
            return given
        fields = cls.model_fields
        types = {name: field.annotation for name, field in fields.items()}
        groups = [n for n, t in types.items() if isinstance(t, type) and issubclass(t, Settings)]
        # Listed explicitly, or a problem with a default would name the field, not the variable.
        defaults = {
            str(f.validation_alias): f.default for f in fields.values() if f.validate_default
        }
        return defaults | given | dict.fromkeys(groups, given)


def _is_read(name: str) -> bool:
    return name.startswith(_PREFIX) or name == "HF_TOKEN"


def _problem(error: Any) -> str:  # noqa: ANN401 - pydantic_core's ErrorDetails is not exported
    [name] = filter(_is_read, map(str, error["loc"]))
    return f"{name}: {error['msg'].removeprefix('Value error, ')}"


def group() -> Any:  # noqa: ANN401 - like `Field`, it stands for a value of any type
    """Return a required field for settings of another class, which read their own variables."""
    return Field(validation_alias="")  # or `RMBG_` and the field's name would be a variable


def seconds(default: float | None, *, least: float = 0, most: float = 86_400) -> Any:  # noqa: ANN401 - likewise
    """Return a field for a duration of *least* to *most* seconds; None: it may be absent."""
    return Field(default, ge=least, le=most, allow_inf_nan=False)


def cache_home(env: Mapping[str, str]) -> str:
    """Return `$XDG_CACHE_HOME`, or `~/.cache` if it is unset or relative; `~` is not expanded."""
    given = env.get("XDG_CACHE_HOME", "")
    return given if given.startswith(("/", "~")) else "~/.cache"


def _expand(path: str, env: Mapping[str, str]) -> Path:
    """Return *path* with a leading `~` replaced by the `HOME` of *env*.

    Raises:
        ValueError: If there is no `HOME`, and the system does not know the user either.
    """
    home = env.get("HOME")
    if home and (path == "~" or path.startswith("~/")):
        return Path(home) / path[2:]
    try:
        return Path(path).expanduser() if path.startswith("~") else Path(path)
    except RuntimeError as err:
        raise ValueError(f"no home folder for {path!r}; set HOME or RMBG_HOME") from err


def _flag(value: object) -> object:
    if isinstance(value, str) and value.lower() in _NOT_FLAGS:
        raise ValueError("must be one of 1, 0, true, false, yes, no, on, off")
    return value


def _names(value: object) -> object:
    if not isinstance(value, str):
        return value
    names = tuple(dict.fromkeys(part.strip() for part in value.split(",") if part.strip()))
    if not names:
        raise ValueError("must hold at least one name")
    return names


def _path(value: object, info: ValidationInfo) -> object:
    if not isinstance(value, str) or info.context is None:
        return value
    return _expand(value, info.context)


def matches(pattern: str, fault: str) -> BeforeValidator:
    """Return a validator that refuses text unless all of it matches *pattern*.

    Args:
        pattern: A regular expression.
        fault: Message of the error; `{!r}` stands for the text.
    """

    def check(value: object) -> object:
        if isinstance(value, str) and not re.fullmatch(pattern, value):
            raise ValueError(fault.format(value))
        return value

    return BeforeValidator(check)


def url(*schemes: str) -> AfterValidator:
    """Return a validator of URLs that have one of *schemes* and a host.

    Its errors show no part of the value: any part of a malformed URL may belong to a password.
    """

    def check(value: str) -> str:
        if has_bare_password(value):
            raise ValueError(
                "holds an @ after a #, / or ?: percent-encode the password "
                "(# is %23, / is %2F, ? is %3F, @ is %40)"
            )
        parts = split_url(value)
        if parts is None or parts.scheme not in schemes or not parts.hostname:
            wanted = " or ".join(f"{scheme}://host" for scheme in schemes)
            raise ValueError(f"is not of the form {wanted}; percent-encode the password, if any")
        return value

    return AfterValidator(check)


Flag: TypeAlias = Annotated[bool, BeforeValidator(_flag)]
"""1/0, true/false, yes/no or on/off in any case."""
Whole: TypeAlias = Annotated[int, matches(r"-?[0-9]{1,18}", "must be a whole number")]
"""A whole number in decimal digits."""
Names: Final = BeforeValidator(_names)
"""Validator of a comma-separated list; blanks and duplicates are dropped, order is kept."""
Location: TypeAlias = Annotated[Path, BeforeValidator(_path)]
"""A path; a leading `~` stands for the environment's `HOME`."""
HttpUrl: TypeAlias = Annotated[str, url("http", "https")]
