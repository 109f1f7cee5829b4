"""What needs pixels and no queue: tools that `rmbg` starts with one JSON request.

Each is one module with a function that takes the request and returns the exit code, and one line
in `TOOLS`.
"""

import os
from collections.abc import Callable, Mapping
from typing import Final, TypeAlias

from worker.tools.check import check_files
from worker.tools.preview import preview_image

Tool: TypeAlias = Callable[[bytes, Mapping[str, str]], int]
"""A request as JSON and the environment to an exit code."""

TOOLS: Final[Mapping[str, Tool]] = {"check": check_files, "preview": preview_image}


def run_tool(name: str, request_fd: int, env: Mapping[str, str]) -> int:
    """Run the tool *name* with the request in the open file *request_fd*; return its exit code."""
    with os.fdopen(request_fd, "rb") as file:
        return TOOLS[name](file.read(), env)
