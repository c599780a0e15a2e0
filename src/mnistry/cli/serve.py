"""`mnistry serve`: the web page and the HTTP API, on this machine."""

from pathlib import Path
from typing import Annotated
from urllib.parse import quote

import typer

from mnistry.cli.console import ReaderFile, say, tell

_PORT = 8765


def serve(
    host: Annotated[
        str, typer.Option(help="The address to listen at; 0.0.0.0 for all of this machine's.")
    ] = "127.0.0.1",
    port: Annotated[
        int, typer.Option(min=0, max=65535, help="The port; 0 for any that is free.")
    ] = _PORT,
    workers: Annotated[int, typer.Option(min=1, max=64, help="How many processes answer.")] = 1,
    reader: ReaderFile = None,
    runs: Annotated[
        Path, typer.Option(readable=False, metavar="DIR", help="Where trainings are kept.")
    ] = Path("runs"),
    data: Annotated[
        str | None,
        typer.Option(
            help="What to train on, as `mnistry train` takes it; if left out, MNIST where it is on "
            "this machine, else pen."
        ),
    ] = None,
    drawings: Annotated[
        Path,
        typer.Option(
            readable=False, metavar="DIR", help="Where drawings are kept whose digit you told."
        ),
    ] = Path("drawings"),
    token: Annotated[
        str | None,
        typer.Option(metavar="TOKEN", help="What whoever asks has to show, as a bearer token."),
    ] = None,
    allow_training: Annotated[
        bool, typer.Option("--allow-training", help="Other machines may start trainings, too.")
    ] = False,
    name: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME", help="A host name that the server may be called by."),
    ] = None,
    origin: Annotated[
        list[str] | None,
        typer.Option(
            metavar="URL", help="A web page that may use the API, as https://example.org."
        ),
    ] = None,
) -> None:
    """Serve the page to draw on, and the HTTP API.

    Open the address that it prints. Everything stays on this machine: no other host is asked for
    anything, and nothing is stored but the drawings whose right digit you tell. Ctrl-C stops it,
    when what was asked has been answered.

    \b
    mnistry serve
    mnistry serve --host 0.0.0.0 --token SECRET --workers 2
    curl --data-binary @scan.png -H "Content-Type: image/png" http://127.0.0.1:8765/v1/read
    """
    from mnistry.server.process import check, listen, run
    from mnistry.server.settings import Settings, is_this_machine

    settings = Settings(
        reader=None if reader is None else str(reader),
        runs=runs,
        data=data,
        drawings=drawings,
        token=token,
        allow_training=allow_training,
        names=tuple(name or ()),
        origins=tuple(origin or ()),
        workers=workers,
    )
    check(settings)
    with listen(host, port) as listening:
        shown = f"[{host}]" if ":" in host else host
        secret = f"/#token={quote(token)}" if token else ""  # the page takes it from there
        say(f"http://{shown}:{listening.getsockname()[1]}{secret}")
        if token is None and not is_this_machine(host):
            tell(
                "mnistry: whoever reaches this machine can use it; give --token TOKEN to tell who "
                "may"
            )
        run(settings, listening)
