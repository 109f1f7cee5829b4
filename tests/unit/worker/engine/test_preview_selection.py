"""Which items of a ticket get a preview."""

import threading

from worker.engine.preview_selection import MAX_DOUBTFUL, PreviewSelection, no_previews


def taken(selection, verdict, indexes=range(100)):
    return [index for index in indexes if selection.take(index, verdict)]


def test_the_sample_is_spread_evenly_over_the_job():
    selection = PreviewSelection(40)

    assert taken(selection, "ok", range(70, 210)) == [80, 120, 160, 200]


def test_the_first_doubtful_items_are_added_to_the_sample():
    selection = PreviewSelection(40, doubtful=3)

    assert taken(selection, "review", range(38, 90)) == [38, 39, 40, 41, 80]


def test_rejected_and_reviewed_items_share_one_limit():
    selection = PreviewSelection(1000, doubtful=3)

    found = [selection.take(n, "reject" if n % 2 else "review") for n in range(1, 9)]

    assert found == [True] * 3 + [False] * 5


def test_items_of_the_sample_do_not_count_as_doubtful():
    selection = PreviewSelection(1)

    assert len(taken(selection, "reject")) == 100


def test_without_previews_no_doubtful_item_is_taken():
    assert taken(no_previews(), "reject") == []


def test_threads_that_share_a_selection_keep_its_limit():
    selection, found = PreviewSelection(10**9), []
    start = threading.Barrier(8)

    def take(first):
        start.wait(30)
        found.extend(taken(selection, "review", range(first, first + 500)))

    threads = [threading.Thread(target=take, args=(1 + 500 * n,)) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)

    assert len(found) == MAX_DOUBTFUL
