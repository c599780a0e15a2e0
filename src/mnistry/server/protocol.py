"""HTTP as uvicorn speaks it, with bounds on what comes before a body: how much, and how long."""

import asyncio
from http import HTTPStatus

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from mnistry.server.problems import problem

MOST_BYTES = 65_536
"""Of a request's first line and headers."""
SECONDS = 30.0
"""That they may take to arrive."""

_CHUNK = 65_536  # bytes that are looked at at a time
_LINGER = 1.0  # seconds in which what was refused still comes: a reset would drop the answer


class BoundedHeads(HttpToolsProtocol):
    """A connection whose requests have heads of a bounded size, that come in a bounded time."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Waits for the first request."""
        super().connection_made(transport)
        self._size, self._is_refused = 0, False  # of what is no body
        self._timer: asyncio.TimerHandle | None = None
        self._wait()

    def connection_lost(self, exc: Exception | None) -> None:
        """Waits for nothing any more."""
        self._wait_no_more()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Takes what comes, as long as what is no body is neither too long nor too slow."""
        for start in range(0, len(data), _CHUNK):
            if self._is_refused or self.transport.is_closing():
                return
            part = data[start : start + _CHUNK]
            self._size += len(part)
            self._wait()
            super().data_received(part)
            if not self._size:  # a head is whole, or this was of a body
                self._wait_no_more()
            elif self._size > MOST_BYTES:
                self._refuse(431, f"the headers have over {MOST_BYTES:,} bytes, expected fewer")

    def on_headers_complete(self) -> None:
        """A body may follow."""
        self._size = 0
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        """Bodies are bounded elsewhere; after a body in chunks there may be headers again."""
        self._size = 0
        super().on_body(body)

    def on_message_complete(self) -> None:
        """What comes now is the next head."""
        self._size = 0
        super().on_message_complete()

    def _wait(self) -> None:
        if self._timer is None:
            self._timer = self.loop.call_later(SECONDS, self._come_late)

    def _wait_no_more(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _come_late(self) -> None:
        self._refuse(408, f"the headers took more than {SECONDS:g} seconds; send them faster")

    def _refuse(self, status: int, detail: str) -> None:
        self._is_refused = True
        is_answering = self.cycle is not None and not self.cycle.response_complete
        if is_answering or not self._size:  # this would be taken for another request's answer
            self.transport.close()
            return
        answer = problem(status, detail, {"connection": "close"})
        lines = [f"HTTP/1.1 {status} {HTTPStatus(status).phrase}".encode()]
        lines += [b": ".join(header) for header in answer.raw_headers]
        self.transport.write(b"\r\n".join([*lines, b"", bytes(answer.body)]))
        self.transport.write_eof()
        self.loop.call_later(_LINGER, self.transport.close)
