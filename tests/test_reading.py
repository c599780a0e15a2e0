"""Tests of mnistry.reading: many files, read by many processes."""

import subprocess
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from PIL import Image

from mnistry.errors import DataError, UsageError
from mnistry.pen.paper import write_sheet
from mnistry.reader import Reader, Reading
from mnistry.reading import read_files
from mnistry.workers import _Work
from networks import write_onnx


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Eight sheets, and what is none, thirteen times over."""
    folder = tmp_path_factory.mktemp("sheets")
    names = [folder / f"{number}.png" for number in range(8)]
    for number, name in enumerate(names[:-1]):
        rows = ["27", "18"][: number % 3]
        image = write_sheet(rows, seed=number).image if rows else np.full((40, 30), 255, np.uint8)
        Image.fromarray(image).save(name)
    names[-1].write_text("no\nimage")
    bomb = folder / "bomb.png"
    Image.new("1", (10_000, 5_001)).save(bomb)
    return [*names, bomb, folder / "missing\n.png"] * 13


@pytest.fixture
def workers(
    started: list[subprocess.Popen[bytes]], monkeypatch: pytest.MonkeyPatch
) -> list[subprocess.Popen[bytes]]:
    """However few files there are, two workers read some of them; those that were started."""
    monkeypatch.setattr("mnistry.reading._WORTH", 0)
    monkeypatch.setattr("mnistry.reading.cores", lambda: 3)
    return started


@pytest.fixture
def all_there(monkeypatch: pytest.MonkeyPatch) -> None:
    """This process leaves everything to the workers."""

    def next_for(self: _Work[Any], wanted: int) -> None:
        with self._changed:
            self._wanted = wanted
            self._changed.notify_all()

    monkeypatch.setattr(_Work, "next_for", next_for)


def plain(found: Reading | DataError) -> Any:
    if isinstance(found, DataError):
        return type(found), str(found)
    return [
        (d.label, d.confidence, d.probabilities.tolist(), d.box, d.page, d.line, d.image.tolist())
        for d in found.digits
    ]


@pytest.mark.parametrize("single", [False, True])
def test_workers_read_the_same(
    trouble: str,
    single: bool,
    files: list[Path],
    workers: list[subprocess.Popen[bytes]],
    request: pytest.FixtureRequest,
) -> None:
    reader = Reader(min_confidence=0.9, threads=1)
    alone = [plain(found) for found in reader.read_many(files, single=single)]
    if trouble == "none":
        request.getfixturevalue("all_there")
    found = []
    for each in read_files(reader, files, single=single):
        if trouble == "killed" and not found:
            workers[1].kill()
        found.append(plain(each))
    assert found == alone
    assert len(workers) == (0 if trouble in ("no interpreter", "embedded") else 2)
    assert all(worker.returncode is not None for worker in workers)


def test_workers_read_with_the_same_file(
    files: list[Path],
    workers: list[subprocess.Popen[bytes]],
    all_there: None,
    tmp_path: Path,
) -> None:
    reader = Reader(write_onnx(tmp_path / "own.onnx"), threads=1)
    readings = list(read_files(reader, files, single=True))
    labels = {d.label for r in readings if isinstance(r, Reading) for d in r.digits}
    assert labels == {0, None}
    assert len(workers) == 2


def test_names_of_every_kind(
    workers: list[subprocess.Popen[bytes]],
    all_there: None,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    reader = Reader(threads=1)
    names = ["a\0b.png", "\udcff.png", "ö\n.png", "", "d.png"]
    monkeypatch.chdir(tmp_path)
    Image.fromarray(write_sheet(["3"], seed=1).image).save("d.png")
    *errors, last = read_files(reader, names)
    assert [type(error) for error in errors] == [DataError] * 4
    assert isinstance(last, Reading)
    assert len(last.digits) == 1


def test_what_is_no_file_is_read_here(
    files: list[Path], workers: list[subprocess.Popen[bytes]]
) -> None:
    sources = [files[1].read_bytes(), files[2], write_sheet(["3"], seed=1).image]
    assert len(list(read_files(Reader(threads=1), sources))) == 3
    assert workers == []


def test_few_files_are_read_here(
    files: list[Path], workers: list[subprocess.Popen[bytes]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mnistry.reading._WORTH", 1.0)
    found = read_files(Reader(threads=1), files[:9])
    assert sum(isinstance(each, DataError) for each in found) == 2
    assert workers == []


def test_workers_end_when_nobody_listens(
    files: list[Path], workers: list[subprocess.Popen[bytes]]
) -> None:
    readings = read_files(Reader(threads=1), files)
    next(readings)
    readings.close()
    assert len(workers) == 2
    assert all(worker.returncode is not None for worker in workers)


def test_two_that_read_at_a_time_leave_opencv_as_it_was(
    files: list[Path], workers: list[subprocess.Popen[bytes]]
) -> None:
    usual = cv2.getNumThreads()
    cv2.setNumThreads(3)
    try:
        with ThreadPoolExecutor(2) as threads:
            found = threads.map(lambda part: list(read_files(Reader(threads=1), part)), [files] * 2)
            first, second = ([plain(each) for each in some] for some in found)
        assert first == second
        assert cv2.getNumThreads() == 3
    finally:
        cv2.setNumThreads(usual)


def test_what_was_read_before_an_error_is_given(files: list[Path]) -> None:
    """Of few files, which are read here, some at a time."""
    reader = Reader(threads=1)
    found = read_files(reader, [*files[:4], np.zeros((2, 2), int)])
    for path in files[:4]:
        reading = next(found)
        assert isinstance(reading, Reading)
        assert reading.text == reader.read(path).text
    with pytest.raises(UsageError, match="the array: is of int64"):
        next(found)


def test_what_is_another_to_each_process_is_read_here(
    files: list[Path], workers: list[subprocess.Popen[bytes]]
) -> None:
    """A worker's /dev/stdin is what it is asked by, and would be waited for."""
    *found, none = read_files(Reader(threads=1), [*files[:2], "/dev/null"])
    assert not workers
    assert all(isinstance(each, Reading) for each in found)
    assert isinstance(none, DataError)
