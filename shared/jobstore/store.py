"""The state of all jobs: their items, what has ended, and which worker holds what."""

from typing import Self

from shared.jobstore.api_keys import ApiKeys
from shared.jobstore.connection import ANSWER_S, MOST_CONNECTIONS, Connection
from shared.jobstore.fleet import Fleet
from shared.jobstore.item_events import ItemEvents
from shared.jobstore.leases import Leases
from shared.jobstore.light import LightJobs
from shared.jobstore.queries import Queries
from shared.jobstore.review_queue import ReviewQueue
from shared.jobstore.reviews import Reviews
from shared.jobstore.rules import Rules
from shared.jobstore.submissions import Submissions


class JobStore:
    """The source of truth about jobs, in Redis; a Celery message only points to a ticket here.

    A job's items are split into ranges. Each range is a ticket: it is issued to a queue and
    claimed under a lease, its items are marked as they end, and a shard in the bucket closes it.
    The last range issues the merge ticket, which ends the job. Each step is one script: it happens
    completely or not at all, and repeating it is harmless.

    Every method raises `RedisUnavailable` if Redis cannot be reached and `RedisFull` if it is at
    its memory limit; the methods document other errors. Thread-safe.
    """

    def __init__(self, connection: Connection, *, rules: Rules | None = None) -> None:
        self.rules = rules = rules or Rules()
        self.connection = connection
        self.api_keys = ApiKeys(connection, rules)
        self.fleet = Fleet(connection, rules)
        self.leases = Leases(connection, rules)
        self.submissions = Submissions(connection, rules)
        self.light = LightJobs(connection, rules)
        self.item_events = ItemEvents(connection, rules)
        self.reviews = Reviews(connection, rules)
        self.review_queue = ReviewQueue(connection, rules)
        self.queries = Queries(connection, rules, self.fleet.workers)

    @classmethod
    def connect(
        cls,
        url: str,
        *,
        rules: Rules | None = None,
        answer_s: float = ANSWER_S,
        most: int = MOST_CONNECTIONS,
    ) -> Self:
        """Return a store over the server at *url*; the first call opens the connection.

        See `Connection.connect` for the arguments.
        """
        return cls(Connection.connect(url, answer_s=answer_s, most=most), rules=rules)

    def close(self) -> None:
        """Close the connections; the next call opens new ones."""
        self.connection.client.close()

    def ping(self) -> None:
        """Check that the server replies.

        Raises:
            RedisUnavailable: If not; the message names host, port and database.
        """
        with self.connection.commands() as client:
            client.ping()
