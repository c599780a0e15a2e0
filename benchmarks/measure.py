"""Runs one command in a process of its own and measures that process from outside. Linux only."""

import os
import signal
import subprocess
import tempfile
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import machine

_WATCHED_EVERY = 0.01  # seconds


@dataclass(frozen=True)
class Measured:
    """A process that has ended: what it said, and what it took."""

    stdout: str
    stderr: str
    exit_code: int  # negative: the signal that ended it
    timed_out: bool
    wall_seconds: float  # from before the interpreter starts to after it is gone
    cpu_seconds: float  # of all its threads
    peak_memory_mib: float  # its largest resident set
    others_cores: float  # how many of the cores everybody else kept busy meanwhile, on average

    @property
    def error(self) -> str | None:
        """Why it failed, in one line; None where it did not."""
        if self.timed_out:
            return f"stopped after {self.wall_seconds:.0f} seconds"
        if self.exit_code == 0:
            return None
        if self.exit_code < 0:
            return f"ended by {signal.Signals(-self.exit_code).name}"
        return last_line(self.stderr) or f"exit code {self.exit_code}, and nothing on stderr"


def last_line(text: str) -> str:
    """The last line of a text that is not blank; empty where there is none."""
    lines = text.strip().splitlines()
    return lines[-1].strip() if lines else ""


def measure(
    command: Sequence[str], cwd: Path, environment: Mapping[str, str], timeout: float
) -> Measured:
    """Runs a command to its end, or kills it and its children after `timeout` seconds."""
    timed_out = threading.Event()
    with tempfile.TemporaryFile("w+") as stdout, tempfile.TemporaryFile("w+") as stderr:
        busy = machine.busy_seconds()
        start = time.perf_counter()
        process = subprocess.Popen(
            command,
            cwd=cwd,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=stdout,
            stderr=stderr,
            start_new_session=True,
        )

        def stop() -> None:
            timed_out.set()
            os.killpg(process.pid, signal.SIGKILL)

        timer = threading.Timer(timeout, stop)
        timer.start()
        ended, peaks = threading.Event(), [0.0]
        watcher = threading.Thread(target=_watch, args=(process.pid, ended, peaks))
        watcher.start()
        try:
            _, status, usage = os.wait4(process.pid, 0)
        except BaseException:  # the user interrupts: nothing may be left running
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            raise
        finally:
            timer.cancel()
            ended.set()
            watcher.join()
        wall_seconds = time.perf_counter() - start
        busy = machine.busy_seconds() - busy
        cpu_seconds = usage.ru_utime + usage.ru_stime
        process.returncode = os.waitstatus_to_exitcode(status)
        stdout.seek(0)
        stderr.seek(0)
        return Measured(
            stdout=stdout.read(),
            stderr=stderr.read(),
            exit_code=process.returncode,
            timed_out=timed_out.is_set(),
            wall_seconds=wall_seconds,
            cpu_seconds=cpu_seconds,
            peak_memory_mib=max(peaks),
            others_cores=max(0.0, busy - cpu_seconds) / wall_seconds,
        )


def _watch(pid: int, ended: threading.Event, peaks: list[float]) -> None:
    """Notes a process's largest resident set until it has ended.

    `ru_maxrss`, which could be asked for once at the end, begins with that of the parent.
    """
    while not ended.wait(_WATCHED_EVERY):
        try:
            with open(f"/proc/{pid}/status") as status:
                peaks += [int(line.split()[1]) / 1024 for line in status if "VmHWM" in line]
        except (OSError, ValueError):  # it is just ending
            return
