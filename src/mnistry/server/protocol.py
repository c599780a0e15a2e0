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
        self._is_head, self._size, self._is_refused = True, 0, False
        self._timer: asyncio.TimerHandle | None = None
        self._wait()

    def connection_lost(self, exc: Exception | None) -> None:
        """Waits for nothing any more."""
        self._wait_no_more()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Takes what comes, as long as it is a head that is neither too long nor too slow."""
        for start in range(0, len(data), _CHUNK):
            if self._is_refused or self.transport.is_closing():
                return
            part = data[start : start + _CHUNK]
            if self._is_head:
                self._size += len(part)
                self._wait()
            super().data_received(part)
            if not self._size:  # it is whole
                self._wait_no_more()
            elif self._size > MOST_BYTES:
                self._refuse(431, f"the headers have over {MOST_BYTES:,} bytes, expected fewer")

    def on_headers_complete(self) -> None:
        """What comes now is a body."""
        self._is_head, self._size = False, 0
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        """What comes now is the next head."""
        self._is_head, self._size = True, 0
        super().on_message_complete()

    def _wait(self) -> None:
        if self._timer is None:
            self._timer = self.loop.call_later(SECONDS, self._come_late)

    def _wait_no_more(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _come_late(self) -> None:
        if self._size:
            self._refuse(408, f"the headers took more than {SECONDS:g} seconds; send them faster")
        else:
            self.transport.close()

    def _refuse(self, status: int, detail: str) -> None:
        answer = problem(status, detail, {"connection": "close"})
        lines = [f"HTTP/1.1 {status} {HTTPStatus(status).phrase}".encode()]
        lines += [b": ".join(header) for header in answer.raw_headers]
        self.transport.write(b"\r\n".join([*lines, b"", bytes(answer.body)]))
        self.transport.write_eof()
        self._is_refused = True
        self.loop.call_later(_LINGER, self.transport.close)
