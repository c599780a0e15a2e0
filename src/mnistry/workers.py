"""Processes of this program's own: to share out work, one for each core, or to be ended.

Threads gain nothing where the work is many small calls, which hold the interpreter's lock. A worker
is a module that is run with its number and how many there are; it says what it did on its standard
output. Where none can be started, or one ends early, this process does the work itself.
"""

import os
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from typing import IO


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


@contextmanager
def workers(
    module: str, arguments: Sequence[str], count: int, given: bytes = b""
) -> Iterator[list[IO[bytes]]]:
    """Start workers; they are ended when the context is left.

    Args:
        module: Run as `python -m module ARGUMENTS NUMBER COUNT`.
        arguments: What comes before its number, from 0, and their count.
        count: How many; none where that is 1.
        given: What each gets on its standard input. It has to read it all before it says anything.

    Yields:
        What each says, a stream; none where they cannot be started.
    """
    with ExitStack() as stack:
        streams: list[IO[bytes]] = []
        with suppress(OSError):
            started = [
                stack.enter_context(_worker(module, [*arguments, str(number), str(count)]))
                for number in range(count if count > 1 else 0)
            ]
            streams = [_output(process, given) for process in started]
        yield streams


@contextmanager
def _worker(module: str, arguments: Sequence[str]) -> Iterator[subprocess.Popen[bytes]]:
    one_core = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    with start(module, arguments, one_core) as process:
        try:
            yield process
        finally:
            process.kill()


def _output(process: subprocess.Popen[bytes], given: bytes) -> IO[bytes]:
    assert process.stdin is not None
    assert process.stdout is not None
    with suppress(BrokenPipeError):  # it has ended
        process.stdin.write(given)
    with suppress(BrokenPipeError):
        process.stdin.close()
    return process.stdout
