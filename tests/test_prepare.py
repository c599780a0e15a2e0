"""mnistry.prepare: what a network is fed."""

from pathlib import Path

import numpy as np
import pytest

from mnistry.errors import UsageError
from mnistry.prepare import add_channel, as_images, flatten, one_hot, scale

rng = np.random.default_rng(0)
BYTES = rng.integers(0, 256, (3, 28, 28), dtype=np.uint8)
SHAPES = [(28, 28), (784,), (3, 28, 28), (3, 784), (3, 1, 28, 28), (3, 28, 28, 1), (28, 784)]
EMPTY = [(0, 28, 28), (0, 784), (0, 1, 28, 28), (0, 28, 28, 1)]


@pytest.mark.parametrize("shape", SHAPES + EMPTY)
@pytest.mark.parametrize("dtype", [np.uint8, np.float16, np.float32, np.float64])
def test_every_accepted_shape_and_dtype(shape: tuple[int, ...], dtype) -> None:
    images = rng.integers(0, 2, shape).astype(dtype)
    for prepare, expected in (
        (as_images, (-1, 28, 28)),
        (flatten, (-1, 784)),
        (add_channel, (-1, 28, 28, 1)),
    ):
        prepared = prepare(images)
        np.testing.assert_array_equal(
            prepared, images.reshape(images.size // 784, *expected[1:]), strict=True
        )
        assert np.shares_memory(prepared, images) or not images.size
    assert scale(images).shape == shape
    assert scale(images).dtype == np.float32


@pytest.mark.parametrize(
    "shape",
    [
        *((), (0,), (28,), (785,), (28, 27), (27, 28), (3, 783)),
        *(
            (3, 28, 27),
            (28, 28, 1),
            (1, 1, 1, 784),
            (3, 3, 28, 28),
            (3, 28, 28, 3),
            (3, 2, 1, 28, 28),
        ),
    ],
)
@pytest.mark.parametrize("prepare", [as_images, flatten, add_channel, scale])
def test_other_shapes(shape: tuple[int, ...], prepare) -> None:
    with pytest.raises(UsageError) as caught:
        prepare(np.zeros(shape, np.uint8))
    assert f"have shape {shape}, expected (28, 28), (784,), (n, 28, 28)" in str(caught.value)


@pytest.mark.parametrize("dtype", [np.int64, np.int8, np.uint16, bool, complex, object, "U1"])
def test_other_dtypes(dtype) -> None:
    with pytest.raises(UsageError, match=r"expected uint8 0..255 or floats 0..1; .* astype|become"):
        as_images(np.zeros((28, 28), dtype))


@pytest.mark.parametrize("value", [-0.001, 1.001, 255.0, np.inf])
def test_other_ranges(value: float) -> None:
    images = np.zeros((2, 28, 28), np.float32)
    images[1, 3, 3] = value
    with pytest.raises(UsageError, match=r"images: are float32 from .* expected 0 to 1; divide"):
        scale(images)


def test_scaling_is_bit_for_bit_the_tutorials() -> None:
    every = np.tile(np.arange(256, dtype=np.uint8), 49).reshape(16, 784)
    np.testing.assert_array_equal(scale(every), every.astype("float32") / 255, strict=True)
    assert scale(every).min() == 0
    assert scale(every).max() == 1


def test_floats_pass_through() -> None:
    images = rng.random((2, 28, 28))
    np.testing.assert_array_equal(scale(images), images.astype(np.float32), strict=True)
    np.testing.assert_array_equal(scale(scale(BYTES)), scale(BYTES), strict=True)
    np.testing.assert_array_equal(flatten(scale(BYTES)), scale(flatten(BYTES)), strict=True)


def test_arguments_are_left_alone() -> None:
    images, floats = BYTES.copy(), rng.random((2, 784), np.float32)
    kept = floats.copy()
    scale(images)[:] = 0
    np.testing.assert_array_equal(images, BYTES)
    scale(floats)
    np.testing.assert_array_equal(floats, kept)
    images.flags.writeable = False
    assert flatten(images).shape == (3, 784)


class TestOneHot:
    def test_values(self) -> None:
        encoded = one_hot([1, 0, 3], classes=4)
        expected = np.array([[0, 1, 0, 0], [1, 0, 0, 0], [0, 0, 0, 1]], np.float32)
        np.testing.assert_array_equal(encoded, expected, strict=True)
        assert one_hot(np.array([9], np.uint8)).tolist() == [[0] * 9 + [1]]
        assert one_hot(np.array([], np.uint8)).shape == (0, 10)

    @pytest.mark.parametrize("labels", [[-1, 3], [0, 10]])
    def test_out_of_range(self, labels: list[int]) -> None:
        with pytest.raises(UsageError, match=r"labels: go from .* to .*, expected 0 to 9"):
            one_hot(labels)

    @pytest.mark.parametrize("labels", [3, [[1], [2]], [1.0], ["1"], [True], []])
    def test_no_labels(self, labels) -> None:
        with pytest.raises(UsageError, match=r"expected integers of shape \(n,\)"):
            one_hot(labels)

    def test_no_classes(self) -> None:
        with pytest.raises(UsageError, match="for 0 classes"):
            one_hot([0], classes=0)


def test_the_real_set(mnist_dir: Path) -> None:
    from mnistry.dataset import load_data

    (x_train, y_train), (x_test, _) = load_data("mnist", mnist_dir)
    assert flatten(x_train).shape == (60000, 784)
    np.testing.assert_array_equal(scale(x_test), x_test.astype("float32") / 255, strict=True)
    encoded = one_hot(y_train)
    assert encoded.shape == (60000, 10)
    assert (encoded.argmax(axis=1) == y_train).all()
    assert encoded.sum() == 60000


class Awkward:
    def __array__(self, *_: object, **__: object) -> None:
        raise RuntimeError("Can't call numpy() on Tensor that requires grad")


@pytest.mark.parametrize("values", [[[1, 2], [3]], Awkward()])
def test_what_makes_no_array(values) -> None:
    for prepare in (flatten, scale, one_hot):
        with pytest.raises(UsageError, match="make no array"):
            prepare(values)


def test_nan_is_named() -> None:
    with pytest.raises(UsageError, match="hold NaN"):
        scale(np.full((28, 28), np.nan))
