"""Writes docs/cli.md from what each command's --help says: python docs/make_cli.py."""

import contextlib
import io
import os
from pathlib import Path
from unittest import mock

from mnistry.cli import COMMANDS, run

PAGE = Path(__file__).with_name("cli.md")
WIDTH = 88

_HEAD = """\
# The command line

What each command's `--help` says. This page is generated: `python docs/make_cli.py` writes it, and
a test fails where it is out of date.

Results go to the standard output; progress, notices and errors to the standard error. With `--json`
the standard output holds JSON and nothing else. An error is one line, and the exit code says its
kind:

| code | what happened |
|---|---|
| 0 | all is well |
| 1 | the memory is full, or a bug |
| 2 | an argument is wrong |
| 3 | a data set, image or table cannot be used |
| 4 | a run, its weights or its network cannot be used |
| 5 | no way to a download |
| 6 | an optional package is not installed |
| 7 | a file cannot be written |
| 130 | stopped by Ctrl-C |
"""


def help_of(*command: str) -> str:
    """What a command's --help prints, in lines of at most `WIDTH` characters."""
    out = io.StringIO()
    environment = {"COLUMNS": str(WIDTH + 2)}  # the two that are left free on the right
    with mock.patch.dict(os.environ, environment), contextlib.redirect_stdout(out):
        run([*command, "--help"])
    return "\n".join(line.rstrip() for line in out.getvalue().strip().splitlines())


def page() -> str:
    """The whole page."""
    parts = [_HEAD, f"## mnistry\n\n```text\n{help_of()}\n```\n"]
    parts += [f"## mnistry {name}\n\n```text\n{help_of(name)}\n```\n" for name in COMMANDS]
    return "\n".join(parts)


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
