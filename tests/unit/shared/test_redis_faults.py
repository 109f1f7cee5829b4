"""What errors of Redis mean, and how they are told."""

import pytest
from redis import exceptions

from shared.errors import RedisFull, RedisRefused, RedisUnavailable
from shared.jobstore.faults import fault_of, sentence


@pytest.mark.parametrize(
    ("err", "kind", "advice"),
    [
        (exceptions.OutOfMemoryError("used memory > 'maxmemory'"), RedisFull, "memory limit"),
        (exceptions.ReadOnlyError("read only"), RedisUnavailable, "to the primary"),
        (exceptions.NoPermissionError("no right to 'zadd'"), RedisRefused, "deploy/users.acl"),
        (exceptions.ResponseError("NOPERM x"), RedisRefused, "deploy/users.acl"),
        (
            exceptions.ResponseError("ACL failure in script: User x"),
            RedisRefused,
            "deploy/users.acl",
        ),
        (
            exceptions.ResponseError("The user executing the script can't run this command"),
            RedisRefused,
            "deploy/users.acl",
        ),
        (exceptions.AuthenticationError("WRONGPASS"), RedisRefused, "the password"),
        (exceptions.ResponseError("DB index is out of range"), RedisRefused, "databases n and"),
        (
            exceptions.ResponseError("SELECT is not allowed in cluster mode"),
            RedisRefused,
            "cluster or a Sentinel is not supported",
        ),
        (exceptions.ResponseError("unknown command 'SELECT', with"), RedisRefused, "the primary"),
        (exceptions.BusyLoadingError("loading"), RedisUnavailable, "that Redis is running"),
        (
            exceptions.ConnectionError("No connection available."),
            RedisUnavailable,
            "all connections that this process may open are in use",
        ),
        (exceptions.ConnectionError("refused"), RedisUnavailable, "check RMBG_REDIS_URL"),
        (exceptions.TimeoutError("timeout"), RedisUnavailable, "check RMBG_REDIS_URL"),
        (exceptions.ResponseError("something else"), RedisUnavailable, "something else"),
    ],
)
def test_an_error_becomes_one_sentence_with_what_to_do(err, kind, advice):
    fault = fault_of(err, "Redis at h:1/1")

    assert type(fault) is kind
    assert str(fault).startswith("Redis at h:1/1: ")
    assert advice in str(fault)


def test_the_bytes_of_a_failed_command_are_not_shown():
    raw = "x\x9c\x01 of pipeline caused error: \x00"
    err = exceptions.ReadOnlyError(
        f"Command # 1 (HSET k 0 {raw}) of pipeline caused error: You can't"
    )

    assert sentence(err) == "You can't"
    unknown = exceptions.ResponseError("unknown command 'X', with args beginning with: '\x9c' 'k' ")
    assert sentence(unknown) == "unknown command 'X'"


def test_a_sentence_is_one_printable_line_of_limited_length():
    said = sentence(exceptions.ResponseError("a\n\x1b[31m\udcff" + "b" * 1000))

    assert said.isprintable()
    assert len(said) <= 300
    assert sentence(exceptions.ResponseError()) == "ResponseError"
