"""The workers that are there, and the recovery that each of them does for all."""

from __future__ import annotations

from collections.abc import Collection

from shared.jobstore.connection import Connection, death_limits, issued_from, to_ms
from shared.jobstore.loader import Arg
from shared.jobstore.rules import Rules
from shared.jobstore.values import Issued, Totals, WorkerInfo


class Fleet(Connection):
    """The registry of workers, and what keeps tickets flowing to them."""

    def register(self, info: WorkerInfo, *, ttl_s: float) -> None:
        """Note that a worker is there for *ttl_s*; it says so again before that ends."""
        self._run("register", worker=info.worker_id, ttl_ms=to_ms(ttl_s), info=info.to_json())

    def unregister(self, worker_id: str) -> None:
        """Sign a worker off; its leases are released or expire by themselves."""
        self._run("register", worker=worker_id, ttl_ms=0, info="")

    def workers(self) -> list[WorkerInfo]:
        """Return the workers that are there, by id."""
        return [WorkerInfo.from_json(info) for info in self._run("workers")]

    def totals(self) -> Totals:
        """Return sums over all open jobs and all workers, a few seconds old at most.

        Redis counts once for all who ask: each time it looks at every open job and ticket.
        """
        return Totals.from_json(self._run("totals", kept_ms=to_ms(self._rules.totals_kept_s)))

    def take_turn(self, for_s: float) -> bool:
        """Return whether the fleet's next round is the caller's; nobody else gets one in *for_s*.

        One worker's round serves all, and each costs eight commands. Who dies in his turn delays
        the next one by that time.
        """
        return bool(self._run("turn", turn_ms=to_ms(for_s)))

    def recover(self, *, empty_queues: Collection[str]) -> list[Issued]:
        """Do what is due for all jobs, and return the tickets to publish.

        Takes tickets from dead workers, issues again what rested long enough or was lost, and
        feeds up to the high-water marks. A worker calls this each second (`take_turn`); producers
        too, after they have submitted or retried. Any number may at once, and any may die half-way.

        Args:
            empty_queues: Names of those queues that hold no message.
        """
        rules = self._rules
        most = rules.reissued_at_once
        issued = self._run("expire", most=most, **death_limits(rules))
        slack_ms = to_ms(rules.lost_after_s)
        issued += self._run(
            "reissue", [(queue,) for queue in empty_queues], slack_ms=slack_ms, most=most
        )
        issued += self._run("feed", **feeding_figures(self.workers(), rules))
        return issued_from(issued)


def feeding_figures(workers: Collection[WorkerInfo], rules: Rules) -> dict[str, Arg]:
    """Return the arguments of `feed`: high-water marks and sizes of tickets.

    A ticket is as long as a slot needs `Rules.ticket_s` for, unless that would leave slots of
    the fleet without one. The rate of a slot is the fleet's mean, over workers that know theirs.
    """
    slots = sum(worker.slots for worker in workers)
    high_water = max(rules.high_water_least, rules.high_water_per_slot * slots)
    rates = [(w.images_per_s, w.slots) for w in workers if w.images_per_s is not None]
    measured_slots = sum(slots for _, slots in rates)
    by_rate = 0
    if measured_slots:
        slot_images_per_s = sum(rate for rate, _ in rates) / measured_slots
        by_rate = max(1, int(rules.ticket_s * slot_images_per_s))
    return {
        "bulk_high_water": high_water,
        "interactive_high_water": int(high_water * rules.interactive_share),
        "by_rate": by_rate,
        "wanted": rules.tickets_per_slot * slots,
        "most": rules.ticket_items_most,
        "unknown": rules.ticket_items_unknown,
    }
