"""Written sets, kept in the user's cache: a set is written once, and then read."""

import hashlib
import io
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import cv2
import numpy as np

from mnistry.errors import DataError, StorageError
from mnistry.files import write_file
from mnistry.normalise import SIZE
from mnistry.npz import read_npz
from mnistry.pen.settings import PenSet, What
from mnistry.pen.writing import write
from mnistry.sources import PEN_CACHE, Arrays, cache_dir, storage


def load(
    what: What, settings: PenSet, progress: Callable[[int, int], object] | None = None
) -> tuple[Arrays, str]:
    """Read a written set from the cache; if it is not there, or damaged, write it.

    Args:
        what: Digits, or what is none.
        settings: How many, and of what kind.
        progress: Is told how many images, of how many, are written.

    Returns:
        The uint8 arrays x_train, y_train, x_test and y_test, and where they are from: the file that
        keeps them, or that there is none.

    Raises:
        UsageError: They would not fit into this machine's memory.
    """
    folder = cache_dir() / PEN_CACHE
    path = folder / f"{what}-{settings.train}-{settings.style}-{_key(what, settings)}.npz"
    with suppress(DataError):  # missing or damaged: the archive's checksums tell
        arrays = read_npz(path)
        shapes = {name: (array.shape, array.dtype) for name, array in arrays.items()}
        if shapes == _shapes(settings):
            return arrays, str(path)
    train, test = write(settings, progress, what)
    arrays = {
        "x_train": train.images,
        "y_train": train.labels,
        "x_test": test.images,
        "y_test": test.labels,
    }
    data = io.BytesIO()
    np.savez(data, **arrays)  # type: ignore[arg-type]  # numpy's stub has a keyword of its own
    try:
        with storage(folder, "that can be written"):
            folder.mkdir(parents=True, exist_ok=True)
        write_file(path, data.getvalue())
    except StorageError:  # the digits are there all the same
        return arrays, "this program (the cache cannot be written: they are written anew each time)"
    return arrays, str(path)


def _shapes(settings: PenSet) -> dict[str, tuple[tuple[int, ...], np.dtype[np.uint8]]]:
    shapes: dict[str, tuple[int, ...]] = {}
    for part, count in (("train", settings.train), ("test", settings.test)):
        shapes |= {f"x_{part}": (count, SIZE, SIZE), f"y_{part}": (count,)}
    return {name: (shape, np.dtype(np.uint8)) for name, shape in shapes.items()}


def _key(what: What, settings: PenSet) -> str:
    """What decides a set's bits: the settings, the libraries, and how digits are written."""
    here = Path(__file__).parent
    files = [*sorted(here.glob("*.py")), here.with_name("normalise.py")]
    decides = f"{what} {settings!r} {np.__version__} {cv2.__version__}".encode()
    return hashlib.sha256(
        b"\0".join([decides, *(path.read_bytes() for path in files)])
    ).hexdigest()[:16]
