"""The public data sets that Mnistry knows: their mirrors, hashes and licences, as data."""

import hashlib
import math
from collections.abc import Iterable
from dataclasses import dataclass

from mnistry.idx import idx_header


@dataclass(frozen=True)
class SourceFile:
    """One file of a data set, as it is when decompressed."""

    key: str
    """The array's name in Keras's archive: x_train, y_train, x_test or y_test."""
    name: str
    shape: tuple[int, ...]
    sha256: str
    crc32: str
    """Eight hexadecimal digits."""

    @property
    def size(self) -> int:
        """Bytes of the decompressed file."""
        return len(idx_header(self.shape)) + math.prod(self.shape)


@dataclass(frozen=True)
class Source:
    """A public data set: what it is, where it lies, and how to know that it arrived whole."""

    name: str
    title: str
    licence: str
    classes: tuple[str, ...]
    files: tuple[SourceFile, ...]
    mirrors: tuple[str, ...]
    """Each is a folder's address, ending in "/", that holds every file as NAME.gz, or the address
    of one .npz archive as Keras's. They are asked in this order."""

    @property
    def size(self) -> int:
        """Bytes of all its files, decompressed."""
        return sum(file.size for file in self.files)

    @property
    def sha256(self) -> str:
        """The hash of its contents, as `mnistry.dataset.DataSplits.sha256` computes it."""
        return combined_sha256(file.sha256 for file in self.files)


def combined_sha256(hashes: Iterable[str]) -> str:
    """Hash hashes: the SHA-256 of several of them, in hexadecimal, written one after another."""
    return hashlib.sha256("".join(hashes).encode("ascii")).hexdigest()


MNIST = Source(
    name="mnist",
    title="MNIST: 70,000 handwritten digits",
    licence="CC BY-SA 3.0, Yann LeCun and Corinna Cortes, from NIST's databases",
    classes=tuple("0123456789"),
    files=(
        SourceFile(
            "x_train",
            "train-images-idx3-ubyte",
            (60000, 28, 28),
            "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
            "e9f4d8b3",
        ),
        SourceFile(
            "y_train",
            "train-labels-idx1-ubyte",
            (60000,),
            "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
            "e0cb4ad2",
        ),
        SourceFile(
            "x_test",
            "t10k-images-idx3-ubyte",
            (10000, 28, 28),
            "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
            "91373bdf",
        ),
        SourceFile(
            "y_test",
            "t10k-labels-idx1-ubyte",
            (10000,),
            "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
            "4ab9eff9",
        ),
    ),
    mirrors=(
        "https://ossci-datasets.s3.amazonaws.com/mnist/",
        "https://storage.googleapis.com/cvdf-datasets/mnist/",
        "https://storage.googleapis.com/tensorflow/tf-keras-datasets/mnist.npz",
    ),
)

CATALOGUE = {source.name: source for source in (MNIST,)}
"""The public data sets by name."""
