"""The data as the peers read it: IDX files into the npz that Keras spreads, and that npz back."""

import gzip
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from peers.tutorial import Tutorial

IDX_FILES = (
    "train-images-idx3-ubyte",
    "train-labels-idx1-ubyte",
    "t10k-images-idx3-ubyte",
    "t10k-labels-idx1-ubyte",
)

Pixels = NDArray[np.float32]  # 0..1
Labels = NDArray[np.uint8]  # 0..9


def find_idx(folder: Path, name: str) -> Path:
    """The IDX file of that name, gzipped or not.

    Raises:
        FileNotFoundError: the folder holds neither.
    """
    for path in (folder / name, folder / f"{name}.gz"):
        if path.is_file():
            return path
    raise FileNotFoundError(f"{folder} holds neither {name} nor {name}.gz")


def read_idx(path: Path) -> NDArray[np.uint8]:
    """The array that one IDX file of bytes holds."""
    content = path.read_bytes()
    if path.suffix == ".gz":
        content = gzip.decompress(content)
    dimensions = content[3]
    shape = np.frombuffer(content, ">u4", count=dimensions, offset=4)
    return np.frombuffer(content, np.uint8, offset=4 + 4 * dimensions).reshape(shape)


def write_npz(folder: Path, path: Path) -> None:
    """Writes the four IDX files as one npz, with the names and the compression of Keras's own."""
    x_train, y_train, x_test, y_test = (read_idx(find_idx(folder, name)) for name in IDX_FILES)
    np.savez_compressed(path, x_train=x_train, y_train=y_train, x_test=x_test, y_test=y_test)


def load(path: str, tutorial: Tutorial) -> tuple[Pixels, Labels, Pixels, Labels]:
    """Training images and labels, then test images and labels, shaped and scaled by 255."""
    with np.load(path) as arrays:
        x_train, y_train = arrays["x_train"], arrays["y_train"]
        x_test, y_test = arrays["x_test"], arrays["y_test"]
    return prepare(x_train, tutorial), y_train, prepare(x_test, tutorial), y_test


def prepare(images: NDArray[np.uint8], tutorial: Tutorial) -> Pixels:
    """Shapes the images as the tutorial does and scales them to 0..1."""
    return images.reshape(-1, *tutorial.input_shape).astype(np.float32) / np.float32(255)
