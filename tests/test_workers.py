"""Tests of mnistry.workers: processes that are given work, answer, and end."""

import os
import sys
import time
from pathlib import Path

import pytest

from mnistry.workers import cores, workers

WORKER = """
import os, sys, time
given = sys.stdin.buffer.read()
print(os.getpid(), sys.argv[1:], len(given), os.environ["OMP_NUM_THREADS"], flush=True)
time.sleep(60)
"""


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    (tmp_path / "a_worker.py").write_text(WORKER)
    monkeypatch.syspath_prepend(str(tmp_path))
    return "a_worker"


def is_there(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    return True


def test_each_gets_its_number_and_what_is_given(module: str) -> None:
    with workers(module, ["a", "b c"], 3, given=bytes(300_000)) as streams:
        said = [stream.readline().decode().split(" ", 1) for stream in streams]
        assert [text for _, text in said] == [
            f"['a', 'b c', '{number}', '3'] 300000 1\n" for number in range(3)
        ]
        assert all(is_there(int(process)) for process, _ in said)
    start = time.monotonic()
    assert not any(is_there(int(process)) for process, _ in said)
    assert time.monotonic() - start < 5


def test_they_end_with_an_error(module: str) -> None:
    process = 0
    with pytest.raises(KeyError), workers(module, [], 2) as streams:  # noqa: PT012
        process = int(streams[0].readline().split()[0])
        raise KeyError
    assert process
    assert not is_there(process)


def test_one_is_none(module: str) -> None:
    for count in (0, 1):
        with workers(module, [], count) as streams:
            assert streams == []


@pytest.mark.parametrize("program", ["/nowhere/python", None])
def test_without_an_interpreter_there_are_none(
    program: str | None, module: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "executable", program)
    with workers(module, [], 2) as streams:
        assert streams == []


def test_one_that_ends_at_once_says_nothing() -> None:
    with workers("no_such_module", [], 2, given=bytes(300_000)) as streams:
        assert [stream.read() for stream in streams] == [b"", b""]


def test_cores() -> None:
    assert 1 <= cores() <= (os.cpu_count() or 1)
