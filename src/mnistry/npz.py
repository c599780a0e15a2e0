"""Keras's `mnist.npz`: a zip archive of arrays, read without unpickling anything."""

import io
import math
import os
import zipfile
import zlib
from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mnistry.errors import DataError
from mnistry.idx import MAX_BYTES

KEYS = ("x_train", "y_train", "x_test", "y_test")
"""The arrays' names in Keras's archive."""


def read_npz(path: str | os.PathLike[str], keys: Iterable[str] = KEYS) -> dict[str, NDArray[Any]]:
    """Read arrays of numbers from an .npz archive.

    Args:
        path: the archive, compressed or not.
        keys: the arrays wanted.

    Returns:
        The arrays by their names, in the shapes and dtypes that the archive gives; writable.

    Raises:
        DataError: the file is missing, no archive, damaged, lacks an array, or holds one that is
            not of plain numbers or is over `MAX_BYTES`.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            return {key: _read_member(archive, key, f"{os.fspath(path)}: {key}") for key in keys}
    except (
        *(OSError, EOFError, zipfile.BadZipFile, zlib.error, NotImplementedError),
        *(RuntimeError, ValueError, MemoryError),  # what zipfile raises for a damaged directory
    ) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else error
        reason = ascii(str(reason))[1:-1]  # it may quote what the file holds
        raise _damage(
            f"{path}: cannot be read as .npz ({reason}), expected an archive as Keras's mnist.npz"
        ) from error


def _read_member(archive: zipfile.ZipFile, key: str, name: str) -> NDArray[Any]:
    try:
        info = archive.getinfo(f"{key}.npy")
    except KeyError:
        found = ascii(", ".join(archive.namelist()[:8]))[1:-1] or "nothing"
        raise _damage(f"{name} is not in the archive: found {found}") from None
    if info.file_size > MAX_BYTES:
        raise _damage(f"{name} has {info.file_size} bytes, expected at most {MAX_BYTES}")
    with archive.open(info) as member:
        data = bytearray(member.read(info.file_size))
    shape, fortran, dtype, offset = _parse_header(data, name)
    size = offset + math.prod(shape) * dtype.itemsize
    if len(data) != size:
        raise _damage(f"{name} has {len(data)} bytes, expected {size} for {dtype} of {shape}")
    array = np.frombuffer(data, dtype, offset=offset)
    return array.reshape(shape, order="F" if fortran else "C")


def _parse_header(data: bytearray, name: str) -> tuple[tuple[int, ...], bool, np.dtype[Any], int]:
    """Read the shape, Fortran order, dtype and length of a .npy file's header."""
    stream = io.BytesIO(data[: 1 << 16])
    try:
        version = np.lib.format.read_magic(stream)
        read = {
            (1, 0): np.lib.format.read_array_header_1_0,
            (2, 0): np.lib.format.read_array_header_2_0,
        }[version]
        shape, fortran, dtype = read(stream)
    except Exception as error:  # a hostile header reaches Python's own literal parser
        raise _damage(f"{name} has a damaged header ({type(error).__name__})") from error
    if dtype.kind not in "biuf" or len(shape) > 8 or min(shape, default=1) < 1:
        raise _damage(f"{name} is {dtype} of shape {shape}, expected plain numbers, not empty")
    return shape, fortran, dtype, stream.tell()


def _damage(found: str) -> DataError:
    return DataError(f"{found}; take a fresh copy of the file")
