"""Redis rights that the broker needs: the commands of kombu's transport and their keys."""

from typing import Final

from shared.broker.queues import BULK, QUEUES

_BINDING: Final = f"_kombu.binding.{BULK}"
BROKER_NEEDS: Final = (
    *((command, queue) for queue in QUEUES for command in ("LPUSH", "BRPOP", "RPOP", "LLEN")),
    ("RPUSH", BULK),
    *((command, "unacked") for command in ("HSET", "HGET", "HDEL", "WATCH")),
    *((command, "unacked_index") for command in ("ZADD", "ZREM", "ZREVRANGEBYSCORE")),
    *((command, "unacked_mutex") for command in ("SET", "GET", "DEL")),
    *((command, _BINDING) for command in ("SADD", "SREM", "SMEMBERS", "EXISTS")),
    ("SET", "rmbg:room"),
    *((command, BULK) for command in ("MULTI", "EXEC", "PING", "INFO")),
)
"""Command and key of each; commands without a key have any."""
