"""Base class of the documents that producers and workers exchange as JSON."""

from collections.abc import Mapping
from typing import Annotated, Any, Final, TypeAlias, get_args

from pydantic import BaseModel, BeforeValidator, ConfigDict, ValidationError
from pydantic_core import ErrorDetails


def _escaped(value: object) -> object:
    if not isinstance(value, str) or value.isascii():
        return value
    return value.encode("utf-8", "backslashreplace").decode()


Text: TypeAlias = Annotated[str, BeforeValidator(_escaped)]
r"""A string in which each lone surrogate is written as its escape, `\udc80`.

An object key can hold bytes that are not valid Unicode. Python represents them as lone
surrogates, which neither UTF-8 nor JSON allows. Only manifests hold such keys unchanged.
"""


class Document(BaseModel):
    """An immutable, validated document; unknown fields are an error unless a subclass differs."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", hide_input_in_errors=True, ser_json_inf_nan="constants"
    )


def known(model: type[BaseModel], body: Mapping[str, Any]) -> dict[str, Any]:
    """Return *body* without the fields, at any depth, that this version of *model* does not have.

    >>> class Size(Document):
    ...     width: int
    >>> known(Size, {"width": 1, "depth": 2})
    {'width': 1}
    """
    found = {name: body[name] for name in model.model_fields if name in body}
    for name, value in found.items():
        inner = _model_in(model.model_fields[name].annotation)
        if inner is None:
            continue
        if isinstance(value, Mapping):
            found[name] = known(inner, value)
        elif isinstance(value, list):
            found[name] = [known(inner, each) for each in value]
    return found


def _model_in(annotation: Any) -> type[BaseModel] | None:  # noqa: ANN401 - any type
    """Return the model that a field holds: as it is, or None, or several."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    return next(filter(None, map(_model_in, get_args(annotation))), None)


def problems(err: ValidationError) -> str:
    """Return all problems of *err* on one line, without the values.

    >>> class Size(Document):
    ...     width: int
    >>> try:
    ...     Size.model_validate({"width": None, "depth": 1})
    ... except ValidationError as err:
    ...     print(problems(err))
    width: Input should be a valid integer; depth: unknown field
    """
    return "; ".join(
        ": ".join(filter(None, [".".join(map(str, each["loc"])), _said(each)]))
        for each in err.errors(include_url=False, include_input=False, include_context=False)
    )


def _said(error: ErrorDetails) -> str:
    return _PLAIN.get(error["type"], error["msg"].removeprefix("Value error, "))


_PLAIN: Final = {"extra_forbidden": "unknown field"}
"""Words for types of problems that pydantic says less plainly."""
