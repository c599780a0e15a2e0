"""What a server is told when it starts, and its limits."""

import ipaddress
from dataclasses import dataclass
from pathlib import Path

from mnistry.errors import UsageError


@dataclass(frozen=True)
class Settings:
    """What a server is told when it starts.

    Attributes:
        reader: An ONNX file that `mnistry export` wrote; None for the one that comes with Mnistry.
        runs: The folder that trainings are kept in.
        data: What is trained on, as `load_dataset` takes it; if None, MNIST where it is on this
            machine, else pen.
        drawings: The folder that drawings are kept in whose label was told.
        token: What programs and the page have to show, as bearer authentication; nothing if None.
        allow_training: Whether machines other than this one may start and stop trainings.
        names: Host names that it may be called by, besides addresses and this machine's own.
        origins: Other web pages that may use the API ("https://example.org"), by CORS.
        workers: Processes that answer; the cores are shared between them to read images.
        max_bytes: Of a request's body.
        max_bodies: Bytes of all bodies that are being sent or read, in each process.
        max_pages: Of an image.
        max_waiting: Requests that are worked on or wait for it, in each process; more are refused.
        seconds: That a body may take to arrive, and that an answer may take.

    Raises:
        UsageError: A value is out of range.
    """

    reader: str | None = None
    runs: Path = Path("runs")
    data: str | None = None
    drawings: Path = Path("drawings")
    token: str | None = None
    allow_training: bool = False
    names: tuple[str, ...] = ()
    origins: tuple[str, ...] = ()
    workers: int = 1
    max_bytes: int = 20_000_000
    max_bodies: int = 400_000_000
    max_pages: int = 20
    max_waiting: int = 128
    seconds: float = 30.0

    def __post_init__(self) -> None:
        for name in ("workers", "max_bytes", "max_bodies", "max_pages", "max_waiting", "seconds"):
            value = getattr(self, name)
            if not value > 0:
                raise UsageError(f"{name}: is {value}, expected more than 0")
        if self.token is not None and not (self.token.isascii() and self.token.isprintable()):
            raise UsageError("token: has characters that a header cannot hold; use letters, digits")
        if self.token is not None and (not self.token or self.token != self.token.strip()):
            raise UsageError("token: is empty or has spaces around it; give letters and digits")
        for origin in self.origins:
            if not origin.startswith(("http://", "https://")) or origin.count("/") != 2:
                raise UsageError(f"origin: is {origin!r}, expected one as https://example.org")


def is_address(host: str) -> bool:
    """Whether a host is an IP address and no name."""
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


def is_this_machine(host: str) -> bool:
    """Whether a host is an address or the name of this machine alone, as 127.0.0.1."""
    return host == "localhost" or (is_address(host) and ipaddress.ip_address(host).is_loopback)
