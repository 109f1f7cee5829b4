"""Many together, or one alone."""

import threading
from contextlib import suppress

from support.until import until

from worker.consumer.exclusive_lock import Gate


class Visitor:
    """Somebody in a thread who goes through the gate and stays until told to leave."""

    def __init__(self, enter):
        self.inside, self._leave = threading.Event(), threading.Event()
        self._thread = threading.Thread(target=self._visit, args=(enter,), daemon=True)
        self._thread.start()

    def _visit(self, enter):
        with enter():
            self.inside.set()
            self._leave.wait(30)

    def leave(self):
        self._leave.set()
        self._thread.join(10)
        assert not self._thread.is_alive()


def waits_to_be_alone(gate):
    return until(lambda: gate._waiting == 1)


def test_many_are_in_together():
    gate = Gate()
    visitors = [Visitor(gate.together) for _ in range(3)]

    for visitor in visitors:
        assert visitor.inside.wait(10)
    for visitor in visitors:
        visitor.leave()


def test_alone_waits_for_those_who_are_in():
    gate = Gate()
    before = Visitor(gate.together)
    assert before.inside.wait(10)

    alone = Visitor(gate.alone)
    waits_to_be_alone(gate)
    assert not alone.inside.is_set()
    before.leave()

    assert alone.inside.wait(10)
    alone.leave()


def test_nobody_comes_in_beside_the_one_who_is_alone():
    gate = Gate()
    first = Visitor(gate.alone)
    assert first.inside.wait(10)

    second, other = Visitor(gate.alone), Visitor(gate.together)
    waits_to_be_alone(gate)
    assert not second.inside.is_set()
    assert not other.inside.is_set()
    first.leave()

    assert second.inside.wait(10)
    assert not other.inside.is_set()
    second.leave()
    assert other.inside.wait(10)
    other.leave()


def test_who_waits_to_be_alone_keeps_newcomers_out():
    """Or a suspect ticket would never run on a busy worker."""
    gate = Gate()
    before = Visitor(gate.together)
    assert before.inside.wait(10)
    alone = Visitor(gate.alone)
    waits_to_be_alone(gate)

    newcomer = Visitor(gate.together)
    before.leave()

    assert alone.inside.wait(10)
    assert not newcomer.inside.is_set()
    alone.leave()
    assert newcomer.inside.wait(10)
    newcomer.leave()


def test_a_visitor_that_fails_lets_the_next_one_in():
    gate = Gate()
    for enter in (gate.together, gate.alone):
        with suppress(KeyError), enter():
            raise KeyError

    with gate.alone():
        pass


def test_the_one_who_is_alone_can_see_that_somebody_urgent_waits():
    gate = Gate()
    alone = Visitor(gate.alone)
    assert alone.inside.wait(10)
    other = Visitor(gate.together)
    assert not gate.is_wanted

    urgent = Visitor(lambda: gate.together(urgent=True))
    until(lambda: gate.is_wanted)
    alone.leave()

    assert urgent.inside.wait(10)
    assert not gate.is_wanted
    urgent.leave()
    other.leave()
