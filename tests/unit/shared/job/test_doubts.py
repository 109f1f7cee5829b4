"""Which images are doubtful, and in which order."""

from shared.job.doubts import Doubts, doubt_of, read
from shared.job.record import ItemRecord, OutputFacts


def record(index=0, verdict="review", reasons="", *, state="done", **more):
    qc = {"verdict": verdict, "reasons": reasons, "uncertainty": 0.25}
    return ItemRecord(index=index, image_key="a.jpg", state=state, qc=qc, **more)


def test_good_and_failed_images_are_not_doubtful():
    assert doubt_of(record(verdict="ok")) is None
    assert doubt_of(record(state="failed")) is None
    assert doubt_of(ItemRecord(index=0, image_key="a", state="done")) is None


def test_a_rejected_image_is_more_doubtful_than_any_other():
    least = doubt_of(record(verdict="reject"))
    most = doubt_of(record(reasons="; ".join(f"figure{n} 1 above 0" for n in range(30))))

    assert (least.doubt, most.doubt) == (10.25, 8.25)


def test_the_checks_are_those_of_mask_and_outputs():
    failed = {"white": (200, 255)}
    noted = {"fill": (0.5, 0.8)}
    facts = OutputFacts(verdict="review", failed=failed, noted=noted)

    found = doubt_of(
        record(reasons="coverage 0.01 below 0.02; shop: white", outputs={"shop": facts})
    )

    assert found.checks == ("coverage", "white")
    assert found.doubt == 2.25


def test_the_most_doubtful_are_kept_in_order():
    doubts = Doubts(most=3)
    for index, verdict in enumerate(["review", "ok", "reject", "review", "review"]):
        doubts.add(record(index, verdict))

    assert [each.index for each in read(doubts.lines())] == [2, 0, 3]
