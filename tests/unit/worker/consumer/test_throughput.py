"""Images per second, measured over spans in which there was work."""

import pytest

from worker.consumer.throughput import RateMeter


def rates(*samples):
    meter = RateMeter()
    return [meter.sample(now_s, ended, working=working) for now_s, ended, working in samples]


def test_there_is_no_rate_before_a_span_has_ended():
    assert rates((0, 0, True)) == [None]


def test_the_rate_of_a_span_is_the_items_that_ended_in_it_per_second():
    assert rates((0, 10, True), (4, 18, True)) == [None, 2.0]


def test_later_spans_change_the_rate_smoothly():
    assert rates((0, 0, True), (4, 8, True), (8, 24, True)) == [None, 2.0, 3.0]


def test_spans_that_begin_or_end_idle_are_ignored():
    seen = rates((0, 0, True), (4, 8, True), (8, 8, False), (90, 8, True), (94, 16, True))

    assert seen == [None, 2.0, 2.0, 2.0, 2.0]


def test_a_span_in_which_nothing_ended_gives_no_first_rate():
    """A rate of 0 would lead to tickets of one item."""
    assert rates((0, 0, True), (4, 0, True), (8, 8, True)) == [None, None, 2.0]


def test_two_samples_in_quick_succession_count_as_one():
    """A span of a few milliseconds holds no item, or one too many."""
    asked_once = rates((0, 0, True), (4, 8, True), (8, 16, True))
    asked_twice = rates(
        (0, 0, True), (4, 8, True), (4.005, 8, True), (8, 16, True), (8.001, 17, True)
    )

    assert asked_twice[-1] == pytest.approx(asked_once[-1])
