"""Find the metrics and labels in a PromQL expression, with a small part of its grammar."""

from __future__ import annotations

import re
from dataclasses import dataclass

_WORDS = {"and", "or", "unless", "bool", "offset", "inf", "nan", "group_left", "group_right"}
_GROUPING = re.compile(r"\b(?:by|without|on|ignoring)\s*\(([^)]*)\)")
_SELECTOR = re.compile(r"([a-zA-Z_:][\w:]*)\s*\{([^}]*)\}")
_MATCHER = re.compile(r"\s*(\w+)\s*(=~|!~|!=|=)\s*\"([^\"]*)\"\s*,?")
_NAME = re.compile(r"(?<![\w$.])[a-zA-Z_:][\w:]*(?!\s*\(|[\w:])")


@dataclass(frozen=True)
class Names:
    """Metrics, labels and matchers of an expression."""

    metrics: frozenset[str]
    labels: frozenset[str]
    """Labels of its groupings: by, without, on, ignoring."""
    matchers: tuple[tuple[str, str, str, str], ...]
    """Metric, label, operator and value of each matcher."""


def names_in(expression):
    """Return the names in *expression*."""
    labels = {
        label.strip()
        for group in _GROUPING.findall(expression)
        for label in group.split(",")
        if label.strip()
    }
    matchers = tuple(
        (metric, *matcher)
        for metric, body in _SELECTOR.findall(expression)
        for matcher in _MATCHER.findall(body)
    )
    bare = _GROUPING.sub(" ", expression)
    bare = re.sub(r"\{[^}]*\}|\[[^\]]*\]", " ", bare)
    metrics = set(_NAME.findall(bare)) - _WORDS
    return Names(frozenset(metrics), frozenset(labels), matchers)
