"""The processes that serve: one, or several that share a socket."""

import gc
import os
import socket
import tempfile
from functools import partial

import uvicorn
from fastapi import FastAPI
from uvicorn.supervisors import Multiprocess

from mnistry.errors import UsageError
from mnistry.server.app import create_app
from mnistry.server.models import Models
from mnistry.server.protocol import BoundedHeads
from mnistry.server.settings import Settings

_BACKLOG = 2048  # connections that wait to be taken
_KEPT_OPEN = 75  # seconds that a connection without requests stays


def listen(host: str, port: int) -> socket.socket:
    """A socket that listens.

    Args:
        host: An address or a name of this machine.
        port: 0 for any that is free.

    Raises:
        UsageError: There is no such address here, or the port is taken.
    """
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        return socket.create_server((host, port), family=family, backlog=_BACKLOG)
    except (OSError, UnicodeError) as error:
        reason: object = error
        if isinstance(error, socket.gaierror):  # its numbers are of another kind
            reason = error.strerror
        elif isinstance(error, OSError) and error.errno:
            reason = os.strerror(error.errno)
        raise UsageError(
            f"{host}, port {port}: cannot be listened at ({reason}); name another --port, or a "
            "--host that is an address of this machine"
        ) from None


def check(settings: Settings) -> None:
    """Tell what is wrong with a reader of one's own before anybody is told that it is served.

    Raises:
        ModelError: It cannot be used.
    """
    if settings.reader is not None:  # the shipped one needs no look, which takes its time
        Models(settings.reader, settings.runs)


def _create_app(settings: Settings) -> FastAPI:
    app = create_app(settings)
    gc.collect()
    gc.freeze()  # what stays for good is not looked at for garbage again and again
    return app


def run(settings: Settings, listening: socket.socket) -> None:
    """Serve until a signal says to stop; what was accepted is answered first."""
    config = uvicorn.Config(
        partial(_create_app, settings),
        factory=True,
        http=BoundedHeads,
        workers=settings.workers,
        log_level="warning",
        access_log=False,
        server_header=False,
        proxy_headers=False,  # whoever asks could say that it is this machine
        timeout_keep_alive=_KEPT_OPEN,
        timeout_graceful_shutdown=round(settings.seconds) + 5,
    )
    if settings.workers == 1:
        uvicorn.Server(config).run([listening])
        return
    with tempfile.TemporaryDirectory(prefix="mnistry-") as folder:
        os.environ["PROMETHEUS_MULTIPROC_DIR"] = folder  # where processes count together
        Multiprocess(config, sockets=[listening]).run()
