"""Tests of mnistry.workers: parts of work, done here and by processes that end with it."""

import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import IO

import pytest

from mnistry.workers import cores, share

WORKER = """
import os
from mnistry.workers import answer

def work(given):
    last = int(given.split()[0])
    def tell(number):
        if number == last:
            os._exit(1)
        return f"{number} there {given} {os.environ['OMP_NUM_THREADS']}\\n".encode()
    return tell

answer(work)
"""
NEVER = "-1 ö"  # the part at which a worker ends, and more


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    (tmp_path / "a_worker.py").write_text(WORKER)
    monkeypatch.syspath_prepend(str(tmp_path))
    return "a_worker"


def line(stream: IO[bytes], number: int) -> str | None:
    return stream.readline().decode() or None


def told(number: int, given: str = NEVER) -> str:
    return f"{number} there {given} 1\n"


def slowly(number: int) -> str:
    time.sleep(0.02)
    return f"{number} here"


@pytest.fixture
def processes(started: list[subprocess.Popen[bytes]]) -> Iterator[list[subprocess.Popen[bytes]]]:
    """What was started; when all is over nothing of it is left."""
    threads = threading.active_count()
    yield started
    assert all(process.returncode is not None for process in started)
    assert threading.active_count() == threads


@pytest.mark.parametrize("workers", [1, 3])
def test_this_process_and_workers_take_turns(
    workers: int, module: str, processes: list[subprocess.Popen[bytes]]
) -> None:
    found = list(share(200, slowly, workers, module, NEVER, line))
    there = [number for number, text in enumerate(found) if "there" in text]
    assert found == [told(number) if number in there else f"{number} here" for number in range(200)]
    assert 20 < len(there) < 198
    assert len(processes) == workers


def test_without_workers_parts_are_done_when_they_are_wanted(
    processes: list[subprocess.Popen[bytes]],
) -> None:
    done: list[int] = []

    def do(number: int) -> int:
        done.append(number)
        return number

    found = share(5, do, 0, "", "", lambda *_: None)
    assert not done
    assert next(found) == 0
    assert done == [0]
    assert list(found) == [1, 2, 3, 4]
    assert not processes


def test_what_a_worker_leaves_is_done_here(
    module: str, processes: list[subprocess.Popen[bytes]]
) -> None:
    """It ends at a part in the middle, which it was asked for, or was not."""
    for last in range(40, 44):
        found = list(share(80, slowly, 1, module, f"{last} {NEVER}", line))
        assert [int(text.split()[0]) for text in found] == list(range(80))
        assert "here" in found[last]


@pytest.mark.parametrize("program", ["/nowhere/python", None, "/bin/false"])
def test_without_an_interpreter_all_is_done_here(
    program: str | None,
    module: str,
    processes: list[subprocess.Popen[bytes]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(sys, "executable", program)
    found = list(share(20, slowly, 2, module, NEVER * 100_000, line))
    assert found == [f"{number} here" for number in range(20)]
    assert len(processes) == (2 if program == "/bin/false" else 0)


def test_what_is_no_module_does_nothing(processes: list[subprocess.Popen[bytes]]) -> None:
    found = list(share(20, slowly, 2, "no_such_module", NEVER, line))
    assert found == [f"{number} here" for number in range(20)]
    assert len(processes) == 2


def test_what_cannot_be_read_is_done_here(
    module: str, processes: list[subprocess.Popen[bytes]]
) -> None:
    def received(stream: IO[bytes], number: int) -> str | None:
        stream.readline()
        raise ValueError(number)

    found = list(share(100, slowly, 1, module, NEVER, received))
    assert found == [f"{number} here" for number in range(100)]


def test_workers_end_with_an_error(module: str, processes: list[subprocess.Popen[bytes]]) -> None:
    def fail(number: int) -> str:
        raise KeyError(number)

    with pytest.raises(KeyError):
        list(share(500, fail, 2, module, NEVER, line))
    assert len(processes) == 2


def test_an_error_comes_in_its_turn(module: str, processes: list[subprocess.Popen[bytes]]) -> None:
    def fail_at_9(number: int) -> str:
        if number == 9:
            raise KeyError(number)
        return slowly(number)

    for _ in range(3):
        found: list[str] = []
        with pytest.raises(KeyError, match="9"):
            found.extend(share(50, fail_at_9, 1, module, f"9 {NEVER}", line))
        assert [int(text.split()[0]) for text in found] == list(range(9))


def test_without_threads_all_is_done_here(
    module: str, processes: list[subprocess.Popen[bytes]], monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr("threading.Thread.start", refuse)
    found = list(share(20, slowly, 2, module, NEVER, line))
    assert found == [f"{number} here" for number in range(20)]


def test_a_program_may_end_in_the_middle(module: str, tmp_path: Path) -> None:
    script = f"""
from mnistry.workers import share
found = share(10_000, str, 2, {module!r}, {NEVER!r}, lambda stream, _: stream.readline().decode())
for _ in range(1000):
    next(found)
print("the last line")
"""
    command = [sys.executable, "-c", script]
    environment = os.environ | {"PYTHONPATH": str(tmp_path)}
    ended = subprocess.run(
        command, check=True, capture_output=True, text=True, timeout=60, env=environment
    )
    assert ended.stdout == "the last line\n"


def test_workers_end_when_nobody_listens(
    module: str, processes: list[subprocess.Popen[bytes]]
) -> None:
    found = share(10_000, slowly, 2, module, NEVER, line)
    for _ in range(50):
        next(found)
    assert all(process.poll() is None for process in processes)
    found.close()
    assert len(processes) == 2


def test_they_do_not_run_far_ahead(module: str, processes: list[subprocess.Popen[bytes]]) -> None:
    received = []

    def count(stream: IO[bytes], number: int) -> str | None:
        received.append(number)
        return line(stream, number)

    found = share(1000, slowly, 2, module, NEVER, count)
    while not received:
        wanted = int(next(found).split()[0])
    time.sleep(0.5)
    assert max(received) < wanted + 12
    before = len(received)
    assert [int(next(found).split()[0]) for _ in range(10)] == list(range(wanted + 1, wanted + 11))
    time.sleep(0.2)
    assert before < len(received) <= wanted + 10 + 12
    found.close()


def test_cores() -> None:
    assert 1 <= cores() <= (os.cpu_count() or 1)
