"""Model cards of tests."""

from shared.models.card import NODE, Card


def card(*sources, **changes):
    """Return a card with the arithmetic of the node; *changes* are fields of `Card`."""
    given = {
        "name": "net",
        "licence": "none",
        "commercial": True,
        "architecture": "isnet",
        "sources": sources,
        "input": NODE.input,
        "output": NODE.output,
    }
    return Card(**given | changes)
