r"""Logging set-up: JSON lines for machines, plain text for a terminal, secrets for nobody.

A message is constant; its facts are in `extra`, under these names:

=================  ================================================================
`job_id`           the job; `job_ids`: those that share a batch
`ticket`, `epoch`  the ticket's range (`"0-64"`) or `merge`, and its issue
`index`            an item's place in its job
`image_key`        an item's source key; `output_key`: where its picture was written
`bucket`           the bucket a store error is about
`worker_id`        the worker process
`queue`            the queue a ticket came from or went to
`stage`            the engine's stage: download, decode, forward, draw, upload
`took_s`           from the entrance of the engine to the item's end
`cause`            what went wrong; of an item the error's class, with its text in `reason`
`batch_size`       items in a batch
`model`, `source`  the weights that are downloaded, and the kind of their source
`done`, `failed`   items that ended well, and not
`*_s`              durations in seconds; `*_bytes`: sizes
=================  ================================================================

Each JSON line begins with `at` (UTC, ISO 8601, milliseconds), `level`, `logger` and `message`;
`traceback` comes with an exception. An extra of one of those names is dropped.
"""

import json as jsonlib
import logging
import math
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import IO, Final

from shared.errors import InvalidOption

_LEVELS: Final = ("debug", "info", "warning", "error", "critical")
_CHATTY: Final = ("boto3", "botocore", "s3transfer", "urllib3", "httpx", "celery", "kombu", "amqp")
"""Libraries that log requests, signatures included, or two lines a message: from warning on."""
_CORE: Final = frozenset({"at", "level", "logger", "message", "traceback"})
_NO_EXTRAS: Final = _CORE | frozenset(vars(logging.makeLogRecord({}))) | {"asctime", "taskName"}
_USERINFO: Final = re.compile(r"(://[^\s/:@\"']*):[^\s/\"']*@")
_SIGNED: Final = re.compile(
    r"((?:X-Amz-(?:Signature|Credential|Security-Token)|AWSAccessKeyId|Signature|Credential"
    r"|password)(?:=|%3D))[^\s&,;\"'\\<>]+",
    re.IGNORECASE,
)
_TELLING: Final = ("signature", "credential", "token", "accesskeyid", "password")
"""Whatever `_SIGNED` finds has one of these in it."""
_ESCAPES: Final = re.compile(
    r"\\\\|\\ud[89ab][0-9a-f]{2}\\ud[c-f][0-9a-f]{2}|(\\ud[89a-f][0-9a-f]{2})"
)
"""In JSON: a backslash, a surrogate pair, or (the group) a lone surrogate."""
_PLAIN: Final = re.compile(r"[^\s\"'=\x00-\x1f\x7f]+")


def configure(stream: IO[str], *, level: str = "info", json: bool | None = None) -> None:
    """Send the root logger's records to *stream*, once: a repetition replaces the last set-up.

    Args:
        stream: Where lines go.
        level: Least level that is written: debug, info, warning, error or critical.
        json: Whether to write JSON lines; None: where *stream* is no terminal.

    Raises:
        InvalidOption: If there is no such level.
    """
    if level.lower() not in _LEVELS:
        raise InvalidOption(f"log level {level!r} is none of {', '.join(_LEVELS)}")
    as_json = not stream.isatty() if json is None else json
    handler = _Handler(stream)
    handler.setFormatter(_JsonFormatter() if as_json else _TextFormatter())
    root = logging.getLogger()
    for earlier in [known for known in root.handlers if isinstance(known, _Handler)]:
        root.removeHandler(earlier)
    root.addHandler(handler)
    root.setLevel(level.upper())
    for name in _CHATTY:
        logging.getLogger(name).setLevel(max(logging.WARNING, root.level))


def mask(text: str) -> str:
    """Return *text* with URL passwords, signatures and credentials replaced by `***`.

    >>> mask("GET http://s3/b/k?X-Amz-Signature=0a1b&x=1 via redis://:pw@host/0")
    'GET http://s3/b/k?X-Amz-Signature=***&x=1 via redis://:***@host/0'
    """
    text = _USERINFO.sub(r"\1:***@", text)
    # A line is written for each image, and this pattern costs as much as all the rest of it.
    lowered = text.casefold()
    if any(word in lowered for word in _TELLING):
        text = _SIGNED.sub(r"\1***", text)
    return text


class _Handler(logging.StreamHandler[IO[str]]):
    """Ours, so that a second `configure` finds it and leaves others' handlers alone."""


class _JsonFormatter(logging.Formatter):
    """One record, one line of ASCII JSON."""

    def format(self, record: logging.LogRecord) -> str:
        """See `logging.Formatter.format`."""
        line: dict[str, object] = {
            "at": _at(record).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        line |= {name: _finite(value) for name, value in _extras(record).items()}
        if record.exc_info:
            line["traceback"] = self.formatException(record.exc_info)
        text = jsonlib.dumps(line, default=str, separators=(",", ":"))
        if "\\ud" in text:  # a key that is not valid Unicode: strict readers refuse such an escape
            text = _ESCAPES.sub(lambda found: f"\\{found[0]}" if found[1] else found[0], text)
        return mask(text)


class _TextFormatter(logging.Formatter):
    """`12:00:01 INFO worker.engine: batch done batch_size=4`, then the traceback if any."""

    def format(self, record: logging.LogRecord) -> str:
        """See `logging.Formatter.format`."""
        at = _at(record).astimezone().strftime("%H:%M:%S")
        facts = [f" {name}={_quoted(value)}" for name, value in _extras(record).items()]
        text = f"{at} {record.levelname} {record.name}: {record.getMessage()}{''.join(facts)}"
        if record.exc_info:
            text += f"\n{self.formatException(record.exc_info)}"
        return mask(text.encode("utf-8", "backslashreplace").decode())


def _at(record: logging.LogRecord) -> datetime:
    return datetime.fromtimestamp(record.created, UTC)


def _extras(record: logging.LogRecord) -> Mapping[str, object]:
    return {name: value for name, value in vars(record).items() if name not in _NO_EXTRAS}


def _finite(value: object) -> object:
    """JSON has no NaN and no infinity, and one of them must not spoil a line."""
    return str(value) if isinstance(value, float) and not math.isfinite(value) else value


def _quoted(value: object) -> str:
    """A key may hold blanks and newlines: quoted, it cannot pass for another field or line."""
    text = str(value)
    return text if _PLAIN.fullmatch(text) else jsonlib.dumps(text, ensure_ascii=False)
