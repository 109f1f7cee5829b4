"""Let time pass for the tickets of a worker: end the wait of parked ones, or let leases expire."""

from support.jobs import feed


def end_parking(consumer):
    """Issue every parked ticket again, as if its delay had passed."""
    _make_due(consumer, "parked")


def expire_leases(consumer):
    """Issue every leased ticket again, as if its worker had stopped renewing the lease."""
    _make_due(consumer, "leased")


def _make_due(consumer, place):
    client, key = consumer.store.connection.client, f"rmbg:{place}"
    client.zadd(key, dict.fromkeys(client.zrange(key, 0, -1), 0))
    consumer.published += feed(consumer.store)
