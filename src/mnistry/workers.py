"""Processes of this program's own: to share out work, one for each core, or to be ended.

Threads gain nothing where the work is many small calls, which hold the interpreter's lock. So work
is cut into parts, and this process does some of them itself while workers, which are modules that
call `answer`, do others. Where none can be started, or one ends early, this process does what is
left.
"""

import os
import signal
import subprocess
import sys
import threading
from collections import deque
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from typing import IO, Generic, TypeVar

_ASKED = 2  # parts that a worker is asked for: with one, it would wait for the next
_AHEAD = 4  # parts for each process that are done before they are wanted, at most

T = TypeVar("T")


def cores() -> int:
    """How many cores this process may use."""
    return len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count() or 1


def start(
    module: str, arguments: Sequence[str], environment: Mapping[str, str] | None = None
) -> subprocess.Popen[bytes]:
    """Start a process of this program: `python -m module ARGUMENTS`, its input and output pipes.

    Args:
        module: Of the same Mnistry as here, or of whatever else can be imported here.
        arguments: What follows it.
        environment: Variables beside or in place of this process's.

    Raises:
        OSError: It cannot be started; a frozen or embedded program has no interpreter.
    """
    if not sys.executable or getattr(sys, "frozen", False):
        raise OSError("this program has no Python interpreter to start")
    return subprocess.Popen(
        [sys.executable, "-P", "-m", module, *arguments],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env={
            **os.environ,
            "PYTHONPATH": os.pathsep.join(filter(None, sys.path)),
            **(environment or {}),
        },
    )


def share(
    parts: int,
    do: Callable[[int], T],
    workers: int,
    module: str,
    given: str,
    received: Callable[[IO[bytes], int], T | None],
) -> Generator[T]:
    """Do all parts of some work, this process and workers each one after the other.

    Args:
        parts: How many there are.
        do: Does one, by its number from 0.
        workers: How many processes there are to be beside this one; they are ended at the end.
        module: Run as `python -m module`, to call `answer`.
        given: A line of text, for what it makes of it.
        received: Reads what a worker says of a part; None if it has ended.

    Yields:
        What comes of each part, in their order.
    """
    work: _Work[T] = _Work(parts, _AHEAD * (workers + 1))
    with ExitStack() as stack:
        with suppress(OSError, RuntimeError):  # no more processes, or threads
            for _ in range(workers):
                stack.enter_context(_worker(module, given, work, received))
        for number in range(parts):
            while (own := work.next_for(number)) is not None:
                work.put(own, _done(do, own, number))
            done = work.get(number)
            yield do(number) if done is None else done


def _done(do: Callable[[int], T], own: int, wanted: int) -> T | None:
    """What comes of a part; None if it fails and others are wanted before: it fails in its turn."""
    try:
        return do(own)
    except Exception:
        if own == wanted:
            raise
        return None


def answer(work: Callable[[str], Callable[[int], bytes]]) -> None:
    """Be a worker, until nothing is asked for any more.

    Args:
        work: Takes what is given; gives what tells of a part.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # whoever started it ends it
    asked = sys.stdin.buffer
    tell = work(asked.readline().decode().rstrip("\n"))
    for number in asked:
        sys.stdout.buffer.write(tell(int(number)))
        sys.stdout.buffer.flush()


class _Work(Generic[T]):
    """Which parts are to be done, and what came of those that are."""

    def __init__(self, parts: int, ahead: int) -> None:
        self._parts, self._ahead, self._next, self._wanted = parts, ahead, 0, 0
        self._done: dict[int, T | None] = {}
        self._changed = threading.Condition()

    def next_for(self, wanted: int) -> int | None:
        """A part to be done meanwhile, if there is any, until one that is wanted is done."""
        with self._changed:
            self._wanted = wanted
            self._changed.notify_all()
            return None if wanted in self._done else self._taken()

    def next(self, *, wait: bool) -> int | None:
        """A part to be done, if there is any: now, or ever."""
        with self._changed:
            while wait and self._limit <= self._next < self._parts:
                self._changed.wait(1)
                if not threading.main_thread().is_alive():  # the program ends, and wants no more
                    return None
            return self._taken()

    def put(self, number: int, result: T | None) -> None:
        """A part is done, or, for None, was not."""
        with self._changed:
            self._done[number] = result
            self._changed.notify_all()

    def get(self, number: int) -> T | None:
        """What came of a part, once it is done."""
        with self._changed:
            self._changed.wait_for(lambda: number in self._done)
            return self._done.pop(number)

    def end(self) -> None:
        """No more is wanted."""
        with self._changed:
            self._parts = 0
            self._changed.notify_all()

    @property
    def _limit(self) -> int:
        return min(self._parts, self._wanted + self._ahead)

    def _taken(self) -> int | None:
        if self._next >= self._limit:
            return None
        self._next += 1
        return self._next - 1


@contextmanager
def _worker(
    module: str, given: str, work: _Work[T], received: Callable[[IO[bytes], int], T | None]
) -> Iterator[None]:
    """A worker, and a thread that asks it for parts."""
    one_core = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    with start(module, [], one_core) as process:
        asking = threading.Thread(target=_ask, args=(process, given, work, received))
        asking.start()
        try:
            yield
        finally:
            work.end()
            process.kill()
            asking.join()


def _ask(
    process: subprocess.Popen[bytes],
    given: str,
    work: _Work[T],
    received: Callable[[IO[bytes], int], T | None],
) -> None:
    assert process.stdin is not None
    assert process.stdout is not None
    asked: deque[int] = deque()
    try:
        with suppress(OSError, ValueError):  # it has ended, or says nothing that can be read
            process.stdin.write(given.encode() + b"\n")
            while True:
                while len(asked) < _ASKED:
                    number = work.next(wait=not asked)
                    if number is None:
                        break
                    asked.append(number)
                    process.stdin.write(b"%d\n" % number)
                if not asked:
                    return
                process.stdin.flush()
                found = received(process.stdout, asked[0])
                if found is None:
                    return
                work.put(asked.popleft(), found)
    finally:
        for number in asked:
            work.put(number, None)
        with suppress(OSError):
            process.stdin.close()
