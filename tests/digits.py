"""A small set of images that a network can learn: what the training tests train on."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mnistry.idx import format_idx

UInt8s = NDArray[np.uint8]
Splits = tuple[tuple[UInt8s, UInt8s], tuple[UInt8s, UInt8s]]

IDX_NAMES = (
    ("train-images-idx3-ubyte", "train-labels-idx1-ubyte"),
    ("t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte"),
)


def make_digits(train: int = 320, test: int = 100, seed: int = 0, classes: int = 10) -> Splits:
    """`(x_train, y_train), (x_test, y_test)`: a blot for each class, shifted, faded and noisy."""
    blots = np.random.default_rng(7).random((classes, 5, 5)) > 0.5
    blots = np.kron(blots, np.ones((4, 4)))
    rng = np.random.default_rng(seed)

    def part(count: int) -> tuple[UInt8s, UInt8s]:
        labels = rng.permutation(np.arange(count) % classes)
        images = np.zeros((count, 28, 28))
        for image, label in zip(images, labels, strict=True):
            down, right = rng.integers(2, 7, 2)
            image[down : down + 20, right : right + 20] = blots[label]
        images *= rng.uniform(0.5, 1, (count, 1, 1))
        images += rng.uniform(0, 0.3, images.shape) * (rng.random(images.shape) < 0.3)
        return (images.clip(0, 1) * 255).round().astype(np.uint8), labels.astype(np.uint8)

    return part(train), part(test)


def write_digits(folder: Path, splits: Splits) -> Path:
    """Writes arrays as a folder of IDX files, which `mnistry.train(data=...)` reads."""
    folder.mkdir(parents=True, exist_ok=True)
    for names, arrays in zip(IDX_NAMES, splits, strict=True):
        for name, array in zip(names, arrays, strict=True):
            (folder / name).write_bytes(format_idx(array))
    return folder
