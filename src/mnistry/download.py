"""One file over HTTP from whichever mirror is alive, never waiting long for one that is not.

Import it where it is used: pooch and requests, which it needs, take a quarter of a second.
"""

import io
import queue
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import BinaryIO

import pooch  # type: ignore[import-untyped]
import requests

from mnistry.errors import NetworkError

REACH_SECONDS = 4.0
"""All mirrors together have this long to send a first byte, not counting what they then deliver."""

SILENCE_SECONDS = 4.0
"""A mirror that sends nothing for this long in the middle of a file is given up."""

_HEAD_START_SECONDS = 1.0
_CHUNK = 1 << 14

Report = Callable[[float], object]
"""Is called with the share of a file that has arrived, 0..1."""


def download(url: str, path: Path, limit: int, report: Report) -> None:
    """Fetch a file, as slowly as it may come.

    Args:
        url: its address, http or https; the environment's proxies are honoured.
        path: where to write it; a failure leaves a part of it there.
        limit: the most bytes to accept.
        report: is told how far it is.

    Raises:
        NetworkError: the server refuses, breaks off, is silent for `SILENCE_SECONDS` or sends more
            than `limit`. The message does not name the address.
        OSError: `path` cannot be written.
    """
    with path.open("wb") as file:
        _get(url, file, _Meter(limit, report))


def in_turn(mirrors: Mapping[str, str], problems: list[str]) -> Iterator[str]:
    """Go through the mirrors that answer, in their order but for those that keep us waiting.

    A mirror is asked for a first byte in a thread of its own, so that nothing can hold us up, not
    even a name server. The next one is asked when this one has failed, when the caller comes back
    for more, or after a second; all have `REACH_SECONDS` together, not counting the caller's time.

    Args:
        mirrors: the address to ask for, by the mirror's name.
        problems: is given one line for each mirror that failed.

    Yields:
        A mirror whose first byte has come.
    """
    answers: queue.SimpleQueue[tuple[str, str]] = queue.SimpleQueue()
    waiting, asked, patience = list(mirrors), set[str](), REACH_SECONDS
    while (waiting or asked) and patience > 0:
        if waiting:
            asked.add(mirror := waiting.pop(0))
            threading.Thread(
                target=_ask, args=(mirror, mirrors[mirror], answers), daemon=True
            ).start()
        started = time.monotonic()
        try:
            mirror, problem = answers.get(
                timeout=min(patience, _HEAD_START_SECONDS) if waiting else patience
            )
        except queue.Empty:
            continue
        finally:
            patience -= time.monotonic() - started
        asked.discard(mirror)
        if problem:
            problems.append(f"{mirror}: {problem}")
        else:
            yield mirror
    problems += [f"{mirror}: does not answer" for mirror in mirrors if mirror in {*asked, *waiting}]


class _FirstByteError(Exception):
    """Stops a download that has proved to be possible."""


class _Meter:
    """What pooch takes for a progress bar: it reports, and stops a file that is too long."""

    def __init__(self, limit: int, report: Report) -> None:
        self.total = 0  # set by pooch
        self._limit, self._report, self._done = limit, report, 0

    def update(self, count: int) -> None:
        self._done += count
        if self._done > self._limit + _CHUNK:  # pooch rounds up to whole chunks
            raise NetworkError(f"sends more than {self._limit} bytes")
        self._report(min(self._done / self.total, 1.0) if self.total else 0.0)

    def reset(self) -> None:
        self._done = 0

    def close(self) -> None:
        self._report(1.0)


def _ask(mirror: str, url: str, answers: "queue.SimpleQueue[tuple[str, str]]") -> None:
    def stop(_: float) -> None:
        raise _FirstByteError

    try:
        _get(url, io.BytesIO(), _Meter(1 << 40, stop))
    except _FirstByteError:
        answers.put((mirror, ""))
    except Exception as error:
        answers.put((mirror, str(error)))


def _get(url: str, file: BinaryIO, meter: _Meter) -> None:
    fetch = pooch.HTTPDownloader(
        progressbar=meter, chunk_size=_CHUNK, timeout=(REACH_SECONDS, SILENCE_SECONDS)
    )
    try:
        fetch(url, file, None)
    except requests.HTTPError as error:
        raise NetworkError(f"answers {getattr(error.response, 'status_code', error)}") from error
    except (requests.RequestException, ConnectionError, TimeoutError, ValueError) as error:
        raise NetworkError(f"fails ({type(error).__name__})") from error
