"""Shell completion of the commands, which never disturbs the line that a user is typing."""

import sys
from typing import Any

import click


class QuietCompletion(click.Command):
    """A command that prints nothing and exits with 1 if a completion fails.

    A shell asks for completions by variables such as `_RMBG_COMPLETE`, `COMP_WORDS` and
    `COMP_CWORD`. They may hold anything: half a line, another shell's values, or nothing.
    """

    def _main_shell_completion(self, *args: Any, **kwargs: Any) -> None:  # noqa: ANN401 - click's
        try:
            super()._main_shell_completion(*args, **kwargs)
        except Exception:  # noqa: BLE001 - of click, for variables that it does not expect
            sys.exit(1)
