"""The command line: arguments, printing and exit codes; the work is the library's."""

import importlib
import sys
from collections.abc import Sequence
from typing import Annotated

import typer

from mnistry.cli.console import OutputClosedError, one_line, say, silence, tell
from mnistry.cli.quick import QuickCommand, QuickGroup
from mnistry.errors import DependencyError, MnistryError, StorageError, UsageError
from mnistry.version import __version__

COMMANDS = {
    "data": "data",
    "cache": "data",
    "presets": "look",
    "summary": "look",
    "train": "training",
    "evaluate": "results",
    "predict": "predict",
    "correct": "correct",
    "serve": "serve",
    "export": "results",
    "fit-line": "fit",
    "recipe": "look",
    "demo": "tour",
}
"""Each command, in the order of the help, and the module here that has it."""


def _version(asked: bool) -> None:
    if asked:
        say(f"mnistry {__version__}")
        raise typer.Exit


def _main(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Handwritten digits: get MNIST, look, prepare, train, evaluate, predict.

    \b
    Start with:  mnistry demo
    """


def _app(names: Sequence[str]) -> typer.Typer:
    """The command line with some of its commands: what others import need not be loaded."""
    app = typer.Typer(
        cls=QuickGroup,
        add_completion=False,
        pretty_exceptions_enable=False,
        rich_markup_mode=None,
        context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
        callback=_main,
    )
    for name in names:
        module = importlib.import_module(f"mnistry.cli.{COMMANDS[name]}")
        app.command(cls=QuickCommand)(getattr(module, name.replace("-", "_")))
    return app


def main() -> None:
    """Runs the command line and exits: 0, or the code that the error's kind has."""
    for stream in (sys.stdout, sys.stderr):
        if stream is not None and stream.errors == "strict":  # a name need not be encodable
            stream.reconfigure(errors="replace")  # type: ignore[union-attr]
    sys.exit(run(sys.argv[1:]))


def run(arguments: list[str]) -> int:
    """Runs one command; gives its exit code. An error is one line on the standard error."""
    one = [name for name in arguments[:1] if name in COMMANDS]
    try:
        app = _app(one or list(COMMANDS))
        return app(arguments or ["--help"], prog_name="mnistry", standalone_mode=False) or 0
    except OutputClosedError:
        return 0
    except (typer.Abort, KeyboardInterrupt):
        return 130
    except SystemExit as stopped:
        if isinstance(stopped.__context__, BrokenPipeError):  # typer's, as it printed its help
            silence(sys.stdout)
            return 0
        tell("mnistry: the program in FILE.py exits; expected one that returns a network")
        return UsageError.exit_code
    except Exception as error:
        message, code = _explain(error)
        tell(one_line(f"mnistry: {message}"))
        return code


def _explain(error: Exception) -> tuple[str, int]:
    """What to say about an error, and the exit code."""
    if isinstance(error, MnistryError):
        return str(error), error.exit_code
    if isinstance(error, typer.TyperException):
        command = getattr(getattr(error, "ctx", None), "command_path", "mnistry")
        return f"{_misuse(error)}. See: {command} --help", UsageError.exit_code
    if isinstance(error, ModuleNotFoundError):
        return str(DependencyError.missing(error.name)), DependencyError.exit_code
    if isinstance(error, MemoryError) or "allocate memory" in str(error):
        return "the memory is full; take a smaller network, smaller batches or less data", 1
    if isinstance(error, OSError):
        silence(sys.stdout)  # it may be what is full
        name = error.filename or "the output"
        reason = error.strerror or error
        advice = "expected a place that can be read and written; name another one"
        return f"{name}: {reason}; {advice}", StorageError.exit_code
    frames = [error.__traceback__]
    while frames[-1] and frames[-1].tb_next:
        frames.append(frames[-1].tb_next)
    own = [f for f in frames if f and "mnistry" in f.tb_frame.f_globals.get("__name__", "")]
    place = f" at {own[-1].tb_frame.f_globals['__name__']}:{own[-1].tb_lineno}" if own else ""
    return f"this is a bug in mnistry, please report it: {type(error).__name__}{place}: {error}", 1


def _misuse(error: typer.TyperException) -> str:
    """What typer found wrong with the arguments, in our words: --epochs 0: should be ..."""
    parameter, details = getattr(error, "param", None), getattr(error.__cause__, "errors", None)
    if parameter is not None and details is not None:  # pydantic's, which converts values
        detail = details()[0]
        what = detail["msg"].removeprefix("Value error, ").removeprefix("Input ")
        name = parameter.opts[0] if parameter.opts else parameter.name
        return f"{name} {detail['input']}: {what.partition(', unable')[0].rstrip('.')}"
    message = error.format_message().rstrip(".")
    return message[:1].lower() + message[1:]
