"""A small set of written digits: what the training tests train on."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mnistry.idx import format_idx
from mnistry.pen import PenSet, Written, write

UInt8s = NDArray[np.uint8]
Splits = tuple[tuple[UInt8s, UInt8s], tuple[UInt8s, UInt8s]]

IDX_NAMES = (
    ("train-images-idx3-ubyte", "train-labels-idx1-ubyte"),
    ("t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte"),
)


def make_digits(train: int = 320, test: int = 100, seed: int = 0, classes: int = 10) -> Splits:
    """`(x_train, y_train), (x_test, y_test)`, by pen; the classes from 10 on are turned digits."""
    parts = write(PenSet(train, test, writers=2 + (train + test) // 4, seed=seed, style="us"))
    return part(parts[0], classes), part(parts[1], classes)


def part(written: Written, classes: int) -> tuple[UInt8s, UInt8s]:
    """The digits with a label of their own for each turn, all labels about as common."""
    turns = (np.arange(len(written.labels)) + written.labels) % -(-classes // 10)
    turns[written.labels + 10 * turns >= classes] = 0
    images = [np.rot90(image, turn) for image, turn in zip(written.images, turns, strict=True)]
    return np.stack(images), (written.labels + 10 * turns).astype(np.uint8)


def write_digits(folder: Path, splits: Splits) -> Path:
    """Writes arrays as a folder of IDX files, which `mnistry.train(data=...)` reads."""
    folder.mkdir(parents=True, exist_ok=True)
    for names, arrays in zip(IDX_NAMES, splits, strict=True):
        for name, array in zip(names, arrays, strict=True):
            (folder / name).write_bytes(format_idx(array))
    return folder
