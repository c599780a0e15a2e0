"""What stands before every request: who may ask, how much, how long; and what it is counted as.

A local server is reached by every web page that its user opens. So a request has to name this
server as its host, or another name could be bound to its address (DNS rebinding), and what a page
of another origin sends is refused.
"""

import asyncio
import hmac
import logging
import socket
import time
from urllib.parse import urlsplit

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from mnistry.server.problems import problem
from mnistry.server.settings import Settings, is_address

_log = logging.getLogger("mnistry.server")

_BUG = "this is a bug in mnistry, please report it; the server's log says more"
_OPEN = ("/healthz", "/readyz")  # need no token; nor do the page's own files
_PAGE = ("/", "/docs")
_SAFE = ("GET", "HEAD", "OPTIONS")
_POLICY = (
    b"default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data: blob:; "
    b"connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
_HEADERS = (
    (b"content-security-policy", _POLICY),
    (b"cache-control", b"no-cache"),  # a page of before would ask for what is no longer there
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    (b"cross-origin-opener-policy", b"same-origin"),
    (b"cross-origin-resource-policy", b"same-origin"),
)


def _name_of(host: str) -> str:
    """The name or address in a Host header; "" where it has none."""
    try:
        return urlsplit(f"//{host}").hostname or ""
    except ValueError:
        return ""


class Metrics:
    """What is counted, in Prometheus's form."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.requests = Counter(
            "mnistry_requests", "Requests answered.", ["route", "status"], registry=registry
        )
        self.seconds = Histogram(
            "mnistry_request_seconds",
            "From a request's first byte to its answer.",
            ["route"],
            registry=registry,
            buckets=(0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30),
        )
        self.running = Gauge(
            "mnistry_requests_running",
            "Requests that are being answered.",
            registry=registry,
            multiprocess_mode="livesum",
        )
        self.digits = Counter("mnistry_digits", "Digits read.", registry=registry)


class _Body:
    """How much of a request's body has come."""

    def __init__(self, receive: Receive, settings: Settings) -> None:
        self.receive, self.ends = receive, time.monotonic() + settings.seconds
        self.size, self.is_whole = 0, False


class Guard:
    """ASGI middleware: host, origin, token, size and time of a body, headers, and metrics."""

    def __init__(self, app: ASGIApp, settings: Settings, metrics: Metrics) -> None:
        self._app, self._settings, self._metrics = app, settings, metrics
        self._held = 0  # bytes of the bodies of all requests
        own = socket.gethostname().lower()
        self._names = {"localhost", own, f"{own}.local", *map(str.lower, settings.names)}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on if it may pass."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        started, status, is_answered = time.perf_counter(), 500, False

        async def answer(message: Message) -> None:
            nonlocal status, is_answered
            if message["type"] == "http.response.start":
                status, is_answered = message["status"], True
                given = {name for name, _ in message["headers"]}
                own = [header for header in _HEADERS if header[0] not in given]
                message = {**message, "headers": [*message["headers"], *own]}
            await send(message)

        body = _Body(receive, self._settings)
        self._metrics.running.inc()
        try:
            refusal = self._refusal(scope, Headers(scope=scope))
            if refusal is None:
                if scope["method"] == "HEAD":  # the answer's head alone is sent
                    scope = {**scope, "method": "GET"}
                await self._app(scope, lambda: self._received(body), answer)
            else:
                await problem(*refusal)(scope, receive, answer)
        except ClientDisconnect:
            status = 499  # nobody waits for an answer
        except Exception as error:
            _log.error("%s %s", scope["method"], scope["path"], exc_info=error)
            if is_answered:
                raise
            await problem(500, _BUG)(scope, receive, answer)
        finally:
            self._metrics.running.dec()
            self._held -= body.size
            route = getattr(scope.get("route"), "path", "none")
            self._metrics.requests.labels(route, status).inc()
            self._metrics.seconds.labels(route).observe(time.perf_counter() - started)

    def _refusal(self, scope: Scope, headers: Headers) -> tuple[int, str, dict[str, str]] | None:
        """Why a request may not pass: a status, what to do, and headers."""
        if len(headers.getlist("host")) > 1:
            return 400, "has several Host headers, expected one", {}
        host = _name_of(headers.get("host", ""))
        if not is_address(host) and host not in self._names:
            named = f"the host is {host!r:.80}, expected this server's own name"
            return 421, f"{named}; start it with --name {host or 'NAME'} if that is one", {}
        origin = headers.get("origin")
        if origin is not None and scope["method"] not in _SAFE:
            own = headers.get("host", "")  # by whatever scheme: a proxy may have added TLS
            if origin.partition("://")[2] != own and origin not in self._settings.origins:
                told = f"comes from {origin:.80}, expected {own}: another page may not use this one"
                may = f"; start the server with --origin {origin:.80} if it may"
                return 403, told + (may if origin != "null" else ""), {}
        path = scope["path"]
        is_page = path in _PAGE or path.startswith("/static/")
        is_foreign = headers.get("sec-fetch-site") == "cross-site"  # a link to the page may be
        if is_foreign and not is_page and origin not in self._settings.origins:
            return 403, "comes from another web site, expected this server's own page", {}
        if self._settings.token is not None and not is_page and path not in _OPEN:
            scheme, _, given = headers.get("authorization", "").partition(" ")
            token = given.strip().encode() if scheme.lower() == "bearer" else b""
            if not hmac.compare_digest(token, self._settings.token.encode()):
                return (
                    401,
                    "the token is missing or wrong; send it as Authorization: Bearer TOKEN",
                    {"www-authenticate": "Bearer"},
                )
        length = headers.get("content-length", "")
        if length.isdigit() and int(length) > self._settings.max_bytes:
            return 413, self._too_long(f"{int(length):,}"), {"connection": "close"}
        return None

    async def _received(self, body: "_Body") -> Message:
        """The next part of a body, as long as it is neither too long nor too slow."""
        if body.is_whole:  # what comes now is that the client goes, at any time
            return await body.receive()
        try:
            async with asyncio.timeout(body.ends - time.monotonic()):
                message = await body.receive()
        except TimeoutError:
            raise HTTPException(
                408,
                f"the body took more than {self._settings.seconds:g} seconds; send it faster",
                {"connection": "close"},
            ) from None
        part = len(message.get("body", b""))
        body.size += part
        self._held += part
        body.is_whole = not message.get("more_body", False)
        if body.size > self._settings.max_bytes:
            raise HTTPException(
                413,
                self._too_long(f"over {self._settings.max_bytes:,}"),
                {"connection": "close"},
            )
        if self._held > self._settings.max_bodies:
            raise HTTPException(
                503,
                "the bodies that are being sent are all that this server takes; ask again in a "
                "second",
                {"retry-after": "1", "connection": "close"},
            )
        return message

    def _too_long(self, found: str) -> str:
        most = self._settings.max_bytes
        return f"the body has {found} bytes, expected {most:,} at most; scale the image down"
