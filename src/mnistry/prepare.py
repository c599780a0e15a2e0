"""What a network is fed: the one definition of its shapes, scaling and one-hot labels."""

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from mnistry.errors import UsageError

_SHAPES = "(28, 28), (784,), (n, 28, 28), (n, 784), (n, 1, 28, 28) or (n, 28, 28, 1)"

Images = NDArray[np.uint8] | NDArray[np.floating]
"""uint8 0..255 or floats 0..1."""


def as_images(images: ArrayLike) -> Images:
    """Bring images of any accepted shape to the shape of MNIST's own arrays.

    Args:
        images: (28, 28), (784,), (n, 28, 28), (n, 784), (n, 1, 28, 28) or (n, 28, 28, 1); uint8
            0..255, or floats 0..1.

    Returns:
        (n, 28, 28) of the same dtype, sharing memory where it can; n is 1 for one image.

    Raises:
        UsageError: the shape or dtype is another, or a float lies outside 0..1 or is no number.
    """
    array = _checked(images)
    return array.reshape(-1, 28, 28)


def flatten(images: ArrayLike) -> Images:
    """Lay each image's rows end to end, for a network of dense layers.

    Args:
        images: as `as_images` takes them.

    Returns:
        (n, 784) of the same dtype, sharing memory where it can.

    Raises:
        UsageError: the images are not as `as_images` takes them.
    """
    return _checked(images).reshape(-1, 784)


def add_channel(images: ArrayLike) -> Images:
    """Give each image the axis of its one grey channel, for a convolutional network.

    Args:
        images: as `as_images` takes them.

    Returns:
        (n, 28, 28, 1) of the same dtype, sharing memory where it can.

    Raises:
        UsageError: the images are not as `as_images` takes them.
    """
    return _checked(images).reshape(-1, 28, 28, 1)


def scale(images: ArrayLike) -> NDArray[np.float32]:
    """Scale pixels to 0..1, bit for bit as `images.astype("float32") / 255`.

    Args:
        images: as `as_images` takes them; floats, being in 0..1 already, only become float32.

    Returns:
        float32 0..1 of the same shape.

    Raises:
        UsageError: the images are not as `as_images` takes them.
    """
    array = _checked(images)
    if array.dtype == np.uint8:
        return np.divide(array, np.float32(255), dtype=np.float32)
    return array.astype(np.float32, copy=False)


def one_hot(labels: ArrayLike, classes: int = 10) -> NDArray[np.float32]:
    """Turn labels into rows with a one at the label and zeros elsewhere.

    The values are those of `keras.utils.to_categorical`.

    Args:
        labels: (n,) integers 0..classes - 1.
        classes: the number of columns.

    Returns:
        (n, classes) float32, each 0 or 1.

    Raises:
        UsageError: a label is out of range, or the labels are not integers of shape (n,).
    """
    array = _as_array(labels, "labels", "integers of shape (n,)")
    if array.ndim != 1 or array.dtype.kind not in "iu" or classes < 1:
        raise UsageError(
            f"labels: are {array.dtype} of shape {array.shape} for {classes} classes, expected "
            "integers of shape (n,) and at least 1 class; one image's label goes in as [label]"
        )
    if array.size and not (array.min() >= 0 and array.max() < classes):
        raise UsageError(
            f"labels: go from {array.min()} to {array.max()}, expected 0 to {classes - 1}; raise "
            "`classes`, or number the labels from 0"
        )
    rows: NDArray[np.float32] = np.eye(classes, dtype=np.float32)[array]
    return rows


def _as_array(values: ArrayLike, what: str, expected: str) -> NDArray[Any]:
    try:
        return np.asarray(values)
    except Exception as error:  # ragged lists; tensors that numpy cannot take
        raise UsageError(f"{what}: make no array ({error}); expected {expected}") from error


def _checked(images: ArrayLike) -> Images:
    """Pass on the images if their shape, dtype and range are among those accepted."""
    array = _as_array(images, "images", _SHAPES)
    match array.shape:
        case (28, 28) | (784,) | (_, 28, 28) | (_, 784) | (_, 1, 28, 28) | (_, 28, 28, 1):
            pass
        case shape:
            raise UsageError(f"images: have shape {shape}, expected {_SHAPES}; reshape them")
    if array.dtype == np.uint8:
        return array
    if array.dtype.kind != "f":
        raise UsageError(
            f"images: are {array.dtype}, expected uint8 0..255 or floats 0..1; pixels 0..255 "
            'become uint8 by .astype("uint8")'
        )
    if np.isnan(array).any():
        raise UsageError("images: hold NaN, which is no number; expected floats 0..1")
    if array.size and not (array.min() >= 0 and array.max() <= 1):
        raise UsageError(
            f"images: are {array.dtype} from {array.min()} to {array.max()}, expected 0 to 1; "
            "divide pixels 0..255 by 255"
        )
    return array
