"""When a batch is taken: it is full, it waited long enough, or the caller is draining."""

from worker.engine.batching import Batcher

WAIT_S = 0.05


def batcher(*items, key="model", max_items=4, now_s=0.0):
    batches = Batcher(WAIT_S)
    for n, item in enumerate(items):
        batches.add(key, item, rank=(True, n), max_items=max_items, now_s=now_s)
    return batches


def test_a_full_batch_is_taken_at_once():
    batches = batcher(*"abcd")

    assert batches.take(0.0) == list("abcd")
    assert len(batches) == 0


def test_an_unfilled_batch_waits_for_more_items_for_a_limited_time():
    batches = batcher(*"ab")

    assert batches.take(WAIT_S - 0.001) == []
    assert batches.wait_s(0.02) == WAIT_S - 0.02
    assert batches.take(WAIT_S) == ["a", "b"]
    assert batches.wait_s(WAIT_S) is None


def test_the_wait_counts_from_the_first_item():
    batches = batcher("a")
    batches.add("model", "b", rank=(True, 1), max_items=4, now_s=0.04)

    assert batches.take(WAIT_S) == ["a", "b"]


def test_in_a_hurry_an_unfilled_batch_does_not_wait():
    assert batcher(*"ab").take(0.0, hurry=True) == ["a", "b"]
    assert batcher().take(0.0, hurry=True) == []


def test_no_batch_is_larger_than_its_model_takes():
    batches = batcher(*"abcdef")

    assert batches.take(0.0) == list("abcd")
    assert batches.take(0.0) == []
    assert batches.take(0.0, hurry=True) == ["e", "f"]


def test_urgent_items_go_into_the_next_batch():
    batches = batcher(*"abcd")
    batches.add("model", "urgent", rank=(False, 9), max_items=4, now_s=0.0)

    assert batches.take(0.0) == ["urgent", "a", "b", "c"]


def test_models_never_share_a_batch_and_the_longest_waiting_goes_first():
    batches = Batcher(WAIT_S)
    for n, (key, item) in enumerate(zip("xyxy", "abcd", strict=True)):
        batches.add(key, item, rank=(True, n), max_items=4, now_s=0.0)

    assert batches.take(0.0, hurry=True) == ["a", "c"]
    assert batches.take(0.0, hurry=True) == ["b", "d"]


def test_an_urgent_item_brings_its_model_forward():
    batches = batcher("a", key="x")
    batches.add("y", "urgent", rank=(False, 1), max_items=4, now_s=0.0)

    assert batches.take(0.0, hurry=True) == ["urgent"]


def test_a_full_model_does_not_make_another_one_ready():
    batches = batcher("a", key="x")
    batches.add("y", "b", rank=(True, 1), max_items=1, now_s=0.0)

    assert batches.take(0.0) == ["b"]
    assert batches.take(0.0) == []
