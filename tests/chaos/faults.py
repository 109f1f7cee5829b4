"""What each kind of fault does."""

from __future__ import annotations

import random
import time
from collections import Counter
from collections.abc import Callable
from typing import Final

import redis
from fleet import Fleet
from s3_proxy import Spell, Weather
from scene import LEASE_S, Scene
from schedule import Fault, Kind

from shared.broker.queues import QUEUES

DOWN_S: Final = (0.2, 1.2)
FROZEN_S: Final = (LEASE_S + 1.0, LEASE_S + 3.0)
SPELL_S: Final = 2.0
MESSAGES: Final = 3
"""Removed or doubled at a time, at most."""
_QUEUE_WAIT_S: Final = 3.0


class Faults:
    """Does them, and counts what was really done."""

    def __init__(self, scene: Scene, fleet: Fleet) -> None:
        self._scene = scene
        self._fleet = fleet
        self._spell_ends_s = 0.0
        self.done: Counter[str] = Counter()
        """Faults by kind; of messages and requests, those that met any."""
        self.messages: Counter[str] = Counter()
        """Messages that were removed and doubled."""
        self._kinds: dict[Kind, Callable[[random.Random], object]] = {
            Kind.KILL: fleet.kill,
            Kind.TERMINATE: fleet.terminate,
            Kind.FREEZE: lambda chance: fleet.freeze(chance, chance.uniform(*FROZEN_S)),
            Kind.REDIS_KILL: lambda chance: self._redis_down(chance, cut=False),
            Kind.POWER_LOSS: lambda chance: self._redis_down(chance, cut=True),
            Kind.MESSAGE_REMOVED: self._remove,
            Kind.MESSAGE_DOUBLED: self._double,
            Kind.RESET: lambda _: self._scene.broker.client_kill_filter(_type="normal"),
            Kind.HALF_OPEN: lambda chance: scene.redis_proxy.freeze(lambda: chance.random() < 0.5),
            Kind.STORE_503: lambda chance: self._spell(Weather.REFUSED, 0.9, chance),
            Kind.STORE_STALL: lambda chance: self._spell(Weather.STALLED, 0.3, chance),
            Kind.STORE_REPLY_LOST: lambda chance: self._spell(Weather.REPLY_LOST, 0.3, chance),
        }

    def do(self, fault: Fault) -> None:
        """Do one; those of Redis return when it is up again."""
        self._kinds[fault.kind](random.Random(fault.seed))
        self.done[fault.kind] += 1

    def tick(self) -> None:
        """End a spell whose time is over."""
        if time.monotonic() >= self._spell_ends_s:
            self._scene.s3_proxy.spell = None

    def end(self) -> None:
        """Let nothing more go wrong."""
        self._spell_ends_s = 0.0
        self.tick()

    def _spell(self, weather: Weather, share: float, chance: random.Random) -> None:
        self._scene.s3_proxy.spell = Spell(weather, share, chance)
        self._spell_ends_s = time.monotonic() + SPELL_S

    def _redis_down(self, chance: random.Random, *, cut: bool) -> None:
        server = self._scene.servers.redis
        server.kill()
        if cut:
            self._scene.append_only.cut(chance)
        time.sleep(chance.uniform(*DOWN_S))
        server.start()

    def _remove(self, chance: random.Random) -> None:
        """Take messages from either end of a queue."""
        for _ in range(chance.randint(1, MESSAGES)):
            queue = self._queue_with_messages(chance)
            pop = chance.choice((self._scene.broker.lpop, self._scene.broker.rpop))
            if queue is not None and pop(queue) is not None:
                self.messages["removed"] += 1

    def _double(self, chance: random.Random) -> None:
        """Put copies of messages at the end of their queue."""
        for _ in range(chance.randint(1, MESSAGES)):
            queue = self._queue_with_messages(chance)
            messages = self._scene.broker.lrange(queue, 0, -1) if queue is not None else []
            if queue is not None and messages:
                self._scene.broker.lpush(queue, chance.choice(messages))
                self.messages["doubled"] += 1

    def _queue_with_messages(self, chance: random.Random) -> str | None:
        """Return a queue that is not empty; wait a little for one."""
        deadline_s = time.monotonic() + _QUEUE_WAIT_S
        while time.monotonic() < deadline_s:
            self._fleet.tick()
            try:
                full = [name for name in QUEUES if self._scene.broker.llen(name)]
            except redis.ConnectionError:
                continue  # the reset of an earlier fault
            if full:
                return chance.choice(full)
            time.sleep(0.02)
        return None
