"""Counts of failed checks: by output, those of most images first."""

from producer.results.failed_checks import FailedCheck, failed_checks
from shared.job.record import ItemRecord, OutputFacts


def record(index, **failed):
    outputs = {
        name: OutputFacts(verdict="review", failed=dict.fromkeys(checks, (1, 2)))
        for name, checks in failed.items()
    }
    return ItemRecord(index=index, image_key=f"{index}.jpg", state="done", outputs=outputs)


def test_checks_are_counted_by_output():
    records = [
        record(0, shop=["fill"], web=[]),
        record(1, shop=["fill", "max_bytes"]),
        record(2, web=["fill"]),
        record(3),
    ]

    assert failed_checks(records) == [
        FailedCheck("shop", "fill", 2, "0.jpg"),
        FailedCheck("shop", "max_bytes", 1, "1.jpg"),
        FailedCheck("web", "fill", 1, "2.jpg"),
    ]


def test_notes_and_passed_checks_are_not_counted():
    noted = OutputFacts(noted={"fill": (1, 2)})

    assert failed_checks([record(0).model_copy(update={"outputs": {"shop": noted}})]) == []
