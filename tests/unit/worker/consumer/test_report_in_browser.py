"""The report in a browser: what its script shows, by keys alone, and what it loads.

Skipped where no Chromium is installed.
"""

import pytest
from support.chromium import BROWSER, Chromium
from support.report_page import page_of

from shared.job.record import ItemRecord, OutputFacts

pytestmark = pytest.mark.skipif(BROWSER is None, reason="Chromium is not installed")

EVIL = "</script><img src=x onerror=document.title='owned'>.jpg"
KEYS = (
    "[...document.querySelectorAll('.row')].map((row) => row.querySelector('[title]').textContent)"
)
LOADED = "document.querySelector('#images:not([hidden]) .row')"


@pytest.fixture(scope="module")
def tab(tmp_path_factory):
    browser = Chromium(tmp_path_factory.mktemp("profile"))
    yield browser
    browser.close()


def records(count):
    yield ItemRecord(
        index=0,
        image_key=EVIL,
        state="failed",
        error={"class": "DecodeError", "reason": EVIL},
    )
    for n in range(1, count):
        small = {"shop": OutputFacts(verdict="review", failed={"min_side_px": (n, 500)})}
        yield ItemRecord(
            index=n,
            image_key=f"images/{n:06}.jpg",
            state="done",
            width=40,
            height=30,
            qc={"verdict": "review" if n % 100 == 1 else "ok"},
            outputs=small if n % 100 == 1 else {},
        )


@pytest.fixture
def page(tab, tmp_path):
    """A report of 1,000 images: 1 failed, 10 to review."""

    def make(count=1000, total=None):
        path = tmp_path / "report.html"
        path.write_text(page_of(records(count), total=total or count))
        tab.open(path.as_uri())
        tab.until(LOADED)
        tab.requests.clear()
        tab.problems.clear()
        return tab

    return make


def count(tab):
    return tab.js("document.getElementById('count').textContent")


def focused(tab):
    return tab.js("document.activeElement.id")


def test_only_the_rows_that_are_seen_are_elements(page):
    tab = page()

    assert count(tab) == "1,000 images"
    assert 3 < tab.js("document.querySelectorAll('.row').length") < 40
    assert tab.js("document.getElementById('rows').style.height") == "64000px"


def test_a_key_that_looks_like_markup_is_text(page):
    tab = page()

    tab.js("document.getElementById('list').focus()")
    tab.press("Enter")

    assert tab.js(KEYS)[0] == EVIL
    assert tab.js("document.getElementById('item-key').textContent") == EVIL
    assert tab.js("document.title") == "job-1"
    assert tab.js("document.querySelectorAll('img').length") == 0
    assert tab.problems == []


def test_filters_by_text_verdict_and_check_work_with_keys_alone(page):
    tab = page()

    tab.press("/", *"/00090")
    assert focused(tab) == "text"
    assert count(tab) == "10 images"
    tab.press("Tab")
    assert focused(tab) == "state"
    tab.press("r")
    assert count(tab) == "1 image"
    assert tab.js(KEYS) == ["images/000901.jpg"]
    tab.press("Tab", "m")
    assert focused(tab) == "check"
    assert count(tab) == "1 image"
    tab.press("ArrowDown")
    assert count(tab) == "0 images"
    tab.press("Tab")
    assert focused(tab) == "list"


def test_the_list_moves_with_arrow_keys_and_opens_and_closes_an_image(page):
    tab = page()
    active = "document.querySelector('[aria-selected=true] [title]').textContent"

    tab.press("/", "ArrowDown")
    assert focused(tab) == "list"
    tab.press("ArrowDown", "ArrowDown", "ArrowUp")
    assert tab.js(active) == "images/000001.jpg"
    tab.press("Enter")
    assert tab.js("document.getElementById('item-findings').innerText").split() == [
        *("output", "check", "measured", "limit", "level"),
        *("shop", "min_side_px", "1", "500", "must"),
    ]
    tab.press("ArrowDown")
    assert tab.js("document.getElementById('item-key').textContent") == "images/000101.jpg"
    tab.press("Escape")
    assert not tab.js("document.getElementById('item').open")
    assert focused(tab) == "list"
    tab.press("End")
    assert tab.js(active) == "images/000999.jpg"
    assert tab.js("document.getElementById('list').getAttribute('aria-activedescendant')")
    tab.press("Home")
    assert tab.js(active) == EVIL


def test_the_focus_is_visible(page):
    tab = page()

    tab.press("/", "ArrowDown")

    assert tab.js("getComputedStyle(document.getElementById('list')).outlineWidth") == "3px"


def test_an_image_without_a_preview_in_the_page_loads_nothing_until_it_is_opened(page):
    tab = page()

    tab.press("/", "ArrowDown", "End")
    assert tab.requests == []
    tab.press("Enter")
    tab.until("document.querySelector('#item-image p')")

    [asked] = tab.requests
    assert asked.endswith("/previews/999.webp")
    assert tab.js("document.getElementById('item-image').textContent") == (
        "No preview at previews/999.webp."
    )


@pytest.mark.parametrize(("scheme", "colour"), [("light", 255), ("dark", 22)])
def test_colours_follow_the_system(page, scheme, colour):
    tab = page()

    features = [{"name": "prefers-color-scheme", "value": scheme}]
    tab.call("Emulation.setEmulatedMedia", features=features)

    background = tab.js("getComputedStyle(document.body).backgroundColor")
    assert background.startswith(f"rgb({colour}, ")


def test_a_report_without_records_says_that_it_has_totals_only(tab, tmp_path):
    path = tmp_path / "report.html"
    path.write_text(page_of([], total=2_000_000))
    tab.open(path.as_uri())
    tab.until("document.getElementById('note')?.textContent.includes('totals only')")

    assert tab.js("document.getElementById('images').hidden")


def test_a_list_that_is_not_complete_says_so(page):
    tab = page(total=5000)

    assert count(tab) == (
        "1,000 images (the list has 1,000 of 5,000 images; results.jsonl has all)"
    )
