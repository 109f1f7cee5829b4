"""Which outages a waiting loop survives, for how long, and what it says, with a simulated clock."""

import pytest

from producer.patience import PATIENCE_S, Patience
from shared.errors import BucketUnavailable, RedisRefused, RedisUnavailable, StoreUnavailable


class Loop:
    """A loop under `Patience` with a clock of its own."""

    def __init__(self, **options):
        self.now_s, self.said = 0.0, []
        self.patience = Patience(self.said.append, clock=lambda: self.now_s, **options)

    def round(self, err=None, *, at_s=None):
        """Run a round that raises *err*; return whether it got to its end."""
        self.now_s = self.now_s if at_s is None else at_s
        with self.patience:
            if err is not None:
                raise err
            return True
        return False


@pytest.mark.parametrize("kind", [RedisUnavailable, StoreUnavailable])
def test_an_outage_of_under_a_minute_is_survived_and_said_once(kind):
    loop = Loop()

    for at_s in (0, 1, PATIENCE_S - 1):
        assert not loop.round(kind("no answer"), at_s=at_s)
    assert loop.round()

    assert loop.said == [
        "no answer; waiting for up to 60 s, the job is not affected",
        "the service answers again",
    ]


def test_a_longer_outage_ends_the_loop_with_its_cause():
    loop = Loop()
    loop.round(RedisUnavailable("no answer"), at_s=0)

    with pytest.raises(RedisUnavailable, match="no answer; gave up after 60 s"):
        loop.round(RedisUnavailable("no answer"), at_s=PATIENCE_S)


def test_each_outage_has_its_own_minute():
    loop = Loop()
    for start_s in (0, 100, 200):
        loop.round(RedisUnavailable("x"), at_s=start_s)
        loop.round(RedisUnavailable("x"), at_s=start_s + 50)
        loop.round(at_s=start_s + 51)

    assert len(loop.said) == 6


@pytest.mark.parametrize("kind", [RedisRefused, BucketUnavailable, ValueError])
def test_other_errors_are_not_waited_for(kind):
    loop = Loop()

    with pytest.raises(kind):
        loop.round(kind("no"))
    assert loop.said == []


def test_without_patience_no_outage_is_survived():
    loop = Loop(limit_s=0)

    with pytest.raises(RedisUnavailable):
        loop.round(RedisUnavailable("x"))
    assert loop.said == []


def test_insisting_repeats_a_call_until_it_is_answered():
    answers = iter([RedisUnavailable("x"), RedisUnavailable("x"), "answer"])

    def ask():
        if isinstance(answer := next(answers), Exception):
            raise answer
        return answer

    assert Patience().insist(ask, 0.001) == "answer"
