"""Images a second, over spans in which there was work."""

import pytest

from worker.consumer.throughput import RateMeter


def rates(*samples):
    meter = RateMeter()
    return [meter.sample(now_s, ended, working=working) for now_s, ended, working in samples]


def test_nothing_is_known_before_a_span_has_ended():
    assert rates((0, 0, True)) == [None]


def test_the_rate_of_a_span_is_what_ended_in_it_a_second():
    assert rates((0, 10, True), (4, 18, True)) == [None, 2.0]


def test_later_spans_change_it_smoothly():
    assert rates((0, 0, True), (4, 8, True), (8, 24, True)) == [None, 2.0, 3.0]


def test_spans_that_begin_or_end_idle_say_nothing():
    seen = rates((0, 0, True), (4, 8, True), (8, 8, False), (90, 8, True), (94, 16, True))

    assert seen == [None, 2.0, 2.0, 2.0, 2.0]


def test_a_span_in_which_nothing_ended_is_no_first_rate():
    """A rate of 0 would make tickets of one item."""
    assert rates((0, 0, True), (4, 0, True), (8, 8, True)) == [None, None, 2.0]


def test_asking_again_at_once_changes_nothing():
    """Two samples a few milliseconds apart hold no item, or one too many."""
    asked_once = rates((0, 0, True), (4, 8, True), (8, 16, True))
    asked_twice = rates(
        (0, 0, True), (4, 8, True), (4.005, 8, True), (8, 16, True), (8.001, 17, True)
    )

    assert asked_twice[-1] == pytest.approx(asked_once[-1])
