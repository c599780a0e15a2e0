"""The command line: arguments, printing and exit codes; the work is the library's."""

import sys
from typing import Annotated

import typer

from mnistry.cli import data, fit, look, training
from mnistry.cli.console import say, tell
from mnistry.errors import MnistryError
from mnistry.version import __version__

app = typer.Typer(
    add_completion=False,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
for command in (
    data.data,
    data.cache,
    look.presets,
    look.summary,
    training.train,
    training.evaluate,
    training.predict,
    fit.fit_line,
    look.recipe,
    training.demo,
):
    app.command()(command)


def _version(asked: bool) -> None:
    if asked:
        say(f"mnistry {__version__}")
        raise typer.Exit


@app.callback()
def _main(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Handwritten digits: get MNIST, look, prepare, train, evaluate, predict.

    \b
    Start with:  mnistry demo
    """


def main() -> None:
    """Runs the command line and exits: 0, or the code that the error's kind has."""
    sys.exit(run(sys.argv[1:]))


def run(arguments: list[str]) -> int:
    """Runs one command; gives its exit code. An error is one line on the standard error."""
    try:
        return app(arguments, prog_name="mnistry", standalone_mode=False) or 0
    except MnistryError as error:
        tell(f"mnistry: {error}")
        return error.exit_code
    except typer.TyperException as error:
        tell(f"mnistry: {error.format_message()} See: mnistry --help")
        return 2
    except (typer.Abort, KeyboardInterrupt):
        return 130
    except BrokenPipeError:  # whoever read the output has gone, as `head` does
        sys.stdout = None  # or its flush at exit would complain
        return 0
    except MemoryError:
        tell("mnistry: the memory is full; close other programs, or take smaller batches or data")
        return 1
