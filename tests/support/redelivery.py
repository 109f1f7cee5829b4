"""Let time pass for a worker's tickets: end the wait of parked ones, or let leases expire."""

from support.jobs import feed


def end_parking(desk):
    """Issue every parked ticket again, as if its delay had passed."""
    _make_due(desk, "parked")


def expire_leases(desk):
    """Issue every leased ticket again, as if its worker had stopped renewing the lease."""
    _make_due(desk, "leased")


def _make_due(desk, place):
    client, key = desk.store._client, f"rmbg:{place}"
    client.zadd(key, dict.fromkeys(client.zrange(key, 0, -1), 0))
    desk.published += feed(desk.store)
