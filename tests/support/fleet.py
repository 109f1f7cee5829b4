"""A simulated fleet and broker around the real job store, driven by a random seed.

Messages are lost, duplicated and delivered again much later. Workers die between any two steps,
freeze and resume without their leases, and release tickets. Time passes when the simulation says
so: it changes the times in Redis, so that leases expire and tickets become old.
"""

from __future__ import annotations

import json
import random
from collections import defaultdict
from dataclasses import dataclass, field

from shared.broker.queues import QUEUES, SUSPECT
from shared.jobstore.values import Granted, Lease, MarkAnswer
from support.jobs import done, failed

LONG_S = 3600.0
MINUTE_MS = 61_000


@dataclass
class Held:
    """A ticket that a worker holds, and the items that the worker believes are open."""

    lease: Lease
    queue: str
    left: list[int]


@dataclass
class SimWorker:
    """A simulated worker process; after a death it holds nothing and has a new name."""

    name: str
    held: list[Held] = field(default_factory=list)


class Died(Exception):
    """The simulated worker died."""


class Fleet:
    """Simulated workers, broker and bucket around a job store."""

    def __init__(self, store, client, *, seed, workers=4, bad=(), killers=()):
        self.store, self.client = store, client
        self.random = random.Random(seed)
        self.workers = [SimWorker(f"w{n}") for n in range(workers)]
        self.zombies: list[Held] = []
        self.broker = {queue: [] for queue in QUEUES}
        self.sent = []
        self.bucket = {}
        self.results = defaultdict(dict)
        self.bad, self.killers = set(bad), set(killers)
        self.deaths = 0

    def run(self, *, until, steps=100_000):
        """Run random events until *until()* returns true; fail after *steps* events."""
        events = (
            (self._take, 30),
            (self._work, 60),
            (self._recover, 8),
            (self._freeze, 0.4),
            (self._resume_zombie, 1),
            (self._send_again, 1),
            (self._let_time_pass, 0.3),
        )
        actions, weights = zip(*events, strict=True)
        for _ in range(steps // 10):
            for action in self.random.choices(actions, weights, k=10):
                action()
            if until():
                return
        raise AssertionError(f"not finished after {steps} steps: {self.store.queries.jobs()}")

    # ---- broker

    def _publish(self, issued):
        for one in issued:
            fate = self.random.random()
            copies = 0 if fate < 0.04 else 2 if fate < 0.1 else 1
            self.broker[one.queue] += [one.ticket] * copies
            self.sent.append(one)

    def _recover(self):
        empty = [queue for queue, waiting in self.broker.items() if not waiting]
        self._publish(self.store.fleet.recover(empty_queues=empty))

    def _send_again(self):
        """Deliver a message again that was acknowledged long ago."""
        if self.sent:
            one = self.random.choice(self.sent)
            self.broker[one.queue].append(one.ticket)

    def _let_time_pass(self):
        """Make queued tickets a minute older, and expire leases that no worker renews."""
        renewed = {held.lease.owner for worker in self.workers for held in worker.held}
        for member in self.client.zrange("rmbg:leased", 0, -1):
            job_id, _, unit = member.decode().partition("|")
            owner = self.client.hget(f"rmbg:job:{job_id}:ticket:{unit}", "owner")
            if owner.decode() not in renewed:
                self.client.zadd("rmbg:leased", {member: 0})
        for queue in QUEUES:
            key = f"rmbg:queued:{queue}"
            for member in self.client.zrange(key, 0, -1):
                self.client.zincrby(key, -MINUTE_MS, member)
            if self.client.hexists("rmbg:claimed", queue):
                self.client.hincrby("rmbg:claimed", queue, -MINUTE_MS)

    # ---- workers

    def _take(self):
        worker = self.random.choice(self.workers)
        if len(worker.held) >= 2 or any(held.queue == SUSPECT for held in worker.held):
            return
        queues = [q for q in QUEUES if self.broker[q] and (q != SUSPECT or not worker.held)]
        if not queues:
            return
        ticket = self.broker[queues[0]].pop(0)
        claim = self.store.leases.claim(ticket, worker.name, ttl_s=LONG_S)
        if isinstance(claim, Granted):
            left = [i for i in ticket.span if not claim.is_cancelled and i not in claim.ended]
            worker.held.append(Held(claim.lease, claim.queue, left))

    def _work(self):
        worker = self.random.choice(self.workers)
        if not worker.held:
            return
        held = self.random.choice(worker.held)
        try:
            if not self._step(held):
                worker.held.remove(held)
        except Died:
            self._die(worker)

    def _step(self, held):
        """Do one step of a ticket; return whether the worker still holds it."""
        if held.lease.ticket.is_merge:
            return self._merge(held.lease)
        if held.left and self.random.random() < 0.02:
            delay_s = self.random.choice([0.0, 0.001])
            self._publish(self.store.leases.release(held.lease, delay_s=delay_s))
            return False
        return self._do_items(held) if held.left else self._close(held.lease)

    def _do_items(self, held):
        alone = held.queue == SUSPECT
        group = held.left[: 1 if alone else self.random.randint(1, 8)]
        if alone and not self.store.leases.trying(
            held.lease, group[0], image_key=f"{group[0]}.jpg"
        ):
            return False
        if self.killers & set(group):
            raise Died
        ended = [failed(i) if i in self.bad else done(i) for i in group]
        answer = self.store.leases.mark(held.lease, ended)
        held.left = [] if answer is MarkAnswer.CANCELLED else held.left[len(group) :]
        return answer is not MarkAnswer.LOST

    def _close(self, lease):
        closing = self.store.leases.finish_begin(lease)
        if closing is None:
            return False
        self._may_die()
        self.bucket[lease.ticket] = closing.records
        self._may_die()
        _, issued = self.store.leases.finish_commit(lease)
        self._may_die()
        self._publish(issued)
        return False

    def _merge(self, lease):
        job_id = lease.ticket.job_id
        results = {}
        for unit, epoch in self.store.queries.accepted_shards(job_id):
            [shard] = [
                records
                for ticket, records in self.bucket.items()
                if (ticket.job_id, ticket.unit, ticket.epoch) == (job_id, unit, epoch)
            ]
            results |= {json.loads(record)["index"]: json.loads(record) for record in shard}
        self._may_die()
        if self.store.leases.merge_commit(lease):
            self.results[job_id] = results
        return False

    def _may_die(self):
        if self.random.random() < 0.03:
            raise Died

    def _die(self, worker):
        self.deaths += 1
        for held in worker.held:
            self._end(held.lease)
        worker.held = []
        worker.name = f"{worker.name.partition('/')[0]}/{self.deaths}"

    def _freeze(self):
        """Freeze a worker for longer than its leases; it resumes later without noticing."""
        worker = self.random.choice(self.workers)
        if any(held.queue == SUSPECT for held in worker.held):
            return
        self.zombies += worker.held
        self._die(worker)

    def _resume_zombie(self):
        if self.zombies:
            zombie = self.zombies.pop(self.random.randrange(len(self.zombies)))
            zombie.left = [i for i in zombie.left if i not in self.killers]
            try:
                if self._step(zombie):
                    self.zombies.append(zombie)
            except Died:
                pass

    def _end(self, lease):
        """Expire a lease now."""
        member = f"{lease.ticket.job_id}|{lease.ticket.unit}"
        self.client.zadd("rmbg:leased", {member: 0}, xx=True)
