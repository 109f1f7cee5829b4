"""Register workers and recover tickets for the whole fleet."""

from collections.abc import Collection

from pydantic import ValidationError

from shared.jobstore.connection import StorePart, to_ms
from shared.jobstore.loader import Arg
from shared.jobstore.rules import Rules
from shared.jobstore.values import Issued, Totals, WorkerInfo


class Fleet(StorePart):
    """The registry of workers, and the recovery and feeding of tickets."""

    def register(self, info: WorkerInfo, *, ttl_s: float) -> None:
        """Register a worker for *ttl_s* seconds; a repetition extends the time."""
        self.connection.run(
            "register", worker=info.worker_id, ttl_ms=to_ms(ttl_s), info=info.model_dump_json()
        )

    def unregister(self, worker_id: str) -> None:
        """Remove a worker; its leases are released or expire on their own."""
        self.connection.run("register", worker=worker_id, ttl_ms=0, info="")

    def workers(self) -> list[WorkerInfo]:
        """Return the registered workers by id, without those whose entry cannot be read.

        A later version may register entries that this one does not read; it must not keep this
        version's workers from feeding the queues.
        """
        read = map(_worker_info, self.connection.run("workers"))
        return [info for info in read if info is not None]

    def totals(self) -> Totals:
        """Return sums over all open jobs and all workers, at most a few seconds old.

        Redis computes them once for all callers, as it reads every open job and ticket.
        """
        return Totals.from_json(
            self.connection.run("totals", kept_ms=to_ms(self.rules.totals_kept_s))
        )

    def take_turn(self, for_s: float) -> bool:
        """Return whether the caller runs the fleet's next round; nobody else does within *for_s*.

        One worker's round serves the whole fleet, and a round costs eight commands. A worker that
        dies during its turn delays the next round by *for_s*.
        """
        return bool(self.connection.run("turn", turn_ms=to_ms(for_s)))

    def recover(self, *, empty_queues: Collection[str]) -> list[Issued]:
        """Do everything that is due for all jobs, and return the tickets to publish.

        Takes tickets from dead workers, issues tickets that are due or lost again, and feeds up to
        the high-water marks. Workers call this every second (`take_turn`), producers after a
        submission or a retry. Any number may do so at once, and any may die half-way.

        Args:
            empty_queues: Names of the queues that hold no message.
        """
        run, rules = self.connection.run, self.rules
        most = rules.reissued_at_once
        issued = run("expire", most=most, **rules.death_limits)
        issued += run(
            "reissue",
            [(queue,) for queue in empty_queues],
            slack_ms=to_ms(rules.lost_after_s),
            most=most,
        )
        issued += run(
            "feed",
            fresh_ms=to_ms(rules.waiting_fresh_s),
            **feeding_limits(self.workers(), rules),
        )
        return Issued.read(issued)


def _worker_info(text: bytes) -> WorkerInfo | None:
    try:
        return WorkerInfo.model_validate_json(text)
    except ValidationError:
        return None


def feeding_limits(workers: Collection[WorkerInfo], rules: Rules) -> dict[str, Arg]:
    """Return the arguments of `feed`: high-water marks and sizes of tickets.

    A ticket holds what a slot processes in `Rules.ticket_s`, unless that would leave slots of the
    fleet without one. The rate of a slot is the mean over the workers that have measured theirs.
    """
    slots = sum(worker.slots for worker in workers)
    high_water = rules.high_water_per_slot * slots
    rates = [(w.images_per_s, w.slots) for w in workers if w.images_per_s is not None]
    measured_slots = sum(slots for _, slots in rates)
    by_rate = 0
    if measured_slots:
        by_rate = max(1, int(rules.ticket_s * (sum(rate for rate, _ in rates) / measured_slots)))
    return {
        "bulk_high_water": max(rules.high_water_least, high_water),
        "interactive_high_water": max(rules.interactive_high_water_least, high_water),
        "by_rate": by_rate,
        "wanted": rules.tickets_per_slot * slots,
        "most": rules.ticket_items_most,
        "unknown": rules.ticket_items_unknown,
    }
