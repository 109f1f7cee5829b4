"""The numbers of the job store, in one place; the design's are the defaults."""

from __future__ import annotations

from dataclasses import dataclass

_DAY_S = 24 * 3600.0


@dataclass(frozen=True, kw_only=True)
class Rules:
    """How long, how many, how often. Sections are those of `DESIGN.md`."""

    join_after_end_s: float = 60.0
    """A submission without an id joins its twin for so long after that is done (section 3)."""
    keep_after_end_s: float = 7 * _DAY_S
    """Redis forgets a job so long after its end (section 3)."""
    staged_s: float = 3600.0
    """Staged chunks that no submission takes over vanish after this."""
    numbers_kept_s: float = 30 * _DAY_S
    """A sequence of file numbers is remembered so long after its last use; the bucket's listing
    knows all that has been written by then."""
    memory_share: float = 0.8
    """No job is taken while Redis uses more than this share of its `maxmemory`."""

    lost_after_s: float = 60.0
    """A ticket overtaken by this much, or this old in an empty queue, is lost (section 4.7)."""
    suspect_deaths: int = 2
    """Deaths that send a range to the suspect lane (section 4.8)."""
    item_deaths: int = 3
    """Deaths on one item in the suspect lane that end it as failed (section 4.8)."""
    reissued_at_once: int = 200
    """Tickets of a kind that one call of `recover` takes care of at most."""

    high_water_per_slot: int = 3
    """Queued bulk tickets for each slot of the fleet (section 4.2)."""
    high_water_least: int = 50
    """Queued bulk tickets at least allowed, also without any worker (section 4.2)."""
    interactive_share: float = 0.5
    """High-water mark of interactive tickets, as a share of the bulk one (section 4.10)."""

    ticket_s: float = 25.0
    """What a ticket should take a slot, in seconds: less than a lease (section 4.9)."""
    tickets_per_slot: int = 4
    """Tickets that a job should be cut into for each slot of the fleet (section 4.9)."""
    ticket_items_most: int = 256
    """Items of a ticket at most (section 4.9)."""
    ticket_items_unknown: int = 16
    """Items of a ticket while no worker has measured its rate (section 4.9)."""

    waiting_fresh_s: float = 30.0
    """What a released ticket's job was waiting for is believed for so long."""
    rate_bucket_s: float = 5.0
    """Ends are counted in buckets of so long, from which a job's rate is taken."""
    rate_buckets: int = 12
    """As many buckets as make up the window of the rate, the current one included."""
    totals_kept_s: float = 3.0
    """Sums over all jobs are given again for so long, however many watch."""
    events_kept: int = 10_000
    """About so many events stay readable in the stream."""
