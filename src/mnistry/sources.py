"""Where a public data set comes from: a folder of the user's, the cache, or a mirror; checked.

Each byte that leaves this module has been checked against the catalogue: with SHA-256 where it came
from a mirror or from the user's folder, with CRC-32 where it came from the cache, whose files were
checked with SHA-256 when they were put there.
"""

import hashlib
import os
import shutil
import tempfile
import time
import zlib
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from mnistry.catalogue import CATALOGUE, Source, SourceFile
from mnistry.errors import DataError, NetworkError, StorageError
from mnistry.idx import find_idx, format_idx, idx_sha256, parse_idx, read_bytes
from mnistry.npz import read_npz

Arrays = dict[str, NDArray[np.uint8]]
"""Arrays under the names that Keras's archive gives them: x_train, y_train, x_test, y_test."""

Progress = Callable[[int, int], object]
"""Is called with what is done and the total: bytes of a download, images of a folder or of a
written set."""

_STALE_SECONDS = 24 * 3600
_SCRATCH = ".download-"
PEN_CACHE = "pen"
"""The folder in the cache where `mnistry.pen.cache` keeps the sets that it wrote."""


def load_source(
    source: Source,
    data_dir: str | os.PathLike[str] | None = None,
    progress: Progress | None = None,
) -> tuple[Arrays, str]:
    """Find a public data set, downloading it if it is nowhere on this machine, and check it.

    The places, in this order: `data_dir`, or else the folder that MNISTRY_DATA names; the cache;
    the mirrors. The first of them that is given has to hold the data, whole and unchanged.

    Args:
        source: the data set, from `CATALOGUE`.
        data_dir: a folder with its IDX files, gzipped or not, or with Keras's archive (for MNIST:
            mnist.npz); or such an archive itself.
        progress: is told, in bytes of the decompressed files, how far a download is.

    Returns:
        The four uint8 arrays, and where they came from: a path or a mirror's address.

    Raises:
        DataError: `data_dir` or MNISTRY_DATA lacks the files, or they are not the right ones.
        NetworkError: no mirror delivered them.
        StorageError: the cache cannot be written.
    """
    place = data_dir or os.environ.get("MNISTRY_DATA")
    if place:
        try:
            return _from_place(source, Path(place).expanduser()), str(place)
        except OSError as error:
            reason = f"cannot be read ({error.strerror})"
            raise DataError(f"{place}: {reason}; {_supply(source)}") from error
    folder = cache_dir() / source.name
    found: Arrays = {}
    for file in source.files:
        try:
            found[file.key] = _read(folder / file.name, source, file, _Crc32(), file.crc32)
        except DataError:  # missing or damaged: fetched again
            continue
    origin = str(folder)
    wanted = [file for file in source.files if file.key not in found]
    if wanted:
        fetched, origin = _download(source, wanted, folder, progress)
        found |= fetched
    return {file.key: found[file.key] for file in source.files}, origin


# ------------------------------------------------------------------------------------ the cache


@dataclass(frozen=True)
class CacheEntry:
    """A file that Mnistry keeps."""

    path: Path
    size: int
    """In bytes."""


def cache_dir() -> Path:
    """Give the cache's folder: MNISTRY_CACHE, or the user's cache folder as pooch would name it."""
    if given := os.environ.get("MNISTRY_CACHE"):
        return Path(given).expanduser()
    import platformdirs  # what pooch.os_cache asks too, in a quarter of the import time

    return Path(platformdirs.user_cache_dir("mnistry"))


def cache_entries() -> list[CacheEntry]:
    """List what the cache keeps, what a killed download left included.

    Raises:
        StorageError: the cache cannot be looked into.
    """
    with storage(cache_dir(), "that can be read"):
        paths = [cache_dir() / s.name / file.name for s in CATALOGUE.values() for file in s.files]
        paths += [
            path for name in CATALOGUE for path in (cache_dir() / name).glob(f"{_SCRATCH}*/*")
        ]
        for pattern in ("*.npz", ".*.part"):
            paths += (cache_dir() / PEN_CACHE).glob(pattern)
        return [CacheEntry(path, path.stat().st_size) for path in paths if path.is_file()]


def clear_cache() -> list[CacheEntry]:
    """Delete what Mnistry put into its cache, and nothing else.

    Returns:
        What was deleted.

    Raises:
        StorageError: a file cannot be deleted.
    """
    entries = cache_entries()
    with storage(cache_dir(), "whose files can be deleted"):
        for entry in entries:
            entry.path.unlink(missing_ok=True)
        for folder in (cache_dir() / name for name in (*CATALOGUE, PEN_CACHE)):
            for empty in (*folder.glob(f"{_SCRATCH}*"), folder, cache_dir()):
                if empty.is_dir() and not any(empty.iterdir()):
                    empty.rmdir()
    return entries


@contextmanager
def _scratch(folder: Path, size: int) -> Iterator[Path]:
    """Give a folder for half-finished files beside the finished ones."""
    with storage(folder, f"with room for {2 * size >> 20} MiB"):
        folder.mkdir(parents=True, exist_ok=True)
        for stale in folder.glob(f"{_SCRATCH}*"):  # what a killed download left
            with suppress(FileNotFoundError):  # its own process has just finished
                if time.time() - stale.stat().st_mtime > _STALE_SECONDS:
                    shutil.rmtree(stale, ignore_errors=True)
        with tempfile.TemporaryDirectory(
            prefix=_SCRATCH, dir=folder, ignore_cleanup_errors=True
        ) as path:
            yield Path(path)


@contextmanager
def storage(folder: Path, expected: str) -> Iterator[None]:
    """Name the folder where the operating system fails."""
    try:
        yield
    except OSError as error:
        raise StorageError(
            f"{folder}: {error.strerror or error}; expected a folder {expected}; make room, change "
            "its permissions, or name another cache folder with MNISTRY_CACHE"
        ) from error


# ------------------------------------------------------------------------------------- checking


class _Checksum(Protocol):
    def update(self, data: bytes | memoryview, /) -> None: ...
    def hexdigest(self) -> str: ...


class _Crc32:
    """CRC-32 with hashlib's methods: eight times as fast as SHA-256, and enough for a bad disk."""

    def __init__(self) -> None:
        self._value = 0

    def update(self, data: bytes | memoryview, /) -> None:
        self._value = zlib.crc32(data, self._value)

    def hexdigest(self) -> str:
        return f"{self._value:08x}"


def _read(
    path: Path, source: Source, file: SourceFile, checksum: _Checksum, expected: str
) -> NDArray[np.uint8]:
    """Read and check a file; a second thread computes the checksum while this one reads."""
    with ThreadPoolExecutor(1) as hasher:
        data = read_bytes(path, lambda piece: hasher.submit(checksum.update, piece))
    array = parse_idx(data, str(path))
    _check(str(path), source, file, array.shape, (checksum.hexdigest(), expected))
    return array


def _read_archive(path: Path, name: str, source: Source, files: Sequence[SourceFile]) -> Arrays:
    """Read and check arrays of Keras's archive, hashed as the IDX files that would hold them."""
    arrays: Arrays = {}
    found = read_npz(path, [file.key for file in files])
    for file in files:
        array = found[file.key]
        usable = array.dtype == np.uint8 and array.shape == file.shape
        checksum = idx_sha256(array) if usable else f"none, its dtype being {array.dtype}"
        _check(f"{name}: {file.key}", source, file, array.shape, (checksum, file.sha256))
        arrays[file.key] = array
    return arrays


def _keep(array: NDArray[np.uint8], path: Path, scratch: Path) -> None:
    """Write a checked array to the cache as a whole file or not at all."""
    unfinished = scratch / path.name
    unfinished.write_bytes(format_idx(array))
    unfinished.replace(path)


def _check(
    name: str,
    source: Source,
    file: SourceFile,
    shape: tuple[int, ...],
    checksum: tuple[str, str],
) -> None:
    found, expected = checksum
    if (shape, found) != (file.shape, expected):
        raise DataError(
            f"{name}: is not {source.name}'s {file.name}: found shape {shape}, SHA-256 "
            f"{found}; expected {file.shape}, {expected}; take a fresh copy, or give another data "
            "set with --data PATH"
        )


def _from_place(source: Source, place: Path) -> Arrays:
    paths = {file: find_idx(place, file.name) for file in source.files}
    archive = place if place.is_file() else place / f"{source.name}.npz"
    if not any(paths.values()) and archive.is_file():
        return _read_archive(archive, str(archive), source, source.files)
    if missing := [file.name for file, path in paths.items() if not path]:
        found = f"no {', '.join(missing)}" if place.is_dir() else "no such folder"
        raise DataError(f"{place}: {found}; {_supply(source)}")
    return {
        file.key: _read(path, source, file, hashlib.sha256(), file.sha256)
        for file, path in paths.items()
        if path
    }


def _supply(source: Source) -> str:
    names = ", ".join(file.name for file in source.files)
    return (
        f"put {names} (gzipped or not) or Keras's {source.name}.npz into a folder and name it with "
        "--data-dir or MNISTRY_DATA"
    )


# ---------------------------------------------------------------------------------- downloading


def _download(
    source: Source, wanted: Sequence[SourceFile], folder: Path, progress: Progress | None
) -> tuple[Arrays, str]:
    """Fetch files from the first mirror that delivers them whole, and keep them in the cache."""
    from mnistry.download import in_turn

    arrays: Arrays = {}
    problems: list[str] = []
    mirrors = {mirror: _address(mirror, source.files[-1]) for mirror in source.mirrors}
    with _scratch(folder, source.size) as scratch:
        for mirror in in_turn(mirrors, problems):
            missing = [file for file in wanted if file.key not in arrays]
            try:
                for file, array in _fetch(mirror, source, missing, scratch, progress):
                    _keep(array, folder / file.name, scratch)
                    arrays[file.key] = array
            except NetworkError as error:
                problems.append(f"{mirror}: {error}")
            except DataError:
                problems.append(f"{mirror}: sends damaged or other files")
            else:
                return arrays, mirror
    raise NetworkError(
        f"{source.name}: no mirror delivered it ({'; '.join(problems)}); {_supply(source)}"
    )


def _fetch(
    mirror: str,
    source: Source,
    files: Sequence[SourceFile],
    scratch: Path,
    progress: Progress | None,
) -> Iterator[tuple[SourceFile, NDArray[np.uint8]]]:
    """Fetch and check files from one mirror; `progress` counts the bytes of these files."""
    from mnistry.download import download

    path, total = scratch / "download", sum(file.size for file in files)

    def get(url: str, done: int, size: int) -> None:
        def report(share: float) -> None:
            if progress:
                progress(done + int(share * size), total)

        download(url, path, limit=source.size + (1 << 20), report=report)

    if _is_archive(mirror):
        get(mirror, 0, total)
        arrays = _read_archive(path, mirror, source, files)
        yield from ((file, arrays[file.key]) for file in files)
        return
    done = 0
    for file in files:
        get(_address(mirror, file), done, file.size)
        done += file.size
        yield file, _read(path, source, file, hashlib.sha256(), file.sha256)


def _is_archive(mirror: str) -> bool:
    return not mirror.endswith("/")


def _address(mirror: str, file: SourceFile) -> str:
    return mirror if _is_archive(mirror) else f"{mirror}{file.name}.gz"
