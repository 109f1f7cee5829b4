"""A job's report: one bounded page without network, in which no text from outside is markup."""

import random
import re
import secrets
from html.parser import HTMLParser

import pytest
from support.jobs import spec
from support.report_page import data_in, page_of, rows_in

from shared.job.record import ItemRecord, OutputFacts
from shared.job.spec import Previews
from shared.objects.memory import MemoryStore
from worker.consumer.report import previews, rows
from worker.consumer.report.contents import Contents
from worker.consumer.report.previews import PreviewReader

EVIL = "</script><img src=x onerror=\"alert('x')\"><!--&$job"
LIMIT_BYTES = 10_000_000


def failed(key, reason="no such object", index=0):
    error = {"class": "ObjectMissing", "reason": reason}
    return ItemRecord(index=index, image_key=key, state="failed", error=error)


def done(key, verdict="ok", index=0, outputs=None, **qc):
    return ItemRecord(
        index=index,
        image_key=key,
        state="done",
        width=40,
        height=30,
        device="cpu",
        qc={"verdict": verdict} | qc,
        outputs=outputs or {},
    )


def random_key(chance, length):
    return "".join(chance.choices("abcdefghijklmnopqrstuvwxyz0123456789-_ABCDEFGHIJK", k=length))


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


def test_the_page_shows_the_totals_the_rate_and_the_device():
    page = Elements(page_of([done("a.jpg")], job=spec(save_prefix="shop/2026")))

    for fact in ("job-1", "1,234", "1,200", "34", "shop/2026", "2026-11-23 05:00:00 UTC"):
        assert fact in page.text
    assert "verdict review10" in page.text
    assert "images per second2.06" in page.text  # 1,234 in ten minutes
    assert "devicecpu" in page.text


def test_failures_are_counted_by_reason_without_the_key_of_the_image():
    records = [failed(f"{n}.jpg", f"no object inbox/{n}.jpg", n) for n in range(3)]
    page = Elements(page_of([*records, failed("b.jpg", "torn")]))

    assert "ObjectMissingno object inbox/(key)3" in page.text
    assert "ObjectMissingtorn1" in page.text


def test_failures_of_a_job_without_records_are_counted_by_class():
    page = page_of([], error_classes={"DecodeError": 34})

    assert "DecodeError34" in Elements(page).text
    assert rows_in(page) == []


def test_a_job_without_failures_has_no_failure_section():
    assert "<h2>Failures" not in page_of([done("a.jpg")], failed=0)


def test_checks_are_counted_by_name_once_for_an_image():
    doubtful = OutputFacts(verdict="review", failed={"fill": (0.7, 0.85)})
    noted = OutputFacts(noted={"min_side_px": (1200, 1600)})
    image = done(
        "a.jpg",
        "review",
        outputs={"amazon-main": doubtful, "ebay": doubtful, "shop": noted},
        reasons="uncertainty 0.31 above 0.3; amazon-main: fill is 0.7, limit 0.85",
    )
    page = page_of([image])

    assert "fillmust1" in Elements(page).text
    assert "min_side_pxshould1" in Elements(page).text
    assert "uncertaintymust1" in Elements(page).text
    assert rows_in(page)[0]["findings"] == [
        ["mask", "uncertainty", "0.31 above 0.3", None, True],
        ["amazon-main", "fill", 0.7, 0.85, True],
        ["ebay", "fill", 0.7, 0.85, True],
        ["shop", "min_side_px", 1200, 1600, False],
    ]


def test_quality_figures_are_shown_as_histograms():
    images = [done(f"{n}", index=n, coverage=n / 10, parts=n) for n in range(11)]
    page = page_of(images)

    assert "<title>0.50 to 0.55: 1</title>" in page
    assert "<title>10: 1</title>" in page
    assert "Histogram of holes" not in page


def test_values_that_are_no_numbers_in_json_are_shown_as_text():
    infinite = OutputFacts(verdict="review", failed={"aspect": (float("inf"), float("nan"))})

    [row] = rows_in(page_of([done("a.jpg", "review", outputs={"shop": infinite})]))

    assert row["findings"] == [["shop", "aspect", "inf", "nan", True]]


def test_images_that_need_a_look_come_first_in_the_list():
    page = page_of([done("a"), failed("b", index=1), done("c", "review", 2), done("d", index=3)])

    assert [(row["key"], row["verdict"]) for row in rows_in(page)] == [
        ("b", "failed"),
        ("c", "review"),
        ("a", "ok"),
        ("d", "ok"),
    ]


def test_the_page_asks_for_nothing_outside_and_names_its_own_style_and_script():
    """A browser reads the page from a bucket and has no access to anything else there."""
    page = page_of([done("a")], previews={0: b"preview"})

    assert Elements(page).sources == []
    assert data_in(page)["previews"] == {"0": "data:image/webp;base64,cHJldmlldw=="}
    assert not re.search(r"https?://|@import|url\(", page)
    assert re.search(r"default-src 'none'.*style-src 'sha256-\S+'; script-src 'sha256-\S+'\"", page)


@pytest.mark.parametrize(
    ("changes", "folder"),
    [
        ({}, "previews"),
        ({"image_output": "Preview"}, "../../_preview/2026-11-23/job-1/previews"),
        ({"image_output": "Hide"}, None),
        ({"previews": Previews.NONE}, None),
    ],
)
def test_previews_that_are_not_in_the_page_are_found_beside_it(changes, folder):
    page = page_of([done("a")], job=spec(date="2026-11-23", **changes))

    assert data_in(page)["folder"] == folder


def test_no_text_from_outside_is_markup():
    records = [
        failed(EVIL, EVIL),
        done(EVIL, EVIL, outputs={EVIL: OutputFacts(verdict="error", reason=EVIL)}, reasons=EVIL),
    ]
    records[0] = records[0].model_copy(update={"error": {"class": EVIL, "reason": EVIL}})
    records[1] = records[1].model_copy(update={"device": EVIL})
    page = page_of(
        records, job=spec(save_prefix=EVIL, rem_mode=EVIL), verdicts={EVIL: 1}, job_id=EVIL
    )
    elements = Elements(page)

    assert "img" not in elements.tags
    assert elements.tags.count("script") == 2
    assert page.count("</script") == 2
    assert elements.text.count(EVIL) >= 6
    assert {row["key"] for row in rows_in(page)} == {EVIL}


def test_the_page_keeps_its_limit_with_long_keys_and_large_previews_and_says_what_it_has():
    """Random keys do not compress: the doubtful images and as many others as fit are listed."""
    seed = secrets.randbits(32)
    print(f"seed {seed}")  # noqa: T201
    chance = random.Random(seed)
    total = 12_000
    keys = [random_key(chance, 900) for _ in range(total)]
    images = (done(key, "ok" if n % 12 else "review", n) for n, key in enumerate(keys))
    # The largest that `PreviewReader` returns.
    shown = {n: bytes(previews.MAX_BYTES // 200) for n in range(200)}

    page = page_of(images, total=total, previews=shown)

    listed = rows_in(page)
    assert len(page) < LIMIT_BYTES
    assert rows.BLOCK_ROWS < len(listed) < total
    assert [row["index"] for row in listed[:1000]] == list(range(0, total, 12))


def test_a_choice_has_the_worst_first_then_an_even_sample():
    images = [done(f"{n}", "ok", n) for n in range(1000)]
    images[7] = done("7", "review", 7, uncertainty=0.2)
    images[8] = done("8", "review", 8, uncertainty=0.4)
    images[9] = done("9", "reject", 9)
    images[20] = failed("20", index=20)

    contents = Contents.of((each.to_json().encode() for each in images), total=1000, every=2)

    sample = [n for n in range(0, 1000, 6) if n != 8]
    assert contents.choice.indices() == [9, 8, 7, *sample]


def test_of_many_doubtful_images_the_worst_are_chosen():
    images = (done(f"{n}", "review", n, uncertainty=n / 5000) for n in range(5000))

    contents = Contents.of((each.to_json().encode() for each in images), total=5000, every=1)

    assert contents.choice.indices()[:400] == list(range(4999, 4599, -1))


def put_previews(sizes):
    store = MemoryStore()
    for index, size in sizes.items():
        key = f"_jobs/job-1/previews/{index}.webp"
        store.put("cutouts", key, bytes(size), content_type="image/webp")
    return PreviewReader(store, spec(), "job-1", lambda: None)


def test_missing_and_too_large_previews_are_left_out_for_later_ones():
    reader = put_previews({0: 2**18 + 1} | dict.fromkeys(range(10, 300), 10))

    assert list(reader.read(list(range(300)))) == list(range(10, 210))


def test_previews_in_a_page_have_a_limit_together():
    reader = put_previews(dict.fromkeys(range(200), 2**18))

    found = reader.read(list(range(200)))

    assert len(found) == previews.MAX_BYTES // 2**18
