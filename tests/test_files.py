"""Tests of mnistry.files: a file is whole or not there, however the writing ends."""

import errno
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from mnistry.dataset import load_dataset
from mnistry.errors import MnistryError, StorageError, UsageError
from mnistry.files import check_free, is_image, write_file
from mnistry.line import read_points
from mnistry.picture import read_picture
from mnistry.runfolder import make_run_folder, read_arrays, read_json


def _fail(*_: Any, **__: Any) -> None:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


@pytest.mark.parametrize("call", ["os.fsync", "pathlib.Path.replace", "pathlib.Path.open"])
def test_a_full_disk_leaves_the_earlier_file(
    call: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "history.json"
    write_file(path, b"earlier")
    monkeypatch.setattr(call, _fail)
    with pytest.raises(StorageError, match=r"history.json: cannot be written \(No space left on"):
        write_file(path, b"later")
    monkeypatch.undo()
    assert path.read_bytes() == b"earlier"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("error", [KeyboardInterrupt, MemoryError])
def test_an_interruption_leaves_the_earlier_file(
    error: type[BaseException], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(_: int) -> None:
        raise error

    path = tmp_path / "history.json"
    write_file(path, b"earlier")
    monkeypatch.setattr(os, "fsync", interrupt)
    with pytest.raises(error):
        write_file(path, b"later")
    assert path.read_bytes() == b"earlier"
    assert list(tmp_path.iterdir()) == [path]


QUOTA = """
import resource, sys
from pathlib import Path
from mnistry.files import write_file
from mnistry.errors import StorageError
path = Path(sys.argv[1])
write_file(path, b"earlier" * 100)
resource.setrlimit(resource.RLIMIT_FSIZE, (5000, 5000))
try:
    write_file(path, b"later" * 100_000)
except StorageError as error:
    print(error)
"""


def test_a_file_that_the_system_does_not_let_grow(tmp_path: Path) -> None:
    path = tmp_path / "weights.safetensors"
    done = subprocess.run(
        [sys.executable, "-c", QUOTA, path], capture_output=True, text=True, check=True
    )
    assert "weights.safetensors: cannot be written (File too large)" in done.stdout
    assert path.read_bytes() == b"earlier" * 100
    assert list(tmp_path.iterdir()) == [path]


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of one megabyte, where this process may mount one."""
    place = tmp_path / "disk"
    place.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(place)]
    try:
        mounted = subprocess.run(command, capture_output=True).returncode == 0
    except OSError:
        mounted = False
    if not mounted:
        pytest.skip("a small disk cannot be mounted here; faked full disks are tested beside it")
    yield place
    subprocess.run(["umount", str(place)], check=True)


def test_a_disk_that_is_full(small_disk: Path) -> None:
    path = small_disk / "weights.safetensors"
    earlier, later = os.urandom(400_000), os.urandom(700_000)
    write_file(path, earlier)
    with pytest.raises(StorageError, match="No space left on device"):
        write_file(path, later)
    assert path.read_bytes() == earlier
    assert list(small_disk.iterdir()) == [path]
    path.unlink()
    write_file(path, later)
    assert path.read_bytes() == later
    with pytest.raises(StorageError, match=r"the run folder cannot be made|cannot be written"):
        make_run_folder(small_disk / "run", {"much": "x" * 700_000})
    assert list(small_disk.iterdir()) == [path]


@pytest.mark.parametrize("place", ["nowhere/file", "file/file"])
def test_a_place_that_cannot_be_written(place: str, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(StorageError, match="cannot be written"):
        write_file(tmp_path / place, b"data")


@pytest.mark.parametrize(
    "read",
    [
        read_picture,
        read_points,
        read_json,
        read_arrays,
        lambda path: load_dataset(path.parent),
    ],
)
def test_a_pipe_is_refused_and_not_waited_for(read: Callable[[Path], Any], tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "train.csv")
    with pytest.raises(MnistryError, match="it is a pipe and no file"):
        read(tmp_path / "train.csv")


def test_the_standard_input_may_be_a_pipe() -> None:
    code = "from mnistry.line import read_points; print(len(read_points('/dev/stdin')))"
    done = subprocess.run([sys.executable, "-c", code], input=b"0,1\n1,2\n", capture_output=True)
    assert done.stdout == b"2\n"


def test_images_are_told_by_their_names() -> None:
    assert all(map(is_image, ["a.png", Path("b/C.JPG"), "d e.heic", "f.pdf"]))
    assert not any(map(is_image, ["a", ".a.png", "png", Path("Thumbs.db"), "a.png.txt"]))


def test_a_place_to_write_to(tmp_path: Path) -> None:
    check_free(tmp_path / "new")
    (tmp_path / "link").symlink_to("nowhere")
    with pytest.raises(UsageError, match="link: is there already"):
        check_free(tmp_path / "link")
    with pytest.raises(StorageError, match="there is no folder"):
        check_free(tmp_path / "none" / "new")
