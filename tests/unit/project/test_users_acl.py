"""`deploy/users.acl` loads on every version of Redis that the documentation names."""

from pathlib import Path

ACL = Path(__file__).parents[3] / "deploy" / "users.acl"
CATEGORIES = {
    *("keyspace", "read", "write", "set", "sortedset", "list", "hash", "string", "bitmap"),
    *("hyperloglog", "geo", "stream", "pubsub", "admin", "fast", "slow", "blocking", "dangerous"),
    *("connection", "transaction", "scripting", "all"),
}
"""Of `ACL CAT` in Redis 7.0.15; a server refuses a file with an unknown name."""
COMMANDS = {"info", "time"}
"""Commands named one by one that Redis 7.0.15 knows; newer ones must come by their category."""


def test_every_name_in_the_acl_is_known_to_redis_7_0():
    rules = [rule for line in ACL.read_text().splitlines() for rule in line.split()[2:]]
    named = {rule[1:] for rule in rules if rule[0] in "+-"}

    assert {name[1:] for name in named if name.startswith("@")} <= CATEGORIES
    assert {name for name in named if not name.startswith("@")} <= COMMANDS
