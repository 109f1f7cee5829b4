r"""Log as JSON lines, or as plain text on a terminal; secrets are masked.

Messages are constant; variable data is in `extra`, under these names:

=================  ================================================================
`job_id`           the job; `job_ids`: those that share a batch
`ticket`, `epoch`  the ticket's range (`"0-64"`) or `merge`, and its epoch
`index`            an item's index in its job
`image_key`        an item's source key; `output_key`: where its image was written
`bucket`           the bucket of a store error
`worker_id`        the worker process
`queue`            the queue a ticket came from or went to
`stage`            the engine's stage: download, decode, forward, render, upload
`took_s`           seconds from the start of the item in the engine to its end
`cause`            what went wrong; for an item the error's class, with the message in `reason`
`batch_size`       items in a batch
`model`, `source`  the weights that are downloaded, and the kind of source
`done`, `failed`   numbers of items
`*_s`              durations in seconds; `*_bytes`: sizes
=================  ================================================================

Each JSON line begins with `at` (UTC, ISO 8601, milliseconds), `level`, `logger` and `message`;
`traceback` is present if there was an exception. An extra with one of those names is dropped.
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
"""Libraries limited to warnings: they log signed requests or two lines for each message."""
_NO_EXTRAS: Final = frozenset(vars(logging.makeLogRecord({}))) | {
    "asctime",
    "at",
    "level",
    "logger",
    "message",
    "taskName",
    "traceback",
}
"""Names that no extra may have: those of `LogRecord` and of the JSON line."""
_USERINFO: Final = re.compile(r"(://[^\s/:@\"']*):[^\s/\"']*@")
_SIGNED: Final = re.compile(
    r"((?:X-Amz-(?:Signature|Credential|Security-Token)|AWSAccessKeyId|Signature|Credential"
    r"|password)(?:=|%3D))[^\s&,;\"'\\<>]+",
    re.IGNORECASE,
)
_SIGNED_WORDS: Final = ("signature", "credential", "token", "accesskeyid", "password")
"""Every match of `_SIGNED` contains one of these."""
_ESCAPES: Final = re.compile(
    r"\\\\|\\ud[89ab][0-9a-f]{2}\\ud[c-f][0-9a-f]{2}|(\\ud[89a-f][0-9a-f]{2})"
)
"""In JSON: a backslash, a surrogate pair, or (as group 1) a lone surrogate."""
_PLAIN: Final = re.compile(r"[^\s\"'=\x00-\x1f\x7f]+")


def configure(stream: IO[str], *, level: str = "info", json: bool | None = None) -> None:
    """Write the root logger's records to *stream*; a repetition replaces the earlier stream.

    Args:
        stream: Stream to write to.
        level: Lowest level to write: debug, info, warning, error or critical.
        json: Whether to write JSON lines; None: unless *stream* is a terminal.

    Raises:
        InvalidOption: If *level* is unknown.
    """
    if level.lower() not in _LEVELS:
        raise InvalidOption(f"unknown log level {level!r}; use one of {', '.join(_LEVELS)}")
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
    # The pattern takes as long as all other work on a line, and each image logs a line.
    lowered = text.casefold()
    if any(word in lowered for word in _SIGNED_WORDS):
        text = _SIGNED.sub(r"\1***", text)
    return text


class _Handler(logging.StreamHandler[IO[str]]):
    """Handler of `configure`, which replaces only handlers of this class."""


class _JsonFormatter(logging.Formatter):
    """Format a record as one line of ASCII JSON."""

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
    """Format a record as `12:00:01 INFO worker.engine: batch done batch_size=4`."""

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
    """Return a NaN or infinity as text, since JSON has neither."""
    return str(value) if isinstance(value, float) and not math.isfinite(value) else value


def _quoted(value: object) -> str:
    """Quote a value with blanks or newlines, so that it cannot imitate another field or line."""
    text = str(value)
    return text if _PLAIN.fullmatch(text) else jsonlib.dumps(text, ensure_ascii=False)
