"""The verdict on an item: the worst of its mask's and its outputs'."""

from collections.abc import Mapping

from shared.job.record import OutputFacts
from shared.job.spec import Json


def doubted(facts: OutputFacts) -> OutputFacts:
    """Return *facts* of an output that is made from a doubtful mask: it needs a person."""
    return facts.model_copy(update={"verdict": "review"})


def worst(quality: Mapping[str, Json], outputs: Mapping[str, OutputFacts]) -> Mapping[str, Json]:
    """Return the quality of an item whose outputs are checked: the worst verdict, all reasons.

    Args:
        quality: Figures of the mask, with `verdict` and, if it is not `ok`, `reasons`.
        outputs: Facts about the outputs.
    """
    reasons = [
        f"{name}: {check} is {value}, limit {limit}"
        for name, facts in outputs.items()
        for check, (value, limit) in facts.failed.items()
    ]
    if not reasons:
        return quality
    verdict = "review" if quality["verdict"] == "ok" else quality["verdict"]
    told = [str(quality["reasons"])] if "reasons" in quality else []
    return {**quality, "verdict": verdict, "reasons": "; ".join([*told, *reasons])}
