"""A job's report: a self-contained page that escapes every text from outside."""

import re
from datetime import UTC, datetime
from html.parser import HTMLParser

from support.jobs import spec

from shared.job.record import ItemRecord
from shared.job.spec import JobState
from shared.jobstore.values import JobStatus
from worker.consumer.report import Cell, render

EVIL = "<script>alert('x')</script>\"&$job"


def status(**changes):
    given = {
        "job_id": "job-1",
        "state": JobState.FINISHING,
        "waiting_for": None,
        "total": 1234,
        "done": 1200,
        "failed": 34,
        "created_at": datetime(2026, 11, 23, 5, 0, tzinfo=UTC),
        "finished_at": None,
        "images_per_s": None,
        "eta_s": None,
        "generation": 1,
        "error_classes": {},
        "verdicts": {"ok": 1190, "review": 10},
    }
    return JobStatus(**given | changes)


def failed(key, reason="no such object"):
    error = {"class": "ObjectMissing", "reason": reason}
    return ItemRecord(index=0, image_key=key, state="failed", error=error)


def cell(key, verdict="ok", preview=b"preview"):
    record = ItemRecord(
        index=0, image_key=key, state="done", width=40, height=30, qc={"verdict": verdict}
    )
    return Cell(record, preview)


class Elements(HTMLParser):
    """Collects the elements and the text of a page."""

    def __init__(self, page):
        super().__init__()
        self.tags, self.text, self.sources = [], "", []
        self.feed(page)

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.sources += [value for name, value in attrs if name in ("src", "href")]

    def handle_data(self, data):
        self.text += data


def test_the_page_shows_the_totals_of_the_job():
    page = Elements(render(status(), spec(save_prefix="shop/2026"), [], []))

    for fact in ("job-1", "1,234", "1,200", "34", "shop/2026", "2026-11-23 05:00:00 UTC"):
        assert fact in page.text
    assert "verdict review10" in page.text


def test_failures_are_listed_with_their_reasons():
    page = Elements(render(status(), spec(), [], [failed("a.jpg"), failed("b.jpg", "torn")]))

    assert "the first 2 of 34" in page.text
    assert "a.jpgObjectMissingno such object" in page.text
    assert "b.jpgObjectMissingtorn" in page.text


def test_a_complete_list_of_failures_has_no_limit_in_its_title():
    page = Elements(render(status(failed=1), spec(), [], [failed("a.jpg")]))

    assert "the first" not in page.text


def test_a_job_without_failures_has_no_failure_section():
    assert "Failed" not in render(status(failed=0), spec(), [], [])


def test_images_are_embedded_in_the_page():
    """A browser reads the page from a bucket and has no access to anything else there."""
    page = Elements(render(status(), spec(), [cell("a.jpg", "review")], []))

    assert page.sources == ["data:image/webp;base64,cHJldmlldw=="]
    assert "a.jpg (review, 40 x 30)" in page.text
    assert not re.search(r"https?://|@import|url\(", render(status(), spec(), [cell("a")], []))


def test_an_image_without_a_preview_is_named_with_its_verdict():
    page = Elements(render(status(), spec(), [cell("a.jpg", "review", preview=None)], []))

    assert page.sources == []
    assert "a.jpg (review, 40 x 30)" in page.text


def test_every_text_from_outside_is_escaped():
    page = Elements(
        render(
            status(verdicts={EVIL: 1}),
            spec(save_prefix=EVIL, rem_mode=EVIL),
            [cell(EVIL, EVIL)],
            [failed(EVIL, EVIL)],
        )
    )

    assert "script" not in page.tags
    assert page.text.count(EVIL) >= 6
