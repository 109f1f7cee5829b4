"""Translate the exceptions of redis-py into this project's errors, by one table."""

import re
from dataclasses import dataclass
from typing import Final

import redis
from redis import exceptions

from shared.errors import RedisFull, RedisRefused, RedisUnavailable, ServiceUnavailable

REPLICA: Final = "it is a read-only replica; set RMBG_REDIS_URL to the primary"
_ANNOTATION: Final = "of pipeline caused error: "
"""redis-py puts the failed command before this, with all of its bytes."""
_ARGUMENTS: Final = ", with args beginning with"
"""Redis quotes the arguments of an unknown command after this."""
_SENTENCE_CHARS: Final = 300


@dataclass(frozen=True)
class _Meaning:
    """What a group of errors means."""

    errors: tuple[type[Exception], ...]
    words: str
    """Regular expression; an error of another class that says this means the same."""
    fault: type[ServiceUnavailable]
    text: str
    """`{said}` stands for the server's own words."""


_TABLE: Final = (
    _Meaning(
        (exceptions.OutOfMemoryError,), r"^OOM\b", RedisFull, "it is at its memory limit: {said}"
    ),
    _Meaning((exceptions.ReadOnlyError,), r"^READONLY\b", RedisUnavailable, REPLICA + " ({said})"),
    _Meaning(
        (exceptions.NoPermissionError,),
        r"^NOPERM\b|no permissions?\b|ACL failure|user executing the script",
        RedisRefused,
        "the user in RMBG_REDIS_URL lacks a right; grant what deploy/users.acl grants, "
        "`rmbg doctor` names the missing commands ({said})",
    ),
    _Meaning(
        (exceptions.AuthenticationError, exceptions.AuthenticationWrongNumberOfArgsError),
        r"^(NOAUTH|WRONGPASS)\b",
        RedisRefused,
        "{said}; check the user and the password in RMBG_REDIS_URL",
    ),
    _Meaning(
        (),
        r"(?i)not allowed in cluster mode|unknown command '?(select|eval|evalsha)\b",
        RedisRefused,
        "a cluster or a Sentinel is not supported; set RMBG_REDIS_URL to a single Redis server, "
        "the primary ({said})",
    ),
    _Meaning(
        (),
        r"DB index is out of range",
        RedisRefused,
        "the server lacks this database ({said}); RMBG_REDIS_URL with /n needs databases n and "
        "n + 1: choose a lower n or raise `databases` in redis.conf; no Redis Cluster",
    ),
    _Meaning(
        (),
        r"^No connection available",
        RedisUnavailable,
        "all connections that this process may open are in use, because Redis answers slowly or "
        "not at all; try again later",
    ),
    _Meaning(
        (exceptions.ConnectionError, exceptions.TimeoutError),
        r"^LOADING\b|^MASTERDOWN\b",
        RedisUnavailable,
        "{said}; check RMBG_REDIS_URL and that Redis is running",
    ),
    _Meaning((Exception,), "", RedisUnavailable, "{said}"),
)
"""The first row that fits counts; the last one always does."""


def sentence(err: BaseException) -> str:
    """Return the server's own words in one line, without the command and its bytes."""
    words = str(err).rpartition(_ANNOTATION)[2].partition(_ARGUMENTS)[0]
    line = " ".join(words.split()).encode("ascii", "backslashreplace").decode()
    line = "".join(c for c in line if c.isprintable())[:_SENTENCE_CHARS]
    return line.rstrip(".") or type(err).__name__


def fault_of(err: redis.RedisError, where: str) -> ServiceUnavailable:
    """Return the error to raise for *err*.

    Args:
        err: Error of redis-py.
        where: The server's address for the message, without its password.
    """
    said = sentence(err)
    meaning = next(
        row for row in _TABLE if isinstance(err, row.errors) or re.search(row.words, said)
    )
    return meaning.fault(f"{where}: {meaning.text.format(said=said)}")
