"""Limits and intervals of the job store."""

from dataclasses import dataclass

from shared.job.manifest import MAX_REDIS_KEYS

_DAY_S = 24 * 3600.0


@dataclass(frozen=True, kw_only=True)
class Rules:
    """Limits and intervals of the job store."""

    join_after_end_s: float = 60.0
    """How long after a job is done an identical submission without an id joins it."""
    keep_after_end_s: float = 7 * _DAY_S
    """How long Redis keeps a job after its end."""
    staged_s: float = 3600.0
    """How long staged chunks are kept without a submission."""
    numbers_kept_s: float = 30 * _DAY_S
    """How long Redis keeps a sequence of file numbers after its last use; later the listing of the
    bucket shows all numbers in use."""
    keys_in_redis: int = MAX_REDIS_KEYS
    """Most keys of a job's manifest in Redis; the others are in the bucket."""
    memory_share: float = 0.8
    """Share of `maxmemory` above which Redis accepts no job."""

    allow_eviction: bool = False
    """Whether a Redis that may delete open jobs at its limit is accepted."""

    lost_after_s: float = 60.0
    """A ticket is lost when overtaken by this much, or when this old in an empty queue."""
    suspect_deaths: int = 2
    """Deaths of workers that send a range to the suspect queue."""
    item_deaths: int = 3
    """Deaths on one item in the suspect queue that fail it."""
    reissued_at_once: int = 200
    """Most tickets of each kind that one call of `recover` issues again."""

    high_water_per_slot: int = 3
    """Queued tickets of a kind per slot of the fleet."""
    high_water_least: int = 50
    """Least high-water mark of bulk tickets, also without workers."""
    interactive_high_water_least: int = 256
    """Least high-water mark of interactive tickets: many of them hold a single image."""

    ticket_s: float = 25.0
    """Seconds of work for a slot in one ticket: less than a lease."""
    tickets_per_slot: int = 4
    """Tickets per slot of the fleet that a job is split into."""
    ticket_items_most: int = 256
    """Most items of a ticket."""
    ticket_items_unknown: int = 16
    """Items of a ticket while no worker has measured its rate."""

    waiting_fresh_s: float = 30.0
    """How long a status shows what a released ticket's job waits for."""
    rate_bucket_s: float = 5.0
    """Length of the buckets in which ended items are counted for a job's rate."""
    rate_buckets: int = 12
    """Buckets in the window of the rate, including the current one."""
    totals_kept_s: float = 3.0
    """How long sums over all jobs are reused, however many clients ask."""
    events_kept: int = 10_000
    """Approximate number of events kept in the stream."""

    @property
    def death_limits(self) -> dict[str, int]:
        """The arguments by which scripts judge the death of a worker."""
        return {"suspect_deaths": self.suspect_deaths, "item_deaths": self.item_deaths}
