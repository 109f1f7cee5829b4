"""Run every script once on a scratch job, to find rights that the user of Redis lacks.

The scripts run under the key prefix `rmbg:probe:`, so that no worker sees the job, and in one
transaction that ends by deleting its keys, so that nothing is left behind whatever happens.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

import redis

from shared.jobstore import layout, loader
from shared.jobstore.faults import sentence

_PREFIX: Final = "rmbg:probe:"
_JOB: Final = "probe"
_UNIT: Final = "0-1"
_QUEUES: Final = ("rmbg.bulk", "rmbg.recovery")
_CALL: Final = re.compile(r"(?<!p)call\('([A-Z]+)'")
_OF_PYTHON: Final = ("HSET", "PEXPIRE", "HGET", "LRANGE", "SMEMBERS", "HVALS", "INFO", "SET")
"""Commands of the job store outside of scripts; `WAITAOF` is optional."""
_DENIED: Final = """
local denied = {}
for i = 1, #ARGV, 2 do
  local known, allowed = pcall(redis.acl_check_cmd, ARGV[i], ARGV[i + 1], ARGV[i + 1], ARGV[i + 1])
  if known and not allowed then denied[#denied + 1] = ARGV[i] .. ' ' .. ARGV[i + 1] end
end
return denied
"""
_VALUES: Final[Mapping[str, loader.Arg]] = {
    "job": _JOB,
    "given": _JOB,
    "unit": _UNIT,
    "epoch": 1,
    "worker": _JOB,
    "owner": _JOB,
    "total": 1,
    "chunks": 1,
    "unknown": 1,
    **dict.fromkeys(("chunk", "channel"), ""),
    "spec": "{}",
    "added": "{}",
    **dict.fromkeys(("needs", "needs_reason", "features", "tenant", "proposed"), ""),
    "name": _JOB,
    **dict.fromkeys(("most", "every_ms", "count", "weight"), 1),
    "info": '{"slots":1}',
    "record": '{"attempts":0}',
    "queue": _QUEUES[0],
    "empty_queue": _QUEUES[0],
    "nonce": _JOB,
    "key": f"{_PREFIX}numbers",
    "state": "failed",
    "class": "probe",
    "bits": "",
    **dict.fromkeys(("complete", "first", "last"), 1),
    "holder": _JOB,
    "facts": "0;review;,,",
    **dict.fromkeys(("verdict", "check"), ""),
    **dict.fromkeys(("bulk_high_water", "interactive_high_water", "suspect_deaths"), 9),
    **dict.fromkeys(("ttl_ms", "keep_ms", "kept_ms", "bucket_ms", "item_deaths"), 1000),
}
"""Arguments by name; others are 0."""
_MERGE: Final = {"unit": "merge"}
_LIFE: Final[Sequence[tuple[str, Mapping[str, loader.Arg]]]] = (
    ("submit", {}),
    ("register", {}),
    ("feed", {}),
    ("claim", {}),
    ("beat", {}),
    ("trying", {}),
    ("mark", {}),
    ("finish_begin", {}),
    ("finish_commit", {}),
    ("claim", _MERGE),
    ("release", _MERGE | {"died": 1}),
    ("claim", _MERGE | {"epoch": 2}),
    ("merge_commit", _MERGE | {"epoch": 2}),
    ("reopen", {}),
)
"""The life of a job with one item that fails; other scripts follow in any order."""


def denied(client: redis.Redis, needs: Sequence[tuple[str, str]]) -> list[str]:
    """Return those of *needs*, commands with a key each, that the user may not run.

    Raises:
        RedisError: If the user may not run scripts, among others.
    """
    found: Any = client.eval(_DENIED, 0, *(text for need in needs for text in need))
    return [each.decode() for each in found]


def denied_commands(client: redis.Redis) -> list[str]:
    """Return the names of the job store's commands that the user may not run; see `denied`."""
    sources = (loader.load(name).source for name in loader.names())
    used = {name for source in sources for name in _CALL.findall(source)}
    needs = [(name, f"{_PREFIX}job") for name in sorted({*used, *_OF_PYTHON})]
    return [each.split()[0] for each in denied(client, needs)]


def run_scripts(client: redis.Redis) -> list[redis.RedisError]:
    """Run every script once in a transaction that leaves nothing behind; return the errors."""
    with client.pipeline(transaction=False) as pipe:
        scripts = {name: _scratch(name) for name in loader.names()}
        for source in scripts.values():
            pipe.script_load(source)
        loaded = pipe.execute(raise_on_error=False)
        if faults := _errors(loaded):
            return faults
        hashes = dict(zip(scripts, loaded, strict=True))
        # Not redis-py's own transaction: that reports only the first of several errors.
        pipe.execute_command("MULTI")  # type: ignore[no-untyped-call]
        pipe.hset(f"{_PREFIX}staged:{_JOB}", "0", b"\0")
        for name, argv in _calls():
            pipe.evalsha(hashes[name], 0, *argv)
        pipe.delete(*_keys())
        pipe.execute_command("EXEC")  # type: ignore[no-untyped-call]
        *queued, done = pipe.execute(raise_on_error=False)
    return _errors(queued) or _errors(done if isinstance(done, list) else [done])


def _scratch(name: str) -> str:
    """Return the source of a script with its keys under the scratch prefix."""
    return loader.load(name).source.replace("'rmbg:", f"'{_PREFIX}")


def _calls() -> Iterator[tuple[str, list[loader.Arg]]]:
    """Yield script and arguments of each call."""
    others = sorted({*loader.names()} - {name for name, _ in _LIFE})
    for name, changes in (*_LIFE, *((name, {}) for name in others)):
        script, values = loader.load(name), {**_VALUES, **changes}
        row = [values.get(field, 0) for field in script.each]
        arguments = {arg: values.get(arg, 0) for arg in script.args}
        yield name, script.argv(arguments, [row] if row else [])


def _errors(replies: Sequence[object]) -> list[redis.RedisError]:
    """Return the errors among *replies*, those that say the same once."""
    errors = (each for each in replies if isinstance(each, redis.RedisError))
    return list({sentence(each): each for each in errors}.values())


def _keys() -> list[str]:
    """Return every key that the scripts may have written."""
    parts = (
        "ended",
        "failed",
        "manifest",
        "shards",
        "errors",
        "verdicts",
        "attempts",
        "rate",
        *("reviews", "doubtful", "doubts", "looked"),
    )
    units = [(kind, unit) for kind in ("ticket", "records") for unit in (_UNIT, "merge")]
    named: list[tuple[str, ...]] = [(), ("tickets",), *units, *((part,) for part in parts)]
    own = [layout.job(_JOB, *part).replace("rmbg:", _PREFIX, 1) for part in named]
    names = ("jobs", "sequence", "claimed", "leased", "parked", "workers", "worker_infos")
    more = ("unserved", "totals", "longest", "turn", "events", "numbers")
    named_job = (f"staged:{_JOB}", f"requests:{_JOB}", f"looking:{_JOB}")
    kinds = ("feeding", "queued", "turns", "served")
    queues = [f"{kind}:{queue}" for kind in kinds for queue in _QUEUES]
    return own + [_PREFIX + name for name in (*names, *more, *named_job, *queues)]
