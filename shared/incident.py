"""Turn an unforeseen error into one line for the user, and save its traceback to a file."""

import os
import secrets
import tempfile
import traceback
from pathlib import Path
from typing import Final

from shared.logging import mask

EXIT_UNFORESEEN: Final = 70
"""Exit code of a command that ended by an unforeseen error."""
_MESSAGE_CHARS: Final = 200


def record(err: BaseException) -> str:
    """Save the traceback of *err* and return one line with the incident's ID and the file.

    The file is in the folder for temporary files (`TMPDIR`) and readable by its owner only.
    Passwords and signatures in URLs are masked in both.
    """
    incident = secrets.token_hex(4)
    reason = " ".join(mask(f"{type(err).__name__}: {err}").split())[:_MESSAGE_CHARS]
    try:
        path = _save(err, f"rmbg-incident-{incident}.txt")
    except OSError as failure:
        where = (
            f"its traceback could not be saved ({failure.strerror or failure}); set TMPDIR to a "
            "writable folder and repeat the command"
        )
    else:
        where = f"its traceback is in {path}; report the error with this file"
    return f"unforeseen error, incident {incident}: {reason}; {where}"


def _save(err: BaseException, name: str) -> Path:
    path = Path(tempfile.gettempdir(), name)
    text = mask("".join(traceback.format_exception(err)))
    descriptor = os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8", errors="backslashreplace") as file:
        file.write(text)
    return path
