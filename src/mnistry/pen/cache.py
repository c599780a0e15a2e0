"""Written sets, kept in the user's cache: a set is written once, and then read."""

import hashlib
import io
from collections.abc import Callable

import cv2
import numpy as np

from mnistry.errors import DataError
from mnistry.files import write_file
from mnistry.npz import read_npz
from mnistry.pen.settings import PenSet, What
from mnistry.pen.writing import write
from mnistry.sources import PEN_CACHE, Arrays, cache_dir, storage
from mnistry.version import __version__


def load(
    what: What, settings: PenSet, progress: Callable[[int, int], object] | None = None
) -> tuple[Arrays, str]:
    """Read a written set from the cache; if it is not there, or damaged, write it.

    Args:
        what: Digits, or what is none.
        settings: How many, and of what kind.
        progress: Is told how many images, of how many, are written.

    Returns:
        The uint8 arrays x_train, y_train, x_test and y_test, and the file that keeps them.

    Raises:
        StorageError: The cache cannot be written.
    """
    versions = (__version__, np.__version__, cv2.__version__)
    key = hashlib.sha256(f"{what} {settings!r} {versions}".encode()).hexdigest()[:16]
    folder = cache_dir() / PEN_CACHE
    path = folder / f"{key}.npz"
    try:
        return read_npz(path), str(path)
    except DataError:  # missing or damaged: the archive's checksums tell
        pass
    train, test = write(settings, progress, what)
    arrays = {
        "x_train": train.images,
        "y_train": train.labels,
        "x_test": test.images,
        "y_test": test.labels,
    }
    data = io.BytesIO()
    np.savez(data, **arrays)  # type: ignore[arg-type]  # numpy's stub has a keyword of its own
    with storage(folder, f"with room for {data.getbuffer().nbytes >> 20} MiB"):
        folder.mkdir(parents=True, exist_ok=True)
    write_file(path, data.getvalue())
    return arrays, str(path)
