"""Upload from a folder and download to another, as in `rmbg run`."""

import os
import threading
import tracemalloc
from pathlib import Path

import pytest
from support.jobs import spec
from support.memory_store import MemoryStore

from producer.bounded import AHEAD, each
from producer.local.collect import Collector
from producer.local.images import scan, upload
from shared.errors import InvalidOption
from shared.job.record import ItemRecord

MOMENT_S = 0.3
"""How long a thread is held, so that code that goes too far has time to do it."""


@pytest.fixture
def src(tmp_path):
    folder = tmp_path / "src"
    folder.mkdir()
    (folder / "a.jpg").write_bytes(b"A")
    return folder


@pytest.fixture
def scanned(src, tmp_path):
    """Scan the folder as it is now."""
    return lambda: scan(src, without=tmp_path / "out")


@pytest.fixture
def store():
    return MemoryStore()


@pytest.fixture
def collector(store, tmp_path):
    """A collector that writes to `out`; both images of every record below are in its bucket."""
    for key in ("cutout.png", "mask.png"):
        store.put("cutouts", key, b"png", content_type="image/png")
    return Collector(store, tmp_path / "out", spec(), "j1")


def record(image_key="a.jpg"):
    return ItemRecord(
        index=0, image_key=image_key, state="done", cutout_key="cutout.png", mask_key="mask.png"
    )


def test_a_changed_image_of_the_same_length_replaces_the_earlier_one(src, scanned, store):
    """An image of an earlier job is never used in its place."""
    upload(scanned(), store, "inbox")
    (src / "a.jpg").write_bytes(b"B")

    upload(scanned(), store, "inbox")

    assert store.get("inbox", "a.jpg").data == b"B"


def test_an_image_that_is_in_the_bucket_is_not_uploaded_again(scanned, store):
    upload(scanned(), store, "inbox")
    calls = []
    store.before = lambda call, bucket, key: calls.append((call, key))

    upload(scanned(), store, "inbox")

    assert calls == [("list", "")]


def test_a_name_that_is_no_readable_file_is_skipped_and_named(src, scanned):
    """Reading a pipe would block."""
    (src / "dangling.jpg").symlink_to("/nowhere")
    os.mkfifo(src / "pipe.jpg")
    os.mkfifo(src / "pipe.txt")
    (src / "linked.jpg").symlink_to(src / "a.jpg")

    folder = scanned()

    assert folder.keys == ("a.jpg", "linked.jpg")
    assert folder.skipped == (
        "dangling.jpg (not a readable file)",
        "pipe.jpg (not a readable file)",
    )
    assert folder.others.count == 1


def test_an_output_folder_that_is_a_loop_of_links_is_no_folder_to_leave_out(src, tmp_path):
    (tmp_path / "out").symlink_to(tmp_path / "out")
    (src / "round").symlink_to(src / "round")

    assert scan(src, without=tmp_path / "out").keys == ("a.jpg",)


def test_files_of_systems_are_ignored_like_other_files(src, scanned):
    for name in ("._a.jpg", "Thumbs.db", "@eaDir/a.jpg/SYNOPHOTO_THUMB_M.jpg", "__MACOSX/._a.jpg"):
        (src / name).parent.mkdir(parents=True, exist_ok=True)
        (src / name).write_bytes(b"x")
    (src / "notes.txt").write_bytes(b"x")

    folder = scanned()

    assert folder.keys == ("a.jpg",)
    assert folder.others.describe() == (
        "5 other files: notes.txt, ._a.jpg, Thumbs.db, @eaDir/a.jpg/SYNOPHOTO_THUMB_M.jpg, "
        "__MACOSX/._a.jpg"
    )


def test_a_linked_folder_is_skipped_and_named(src, tmp_path, scanned):
    """A link may form a cycle; a link to OUT_DIR is left out without a warning, like OUT_DIR."""
    (tmp_path / "out").mkdir()
    (src / "round").symlink_to(src)
    (src / "results").symlink_to(tmp_path / "out")

    folder = scanned()

    assert folder.keys == ("a.jpg",)
    assert folder.skipped == ("round (a link to a folder)",)


def test_a_folder_that_cannot_be_read_is_skipped_and_named(src, scanned):
    """Its path is longer than the system allows, as nothing else is refused to root."""
    here = os.open(src, os.O_RDONLY)
    for _ in range(20):
        os.mkdir("d" * 250, dir_fd=here)
        above, here = here, os.open("d" * 250, os.O_RDONLY, dir_fd=here)
        os.close(above)
    os.close(here)

    folder = scanned()

    assert folder.keys == ("a.jpg",)
    [missed] = folder.skipped
    assert missed.endswith("dd (File name too long)")


def test_an_image_that_cannot_be_read_fails_alone(src, scanned, store):
    """An earlier image under its key is deleted; the other images are uploaded."""
    (src / "gone.jpg").write_bytes(b"old")
    upload(scanned(), store, "inbox")
    folder = scanned()
    (src / "gone.jpg").unlink()
    (src / "a.jpg").write_bytes(b"new")

    uploaded = upload(folder, store, "inbox")

    assert uploaded.unread == ("gone.jpg (No such file or directory)",)
    assert store.keys("inbox") == ["a.jpg"]
    assert store.get("inbox", "a.jpg").data == b"new"


@pytest.mark.parametrize("change", ["bytes", "name", "gone"])
def test_other_images_have_another_digest(src, scanned, store, change):
    """Lengths and times do not matter, as they can be the same."""
    (src / "b.jpg").write_bytes(b"B")
    before = upload(scanned(), store, "inbox")
    time_ns = (src / "b.jpg").stat().st_mtime_ns
    if change == "bytes":
        (src / "b.jpg").write_bytes(b"C")
        os.utime(src / "b.jpg", ns=(time_ns, time_ns))
    elif change == "name":
        (src / "b.jpg").rename(src / "c.jpg")
    else:
        (src / "b.jpg").unlink()

    assert upload(scanned(), store, "inbox").digest != before.digest


def test_images_with_other_times_have_the_same_digest(src, scanned, store):
    before = upload(scanned(), store, "inbox")
    os.utime(src / "a.jpg", (1, 1))

    assert upload(scanned(), store, "inbox") == before


@pytest.mark.parametrize("length", [246, 251])
def test_names_of_the_greatest_length_are_written(collector, tmp_path, length):
    name = "x" * (length - 4) + ".jpg"

    collector.images([record(name)])

    assert (tmp_path / "out/cutout" / f"{name}.png").read_bytes() == b"png"
    assert len(list((tmp_path / "out/mask").iterdir())) == 1


def test_a_file_that_cannot_be_written_is_named(collector, tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out/mask").write_bytes(b"in the way")

    with pytest.raises(InvalidOption, match=r"cannot write .*/out/mask/a\.jpg\.png: File exists"):
        collector.images([record()])


def test_the_temporary_file_is_removed_if_it_cannot_be_renamed(collector, tmp_path):
    (tmp_path / "out/results.jsonl").mkdir(parents=True)

    with pytest.raises(InvalidOption, match=r"cannot write .*/results\.jsonl"):
        collector.results([record()])

    assert [path.name for path in (tmp_path / "out").iterdir()] == ["results.jsonl"]


def test_results_are_written_without_holding_them(collector, tmp_path):
    """Held records would take 1.4 kB each: 1.4 GB for a million images."""
    count = 5000
    tracemalloc.start()
    try:
        collector.results(record(f"{n}.jpg") for n in range(count))
        _, peak_bytes = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()

    assert len(Path(tmp_path / "out/results.jsonl").read_bytes().splitlines()) == count
    assert peak_bytes < 100 * count


def test_few_items_are_taken_ahead_of_the_slowest():
    """A million images wait in the folder, not in memory."""
    taken = []
    too_many = threading.Event()

    def items():
        for n in range(100):
            taken.append(n)
            if len(taken) > AHEAD * 2:
                too_many.set()
            yield n

    def slow_at_0(n):
        if n == 0:
            too_many.wait(MOMENT_S)
        return str(n)

    working = each(slow_at_0, items(), threads=2)

    assert next(working) == "0"
    assert taken == list(range(AHEAD * 2))
    assert list(working) == [str(n) for n in range(1, 100)]


def test_items_that_wait_are_not_started_after_an_error():
    started = []
    never = threading.Event()

    def fail_at_0(n):
        started.append(n)
        never.wait(MOMENT_S)
        if n == 0:
            raise ValueError("0")

    with pytest.raises(ValueError, match="0"):
        list(each(fail_at_0, range(100), threads=1))

    assert len(started) < AHEAD
