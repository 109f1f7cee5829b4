"""What needs pixels and no queue: tools that `rmbg` starts with one JSON request.

Each is one module with a function that takes the request and returns the exit code, and one line
in `TOOLS`.
"""

import os
from collections.abc import Callable, Mapping
from importlib import import_module
from typing import Final, TypeAlias

Tool: TypeAlias = Callable[[bytes, Mapping[str, str]], int]
"""A request as JSON and the environment to an exit code."""

TOOLS: Final[Mapping[str, str]] = {
    "check": "check:check_files",
    "preview": "preview:preview_image",
    "recheck": "recheck:recheck",
    "remove": "remove:remove_background",
}
"""Module and function of each tool; a tool is imported when it runs."""


def run_tool(name: str, request_fd: int, env: Mapping[str, str]) -> int:
    """Run the tool *name* with the request in the open file *request_fd*; return its exit code."""
    module, _, function = TOOLS[name].partition(":")
    tool: Tool = getattr(import_module(f"{__name__}.{module}"), function)
    with os.fdopen(request_fd, "rb") as file:
        return tool(file.read(), env)
