"""IDX, MNIST's file format: bytes to uint8 arrays and back.

Two zero bytes, the dtype's code (0x08: unsigned byte), the number of dimensions, each dimension as
a big-endian 32-bit integer, then the values in C order (http://yann.lecun.com/exdb/mnist, "the IDX
file format").
"""

import hashlib
import math
import os
import struct
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

from mnistry.errors import DataError, UsageError

MAX_BYTES = 1 << 30
"""No file is read beyond this size, compressed or not: 19 times MNIST."""

_UINT8 = 0x08
_MAX_DIMENSIONS = 4
_GZIP_MAGIC = b"\x1f\x8b"
_CHUNK = 1 << 20
_GZIP_CHUNK = 1 << 16  # gzip expands at most 1032 times: 64 MiB a step
_ADVICE = "take a fresh copy of the file"

Watch = Callable[[bytes | memoryview], object]
"""Is called with each piece of a file's bytes in order as it is read: a hash's `update`, say."""


def parse_idx(data: bytes | NDArray[np.uint8], name: str) -> NDArray[np.uint8]:
    """Read IDX bytes as an array, without copying them.

    Args:
        data: the whole file's bytes, decompressed.
        name: what to call the bytes in an error: their file's path.

    Returns:
        A uint8 array (1 to 4 dimensions, none of them 0) that shares the memory of `data`: it is
        read-only where `data` is `bytes`.

    Raises:
        DataError: the header is not one of a uint8 IDX file, or does not fit the number of bytes.
    """
    size = len(data)
    magic = bytes(data[:4])
    if size < 4 or magic[:3] != bytes((0, 0, _UINT8)) or not 1 <= magic[3] <= _MAX_DIMENSIONS:
        raise DataError(
            f"{name}: is not an IDX file of bytes: starts with {magic.hex(' ') or 'nothing'}, "
            f"expected 00 00 08 and the number of dimensions, 1 to {_MAX_DIMENSIONS}; {_ADVICE}"
        )
    offset = 4 + 4 * magic[3]
    if size < offset:
        raise DataError(f"{name}: ends within its header of {offset} bytes; {_ADVICE}")
    shape = struct.unpack(f">{magic[3]}I", bytes(data[4:offset]))
    expected = offset + math.prod(shape)
    if size != expected or not all(shape):
        raise DataError(
            f"{name}: has {size} bytes, expected {expected} for its shape {shape} "
            f"(no dimension may be 0); {_ADVICE}"
        )
    return np.frombuffer(data, np.uint8, offset=offset).reshape(shape)


def idx_header(shape: tuple[int, ...]) -> bytes:
    """Write the header of an IDX file that holds a uint8 array of this shape."""
    return struct.pack(f">4B{len(shape)}I", 0, 0, _UINT8, len(shape), *shape)


def format_idx(array: NDArray[np.uint8]) -> bytes:
    """Write an array as the bytes of an IDX file.

    Args:
        array: uint8, 1 to 4 dimensions, none of them 0.

    Raises:
        UsageError: the array has another dtype or shape.
    """
    return idx_header(_checked(array).shape) + array.tobytes()


def idx_sha256(array: NDArray[np.uint8]) -> str:
    """Hash an array as the IDX file that would hold it, without writing it out.

    Args:
        array: uint8, 1 to 4 dimensions, none of them 0.

    Returns:
        The SHA-256 of `format_idx(array)`, 64 hexadecimal digits.

    Raises:
        UsageError: the array has another dtype or shape.
    """
    digest = hashlib.sha256(idx_header(_checked(array).shape))
    digest.update(np.ascontiguousarray(array).data)
    return digest.hexdigest()


def find_idx(folder: Path, name: str) -> Path | None:
    """Find an IDX file in either of its two usual spellings, gzipped or not.

    Args:
        folder: where to look.
        name: the usual name, as "train-images-idx3-ubyte"; "train-images.idx3-ubyte" is the other.

    Returns:
        The file's path; None where there is none.
    """
    names = (stem + end for stem in (name, name.replace("-idx", ".idx")) for end in ("", ".gz"))
    return next((folder / name for name in names if (folder / name).is_file()), None)


def read_idx(path: str | os.PathLike[str]) -> NDArray[np.uint8]:
    """Read an IDX file, gzipped or not, as its first bytes tell.

    Args:
        path: the file; its name does not matter.

    Returns:
        A writable uint8 array of the file's shape.

    Raises:
        DataError: the file is missing, unreadable, damaged, cut off, over `MAX_BYTES` or no IDX.
    """
    return parse_idx(read_bytes(path), os.fspath(path))


def read_bytes(path: str | os.PathLike[str], watch: Watch | None = None) -> NDArray[np.uint8]:
    """Read a file's bytes, decompressed if they are gzip.

    Args:
        path: the file.
        watch: sees the decompressed bytes piece by piece, in order, as they are read.

    Returns:
        (bytes,) uint8, writable.

    Raises:
        DataError: the file is missing, unreadable, over `MAX_BYTES`, or its gzip is damaged or cut
            off.
    """
    try:
        with Path(path).open("rb", buffering=0) as file:
            size = os.fstat(file.fileno()).st_size
            if size > MAX_BYTES:
                raise _too_big(path)
            data = np.empty(size, np.uint8)
            gzipped = file.read(2) == _GZIP_MAGIC
            file.seek(0)
            data = data[: _fill(file, data.data, None if gzipped else watch)]
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise DataError(f"{path}: cannot be read ({reason}); expected a readable file") from error
    return _gunzip(data.data, path, watch) if gzipped else data


def _checked(array: NDArray[np.uint8]) -> NDArray[np.uint8]:
    if array.dtype != np.uint8 or not 1 <= array.ndim <= _MAX_DIMENSIONS or not array.size:
        raise UsageError(
            f"array: is {array.dtype} of shape {array.shape}, expected uint8 of 1 to "
            f"{_MAX_DIMENSIONS} dimensions, none of them 0; an IDX file of bytes holds nothing else"
        )
    return array


def _fill(file: BinaryIO, data: memoryview, watch: Watch | None) -> int:
    """Read until `data` is full or the file ends; give the number of bytes read."""
    done = 0
    while count := file.readinto(data[done : done + _CHUNK]):  # type: ignore[attr-defined]
        if watch:
            watch(data[done : done + count])
        done += count
    return done


def _gunzip(
    data: memoryview, path: str | os.PathLike[str], watch: Watch | None
) -> NDArray[np.uint8]:
    pieces: list[bytes] = []
    size = position = 0
    stream = zlib.decompressobj(wbits=31)
    try:
        while position < len(data):
            if stream.eof:  # another member follows
                stream = zlib.decompressobj(wbits=31)
            end = min(position + _GZIP_CHUNK, len(data))
            piece = stream.decompress(data[position:end])
            position = end - len(stream.unused_data)
            size += len(piece)
            if size > MAX_BYTES:
                raise _too_big(path)
            pieces.append(piece)
            if watch:
                watch(piece)
    except zlib.error as error:
        raise DataError(f"{path}: its gzip is damaged ({error}); {_ADVICE}") from error
    if not stream.eof:
        raise DataError(f"{path}: its gzip is cut off after {len(data)} bytes; {_ADVICE}")
    return np.frombuffer(bytearray().join(pieces), np.uint8)


def _too_big(path: str | os.PathLike[str]) -> DataError:
    return DataError(f"{path}: holds more than {MAX_BYTES} bytes, expected at most that many")
