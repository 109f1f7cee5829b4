"""Replace `rmbg` by a tool of `rmbg-worker`, which has the image libraries."""

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import IO, Final, NoReturn, cast

from shared.errors import ConfigError
from shared.tool_requests import CheckRequest, PreviewRequest, RecheckRequest, RemoveRequest

_WORKER: Final = "rmbg-worker"


def become_tool(
    request: CheckRequest | PreviewRequest | RemoveRequest, env: Mapping[str, str] | None = None
) -> NoReturn:
    """Replace this process by a tool of the worker, which reads *request* from a file.

    Args:
        request: What the tool is to do.
        env: Environment of the tool; None: that of this process.

    Raises:
        ConfigError: If the command of the worker is not installed.
    """
    command = worker_command()
    with tempfile.TemporaryFile() as file:
        file.write(request.model_dump_json().encode())
        file.seek(0)
        os.set_inheritable(file.fileno(), True)  # noqa: FBT003 - positional only
        sys.stdout.flush()
        arguments = [command, "tool", request.tool, str(file.fileno())]
        if env is None:
            os.execv(command, arguments)  # noqa: S606 - ours
        os.execve(command, arguments, dict(env))  # noqa: S606 - ours


def pipe_through_tool(request: RecheckRequest, lines: Iterable[str], env: Mapping[str, str]) -> int:
    """Send *lines* to a tool of the worker, which prints its answers; return its exit code.

    Raises:
        ConfigError: If the command of the worker is not installed.
    """
    command = worker_command()
    with tempfile.TemporaryFile() as file:
        file.write(request.model_dump_json().encode())
        file.seek(0)
        descriptor = file.fileno()
        sys.stdout.flush()
        with subprocess.Popen(  # noqa: S603 - ours
            [command, "tool", request.tool, str(descriptor)],
            stdin=subprocess.PIPE,
            pass_fds=(descriptor,),
            env=dict(env),
        ) as tool:
            _feed(cast("IO[bytes]", tool.stdin), lines)
        return tool.returncode


def _feed(stream: IO[bytes], lines: Iterable[str]) -> None:
    """Write *lines*, unless the reader has ended."""
    with suppress(BrokenPipeError), stream:
        stream.writelines(f"{line}\n".encode() for line in lines)


def worker_command() -> str:
    """Return the path of the command of the worker.

    Raises:
        ConfigError: If it is not installed.
    """
    beside = Path(sys.executable).with_name(_WORKER)
    command = str(beside) if beside.exists() else shutil.which(_WORKER)
    if command is None:
        raise ConfigError(f"{_WORKER} is not installed: pip install 'rmbg-queue[worker]'")
    return command
