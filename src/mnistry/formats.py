"""The forms in which a data set of the user's own may lie on disk, all read to the same arrays."""

import io
from contextlib import suppress
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mnistry.catalogue import CATALOGUE
from mnistry.errors import DataError
from mnistry.files import open_file
from mnistry.idx import find_idx, read_idx
from mnistry.npz import read_npz
from mnistry.picture import light_on_dark, read_picture
from mnistry.sources import Arrays, Progress

DIGITS = tuple("0123456789")
"""The classes of a set of digits, whose labels are the digits themselves."""

FORMS = (
    "expected a folder of IDX files (train-images-idx3-ubyte ...), of train.csv and test.csv, or "
    "of images of one digit each (train/0/... to test/9/...), an .npz file as Keras's, or the name "
    f"of a public data set: {', '.join(CATALOGUE)}"
)

_IDX_NAMES = {
    "x_train": "train-images-idx3-ubyte",
    "y_train": "train-labels-idx1-ubyte",
    "x_test": "t10k-images-idx3-ubyte",
    "y_test": "t10k-labels-idx1-ubyte",
}
_COLUMNS = 1 + 28 * 28


def read_own(path: Path, progress: Progress | None = None) -> tuple[Arrays, tuple[str, ...]]:
    """Read a data set from a folder or file, in whichever form it has.

    Args:
        path: as `mnistry.dataset.load_dataset` takes it.
        progress: is told how many image files, or bytes of a table, of how many have been read.

    Returns:
        The uint8 arrays x_train, y_train and, where the data set has a test part, x_test and
        y_test; and the names of the classes. Shapes and labels are as found.

    Raises:
        DataError: there is no data set in one of the forms, or it is damaged.
    """
    try:
        if path.is_file() and path.suffix == ".npz":
            return _read_npz(path), DIGITS
        if not path.is_dir():
            found = "is a file of another kind" if path.exists() else "does not exist"
            raise DataError(f"{path}: {found}; {FORMS}")
        if any(find_idx(path, name) for name in _IDX_NAMES.values()):
            return _read_idx_folder(path), DIGITS
        for train, test in (("train.csv", "test.csv"), ("mnist_train.csv", "mnist_test.csv")):
            if (path / train).exists():
                return _read_csv_folder(path / train, path / test, progress), DIGITS
        for train, test in (("train", "test"), ("training", "testing")):
            if (path / train).exists() or (path / test).exists():
                return _read_classes({"train": path / train, "test": path / test}, progress)
        return _read_classes({"train": path}, progress)
    except OSError as error:
        raise DataError(
            f"{error.filename or path}: cannot be read ({error.strerror}); {FORMS}"
        ) from error


def _read_npz(path: Path) -> Arrays:
    arrays = {}
    for key, array in read_npz(path).items():
        if array.dtype.kind not in "iu" or array.min() < 0 or array.max() > 255:
            raise DataError(
                f"{path}: {key} is {array.dtype} from {array.min()} to {array.max()}, expected "
                "integers 0 to 255; save it as uint8"
            )
        arrays[key] = array.astype(np.uint8, copy=False)
    return arrays


def _read_idx_folder(path: Path) -> Arrays:
    files = {key: find_idx(path, name) for key, name in _IDX_NAMES.items()}
    if missing := [_IDX_NAMES[key] for key, file in files.items() if not file]:
        raise DataError(f"{path}: has no {', '.join(missing)}; {FORMS}")
    return {key: read_idx(file) for key, file in files.items() if file}


# ------------------------------------------------------------------------- a folder for each class


def _read_classes(
    parts: dict[str, Path], progress: Progress | None
) -> tuple[Arrays, tuple[str, ...]]:
    names = _class_folders(parts["train"])
    classes = DIGITS if set(names) <= set(DIGITS) else tuple(names)
    parts = {part: folder for part, folder in parts.items() if folder.exists()}
    files = [(part, *file) for part, folder in parts.items() for file in _files(folder, classes)]
    images = np.empty((len(files), 28, 28), np.uint8)
    for index, (_, path, _) in enumerate(files):
        images[index] = _read_image(path)
        if progress:
            progress(index + 1, len(files))
    labels = np.array([label for _, _, label in files], np.uint8)
    arrays: Arrays = {}
    for part in parts:
        mask = np.array([file[0] == part for file in files], dtype=bool)
        arrays |= {f"x_{part}": images[mask], f"y_{part}": labels[mask]}
    return arrays, classes


def _read_image(path: Path) -> NDArray[np.uint8]:
    """A digit as MNIST's: what has its size is taken as it is."""
    grey = read_picture(path)
    if grey.shape == (28, 28):
        return light_on_dark(grey)
    from mnistry.normalise import normalise  # OpenCV, which no other form needs
    from mnistry.page import find_one

    piece = find_one(grey)
    if piece is None:
        raise DataError(f"{path}: has no ink, expected a digit; take it out, or scan it again")
    return normalise(piece.ink)


def _class_folders(folder: Path) -> list[str]:
    names = sorted(path.name for path in _visible(folder) if path.is_dir())
    if not 1 <= len(names) <= 256:
        raise DataError(f"{folder}: has {len(names)} folders of images, at most 256 are; {FORMS}")
    return names


def _files(folder: Path, classes: tuple[str, ...]) -> list[tuple[Path, int]]:
    names = _class_folders(folder)
    if unknown := sorted(set(names) - set(classes)):
        raise DataError(
            f"{folder / unknown[0]}: is a class without training images, expected one of "
            f"{', '.join(classes)}; add images of it to train on"
        )
    return [
        (path, label)
        for label, name in enumerate(classes)
        if name in names
        for path in _visible(folder / name)
    ]


def _visible(folder: Path) -> list[Path]:
    return sorted(path for path in folder.iterdir() if not path.name.startswith("."))


# --------------------------------------------------------------------------------------------- CSV


def _read_csv_folder(train: Path, test: Path, progress: Progress | None) -> Arrays:
    rows = {"train": _read_csv(train, progress)}
    if test.exists():
        rows["test"] = _read_csv(test, progress)
    arrays = {}
    for part, table in rows.items():
        arrays[f"x_{part}"] = np.ascontiguousarray(table[:, 1:]).reshape(-1, 28, 28)
        arrays[f"y_{part}"] = table[:, 0].copy()
    return arrays


def _read_csv(path: Path, progress: Progress | None) -> NDArray[np.uint8]:
    """Read a table of labels and pixels: (n, 785) uint8.

    Row by row, and not by `numpy.loadtxt`: numpy 2.4 crashes on some malformed tables.
    """
    table, size = bytearray(), path.stat().st_size
    done = number = 0
    with open_file(path) as binary:
        file = io.TextIOWrapper(binary, encoding="utf-8-sig", errors="replace")
        for number, line in enumerate(file, 1):
            cells = line.split(",")
            done += len(line)
            if not line.strip() or (number == 1 and not _is_byte(cells[0])):  # headings
                continue
            row = b""
            if line.isascii() and not {"_", "+"} & set(line):  # which `int` would take
                with suppress(ValueError):
                    row = bytes(map(int, cells))
            if len(row) != _COLUMNS:
                raise DataError(
                    f"{path}: row {number} has {_row_problem(cells)}, expected a label and 784 "
                    "pixels 0 to 255 in each row"
                )
            table += row
            if progress and number % 500 == 0:
                progress(done, size)
    if not table:
        raise DataError(
            f"{path}: has {number} rows, none of them a table's, expected a label and 784 pixels 0 "
            "to 255 in each row"
        )
    return np.frombuffer(table, np.uint8).reshape(-1, _COLUMNS)


def _row_problem(cells: list[str]) -> str:
    for column, cell in enumerate(cells, 1):
        if not _is_byte(cell):
            return f"{cell.strip()[:20]!r} in column {column}"
    if len(cells) == _COLUMNS - 1:
        return (
            "784 columns (Kaggle's test.csv has no labels: move it away, and a seventh of "
            "train.csv becomes the test set)"
        )
    return f"{len(cells)} columns"


def _is_byte(cell: str) -> bool:
    text = cell.strip()
    return text.isascii() and text.isdecimal() and len(text) <= 9 and int(text) <= 255
