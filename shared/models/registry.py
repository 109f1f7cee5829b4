"""Registered models by name: the cards that come with the product."""

import tomllib
from collections.abc import Mapping
from importlib.resources import files
from types import MappingProxyType
from typing import Final

from shared.errors import UnknownModel
from shared.models.card import Card

DEFAULT: Final = "RMBG-1.4"
"""The model of the ComfyUI node; the first of every list."""
REFUSED: Final[Mapping[str, str]] = MappingProxyType(
    {
        "Inspyrenet": "nobody publishes it in ONNX; export it yourself and add a card",
        "atlascloud": "it is a hosted service; this product removes backgrounds on its own devices",
        "ben_custom": "it names a file of yours; add a card for that file",
        "dis_custom": "it names a file of yours; add a card for that file",
        "sam": "it needs a click or a box in each image and does not choose the subject itself",
        "u2net_cloth_seg": "it labels clothes in three classes and makes no mask of the subject",
        "u2net_custom": "it names a file of yours; add a card for that file",
        "withoutbg": "it is a hosted service; this product removes backgrounds on its own devices",
    }
)
"""Names of rembg and of the ComfyUI node that are no models here, and why."""


def _cards() -> dict[str, Card]:
    folder = files("shared.models") / "cards"
    texts = (
        each.read_text(encoding="utf-8") for each in folder.iterdir() if each.name.endswith(".toml")
    )
    cards = [Card.model_validate(tomllib.loads(text)) for text in texts]
    cards.sort(key=lambda card: (card.name != DEFAULT, card.name.lower()))
    return {card.name: card for card in cards}


REGISTRY: Final[Mapping[str, Card]] = MappingProxyType(_cards())
"""All models by name."""
_BY_ALIAS: Final = {alias: card for card in REGISTRY.values() for alias in card.aliases}


def resolve(name: str) -> str:
    """Return the name of the model that *name* or alias means; an unknown one as it is."""
    card = _BY_ALIAS.get(name)
    return card.name if card else name


def get(name: str) -> Card:
    """Return the model of this name or alias.

    Raises:
        UnknownModel: If no model has this name; says why, or lists the known names.
    """
    if card := REGISTRY.get(resolve(name)):
        return card
    if reason := REFUSED.get(name):
        raise UnknownModel(f"model {name!r} is not served: {reason}")
    raise UnknownModel(f"unknown model {name!r}; use one of {', '.join(REGISTRY)}")
