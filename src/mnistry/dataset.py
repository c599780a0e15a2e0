"""Data sets in memory: images, labels and classes, loaded by name or from the user's own files."""

import os
import warnings
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from mnistry.catalogue import CATALOGUE, combined_sha256
from mnistry.errors import DataError, NetworkError, StorageError, UsageError
from mnistry.formats import DIGITS, read_own
from mnistry.idx import idx_sha256
from mnistry.prepare import as_images
from mnistry.sources import Arrays, Progress, load_source

if TYPE_CHECKING:
    from mnistry.pen import What

PEN = "pen"
"""The name of the set that the program writes itself; settings may follow: "pen:style=us"."""

WRITTEN: "dict[str, What]" = {PEN: "digits", "pen-others": "others"}

UInt8s = NDArray[np.uint8]
Arrays4 = tuple[tuple[UInt8s, UInt8s], tuple[UInt8s, UInt8s]]
"""`(x_train, y_train), (x_test, y_test)`, as Keras gives them."""


@dataclass(frozen=True, eq=False)
class Dataset:
    """Images of handwriting and what they show.

    Raises:
        UsageError: an array has another dtype or shape, or a label has no class.
    """

    images: UInt8s
    """(n, 28, 28) uint8, 0 ground to 255 ink; n is at least 1."""
    labels: UInt8s
    """(n,) uint8, each the index of a class."""
    classes: tuple[str, ...] = DIGITS

    def __post_init__(self) -> None:
        images, labels = self.images, self.labels
        if images.dtype != np.uint8 or images.ndim != 3 or images.shape[1:] != (28, 28):
            raise UsageError(
                f"images: are {images.dtype} of shape {images.shape}, expected uint8 of (n, 28, 28)"
            )
        if labels.dtype != np.uint8 or labels.shape != (len(images),) or not len(images):
            raise UsageError(
                f"labels: are {labels.dtype} of shape {labels.shape} for {len(images)} images, "
                "expected uint8, one for each image, and at least one image"
            )
        if labels.max() >= len(self.classes):
            index = int(np.argmax(labels >= len(self.classes)))
            raise UsageError(
                f"labels: the one at index {index} is {labels[index]}, expected 0 to "
                f"{len(self.classes) - 1}"
            )

    def __len__(self) -> int:
        return len(self.images)

    def split(self, validation: int, seed: int) -> tuple["Dataset", "Dataset"]:
        """Set images aside, as many of each class as its share of the whole.

        Args:
            validation: how many to set aside: 1 to n - 1.
            seed: decides which.

        Returns:
            The rest, to train on, and those set aside, both in their original order. The number of
            each class is its exact share, rounded up or down.

        Raises:
            UsageError: `validation` is out of range.
        """
        if not 1 <= validation < len(self):
            raise UsageError(
                f"validation: is {validation}, expected 1 to {len(self) - 1}, so that images are "
                "left to train on"
            )
        shuffled = np.random.default_rng(seed).permutation(len(self))
        by_class = shuffled[np.argsort(self.labels[shuffled], kind="stable")]
        aside = np.zeros(len(self), dtype=bool)
        aside[by_class[np.arange(validation) * len(self) // validation]] = True
        return self.where(~aside), self.where(aside)

    def where(self, mask: NDArray[np.bool_]) -> "Dataset":
        """The images, at least one, for which `mask`, (n,) bool, is True, in their order."""
        return Dataset(self.images[mask], self.labels[mask], self.classes)


@dataclass(frozen=True, eq=False)
class DataSplits:
    """A data set's training and test images, and where they came from."""

    train: Dataset
    test: Dataset
    name: str
    origin: str
    """The path or address that the data came from."""
    place: str | None = None
    """What `load_dataset` loads it by again; None where it was arrays."""
    data_dir: str | None = None
    """Its second argument, likewise."""
    known_sha256: str | None = field(default=None, repr=False)
    """The hash, where the data has been checked against it already."""

    @cached_property
    def sha256(self) -> str:
        """A hash of all images and labels, the same for the same contents from any place.

        It is the SHA-256 of the SHA-256s, in hexadecimal, of the four arrays as IDX files: training
        images and labels, test images and labels.
        """
        if self.known_sha256:
            return self.known_sha256
        sets = (self.train, self.test)
        return combined_sha256(idx_sha256(a) for data in sets for a in (data.images, data.labels))


Data = str | os.PathLike[str] | DataSplits | Arrays4
"""What stands for a data set: a name, a path, splits, or arrays."""


def load_data(name: str = "mnist", data_dir: str | os.PathLike[str] | None = None) -> Arrays4:
    """Load a data set exactly as `keras.datasets.mnist.load_data()` does.

    Args:
        name: a public data set, a written one or a path, as `load_dataset` takes them.
        data_dir: where the public data set lies, as for `load_dataset`.

    Returns:
        `(x_train, y_train), (x_test, y_test)`: for MNIST uint8 of shapes (60000, 28, 28), (60000,),
        (10000, 28, 28) and (10000,), in the original order. The arrays are writable.

    Raises:
        MnistryError: as `load_dataset`.
    """
    splits = load_dataset(name, data_dir)
    train, test = splits.train, splits.test
    return (train.images, train.labels), (test.images, test.labels)


def load_dataset(
    name_or_path: str | os.PathLike[str] = "mnist",
    data_dir: str | os.PathLike[str] | None = None,
    progress: Progress | None = None,
) -> DataSplits:
    """Load a public data set by its name, or the user's own by its path.

    A path is one of these. Images have 28 x 28 pixels; but those of class folders may have any
    size, as scans of single digits have: `find_one` and `normalise` bring them to MNIST's form.

    - a folder of IDX files, gzipped or not, named as MNIST's;
    - a folder with train.csv and test.csv (or mnist_train.csv and mnist_test.csv): the label, then
      784 pixels 0..255 in each row, with or without a row of headings;
    - a folder with a folder for each class, as train/0/*.png ... test/9/*.png, or training and
      testing; dark ink on white is inverted;
    - an .npz file with the arrays x_train, y_train, x_test and y_test.

    Where a folder of CSV or of classes has no test part, a seventh of its images is set aside as
    one: `split(n // 7, seed=0)`, the same images each time. Folders that are all named by one digit
    have the ten digits as classes; other folders are numbered in the order of their names.

    Args:
        name_or_path: a name in `mnistry.catalogue.CATALOGUE`; "pen", the digits that the program
            writes itself, or "pen-others", what it writes that is no digit, with settings as
            `mnistry.pen.PenSet.parse` reads them where others than the defaults are wanted
            ("pen:train=1000,style=us"); or a path ("./mnist" for a folder of such a name).
        data_dir: where the public data set lies; by default MNISTRY_DATA, the cache, the mirrors.
        progress: is told how far a download (in bytes), a folder of images (in files) or the
            writing of a set (in images) is.

    Raises:
        DataError: the data is missing, damaged, of another shape, or has labels without a class.
        UsageError: `data_dir` is given with something else than a public data set; pen's settings
            cannot be, or would not fit into memory.
        NetworkError: no mirror delivered the public data set.
        StorageError: the cache cannot be written, for a public data set.
    """
    name = os.fspath(name_or_path)
    if not name:
        raise UsageError("data: is empty, expected a name or a path; . is the current folder")
    if source := CATALOGUE.get(name):
        arrays, origin = load_source(source, data_dir, progress)
        train, test = (_part(arrays, part, source.classes, origin) for part in ("train", "test"))
        kept = None if data_dir is None else str(Path(data_dir).expanduser().absolute())
        return DataSplits(train, test, name, origin, name, kept, source.sha256)
    if name.partition(":")[0] in WRITTEN:
        return _written(name, data_dir, progress)
    known = ", ".join(CATALOGUE)
    if data_dir is not None:
        raise UsageError(
            f"data_dir: goes with a public data set ({known}), not with the path {name}; leave it "
            "out"
        )
    path = Path(name).expanduser()
    arrays, classes = read_own(path, progress)
    train = _part(arrays, "train", classes, name)
    if "x_test" in arrays:
        test = _part(arrays, "test", classes, name)
    elif len(train) < 2:
        raise DataError(f"{name}: has one image, expected some to train on and some to test on")
    else:
        train, test = train.split(max(1, len(train) // 7), seed=0)
    return DataSplits(train, test, path.resolve().name, name, str(path.absolute()))


def _written(
    name: str, data_dir: str | os.PathLike[str] | None, progress: Progress | None
) -> DataSplits:
    from mnistry.pen import CLASSES, PenSet, cache  # they load OpenCV

    name, _, text = name.partition(":")
    if data_dir is not None:
        raise UsageError(f"data_dir: goes with a public data set; {name} is written here")
    settings, what = PenSet.parse(text), WRITTEN[name]
    if what == "others" and settings.style != PenSet.style:
        raise UsageError(f"{name}: has no style, and is asked for {settings.style}; leave it out")
    arrays, origin = cache.load(what, settings, progress)
    train, test = (_part(arrays, part, CLASSES[what], origin) for part in ("train", "test"))
    return DataSplits(train, test, name, origin, f"{name}:{settings}".rstrip(":"))


def load_mnist_or_pen(
    data_dir: str | os.PathLike[str] | None = None,
    progress: Progress | None = None,
    notify: Callable[[str], object] = warnings.warn,
) -> DataSplits:
    """Load MNIST or, where no mirror can be reached, the digits that the program writes itself.

    Args:
        data_dir: where MNIST lies, as for `load_dataset`; if it or MNISTRY_DATA is given, MNIST
            has to be there.
        progress: as for `load_dataset`.
        notify: is told, in one line, that it is not MNIST.

    Raises:
        MnistryError: as `load_dataset`.
    """
    try:
        return load_dataset("mnist", data_dir, progress)
    except (NetworkError, StorageError) as error:
        from mnistry.pen import PenSet  # it loads OpenCV

        why = (
            "no mirror delivered it"
            if isinstance(error, NetworkError)
            else "its cache cannot be written; MNISTRY_CACHE names another"
        )
        notify(
            f"MNIST could not be reached ({why}, and neither --data-dir nor MNISTRY_DATA names a "
            f"folder with it); using pen, {PenSet().train:,} digits written by this program: the "
            "figures below are not MNIST's"
        )
        return load_dataset(PEN, None, progress)


def as_splits(data: Data | None, data_dir: str | os.PathLike[str] | None = None) -> DataSplits:
    """Bring any form of a data set to one: a name, a path, splits, or `load_data`'s arrays.

    Args:
        data: None for MNIST or, where it cannot be reached, pen, with a warning; or as
            `load_dataset` takes it, or gives it; or `(x_train, y_train), (x_test, y_test)`, images
            as `mnistry.prepare.as_images` takes them and labels of (n,) from 0 on.
        data_dir: as for `load_dataset`.

    Raises:
        MnistryError: as `load_dataset`; arrays of another dtype or shape are a UsageError.
    """
    if data is None:
        return load_mnist_or_pen(data_dir)
    if isinstance(data, DataSplits):
        return data
    if isinstance(data, str | os.PathLike):
        return load_dataset(data, data_dir)
    try:
        (x_train, y_train), (x_test, y_test) = data
        labels = [np.asarray(y) for y in (y_train, y_test)]
        count = min(256, max(10, int(max(y.max() for y in labels)) + 1))
        classes = DIGITS if count == len(DIGITS) else tuple(map(str, range(count)))
        train, test = (
            Dataset(_as_pixels(x), _as_uint8(y), classes)
            for x, y in zip((x_train, x_test), labels, strict=True)
        )
    except (TypeError, ValueError) as error:
        if isinstance(error, UsageError):
            raise
        raise UsageError(
            "data: expected a name, a path, or (x_train, y_train), (x_test, y_test) as "
            f"load_data() gives them ({error})"
        ) from error
    return DataSplits(train, test, "arrays", "arrays")


def _as_pixels(images: Any) -> UInt8s:
    """Images of any accepted shape and range as uint8: 0..1 as the nearest of 0/255 to 255/255."""
    array = as_images(images)
    whole = array if array.dtype == np.uint8 else np.rint(array * 255)
    return whole.astype(np.uint8, copy=False)


def _as_uint8(labels: NDArray[Any]) -> UInt8s:
    """Whole numbers 0..255 of any dtype as uint8; others as they are, for `Dataset` to refuse."""
    if labels.dtype.kind in "iu" and labels.size and labels.min() >= 0 and labels.max() < 256:
        return labels.astype(np.uint8)
    return labels


def _part(arrays: Arrays, part: str, classes: tuple[str, ...], origin: str) -> Dataset:
    try:
        return Dataset(arrays[f"x_{part}"], arrays[f"y_{part}"], classes)
    except UsageError as error:
        raise DataError(f"{origin}: {part} {error}; mend the files") from None
