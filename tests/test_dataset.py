"""mnistry.dataset: data sets in memory, their splits, and loading them by name or path."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from digits import make_digits
from mirror_server import make_arrays, npz_bytes
from mnistry.catalogue import MNIST, combined_sha256
from mnistry.dataset import Dataset, DataSplits, as_splits, load_data, load_dataset
from mnistry.errors import DataError, UsageError
from mnistry.idx import format_idx, idx_sha256

ARRAYS = make_arrays()


def numbered(labels: list[int] | np.ndarray) -> Dataset:
    """Make images that each carry their own number."""
    images = np.zeros((len(labels), 28, 28), np.uint8)
    number = np.arange(len(labels))
    images[:, 0, 0], images[:, 0, 1] = number % 256, number // 256
    return Dataset(images, np.asarray(labels, np.uint8))


def numbers(data: Dataset) -> list[int]:
    return (data.images[:, 0, 0] + 256 * data.images[:, 0, 1].astype(int)).tolist()


class TestDataset:
    def test_length_and_classes(self) -> None:
        data = numbered([3, 1, 4])
        assert len(data) == 3
        assert data.classes == tuple("0123456789")

    @pytest.mark.parametrize(
        ("images", "labels", "said"),
        [
            (np.zeros((2, 28, 28)), np.zeros(2, np.uint8), "images: are float64 of shape"),
            (np.zeros((2, 784), np.uint8), np.zeros(2, np.uint8), r"of shape \(2, 784\)"),
            (np.zeros((2, 28, 27), np.uint8), np.zeros(2, np.uint8), r"expected uint8 of \(n"),
            (np.zeros((2, 28, 28), np.uint8), np.zeros(2, int), "labels: are int64"),
            (np.zeros((2, 28, 28), np.uint8), np.zeros(3, np.uint8), r"\(3,\) for 2 images"),
            (np.zeros((2, 28, 28), np.uint8), np.zeros((2, 1), np.uint8), r"\(2, 1\) for 2"),
            (np.zeros((0, 28, 28), np.uint8), np.zeros(0, np.uint8), "at least one image"),
            (np.zeros((2, 28, 28), np.uint8), np.uint8([9, 10]), "index 1 is 10, expected 0 to 9"),
        ],
    )
    def test_what_it_refuses(self, images: np.ndarray, labels: np.ndarray, said: str) -> None:
        with pytest.raises(UsageError, match=said):
            Dataset(images, labels)

    def test_a_label_needs_its_class(self) -> None:
        with pytest.raises(UsageError, match="index 0 is 2, expected 0 to 1"):
            Dataset(np.zeros((1, 28, 28), np.uint8), np.uint8([2]), ("a", "b"))


class TestSplit:
    @settings(max_examples=50)
    @given(st.lists(st.integers(0, 9), min_size=2, max_size=300), st.integers(0, 2**32), st.data())
    def test_is_stratified_and_loses_nothing(
        self, labels: list[int], seed: int, data: st.DataObject
    ) -> None:
        whole = numbered(labels)
        validation = data.draw(st.integers(1, len(labels) - 1))
        rest, aside = whole.split(validation, seed)
        assert len(aside) == validation
        assert sorted(numbers(rest) + numbers(aside)) == list(range(len(labels)))
        for part in (rest, aside):
            assert numbers(part) == sorted(numbers(part))
            np.testing.assert_array_equal(part.labels, whole.labels[numbers(part)])
            assert part.classes == whole.classes
        share = np.bincount(labels, minlength=10) * validation / len(labels)
        assert (np.abs(np.bincount(aside.labels, minlength=10) - share) < 1 + 1e-9).all()

    def test_the_seed_decides(self) -> None:
        whole = numbered(np.arange(1000) % 10)
        first, again, other = (numbers(whole.split(100, seed)[1]) for seed in (1, 1, 2))
        assert first == again
        assert len(set(first) & set(other)) < 30

    def test_every_image_has_its_chance(self) -> None:
        whole = numbered([0] * 5 + [1] * 15)
        drawn = np.bincount(
            [number for seed in range(400) for number in numbers(whole.split(4, seed)[1])]
        )
        assert len(drawn) == 20
        assert drawn.min() > 40  # 80 expected

    @pytest.mark.parametrize("validation", [-1, 0, 3, 4])
    def test_out_of_range(self, validation: int) -> None:
        with pytest.raises(UsageError, match=f"validation: is {validation}, expected 1 to 2"):
            numbered([1, 2, 3]).split(validation, 0)


class TestHash:
    def test_follows_the_contents_only(self, tmp_path: Path) -> None:
        paths = [tmp_path / "a.npz", tmp_path / "b.npz"]
        for path in paths:
            path.write_bytes(npz_bytes(ARRAYS))
        first, second = (load_dataset(path).sha256 for path in paths)
        assert first == second == combined_sha256(idx_sha256(array) for array in ARRAYS.values())

    @pytest.mark.parametrize("key", ARRAYS)
    def test_any_change_shows(self, tmp_path: Path, key: str) -> None:
        changed = {name: array.copy() for name, array in ARRAYS.items()}
        changed[key].flat[-1] ^= 1
        hashes = set()
        for arrays in (ARRAYS, changed):
            (tmp_path / "a.npz").write_bytes(npz_bytes(arrays))
            hashes.add(load_dataset(tmp_path / "a.npz").sha256)
        assert len(hashes) == 2

    def test_a_known_hash_is_the_real_one(self, mnist_dir: Path) -> None:
        splits = load_dataset("mnist", mnist_dir)
        assert splits.sha256 == MNIST.sha256
        assert DataSplits(splits.train, splits.test, "", "").sha256 == MNIST.sha256


class TestLoadDataset:
    def test_from_a_path(self, tmp_path: Path) -> None:
        path = tmp_path / "mine.npz"
        path.write_bytes(npz_bytes(ARRAYS))
        splits = load_dataset(path)
        np.testing.assert_array_equal(splits.train.images, ARRAYS["x_train"])
        np.testing.assert_array_equal(splits.test.labels, ARRAYS["y_test"])
        assert (splits.name, splits.origin) == ("mine.npz", str(path))

    def test_a_seventh_is_set_aside_where_there_is_no_test_part(self, tmp_path: Path) -> None:
        for index in range(70):
            image = np.zeros((28, 28), np.uint8)
            image[9, 9] = index + 1
            path = tmp_path / str(index % 10) / f"{index}.png"
            path.parent.mkdir(exist_ok=True)
            Image.fromarray(image).save(path)
        splits = load_dataset(tmp_path)
        assert (len(splits.train), len(splits.test)) == (60, 10)
        assert splits.test.labels.tolist() == list(range(10))
        both = [*splits.train.images[:, 9, 9], *splits.test.images[:, 9, 9]]
        assert sorted(both) == list(range(1, 71))
        np.testing.assert_array_equal(load_dataset(tmp_path).test.images, splits.test.images)

    def test_one_image_cannot_be_split(self, tmp_path: Path) -> None:
        (tmp_path / "3").mkdir()
        Image.new("L", (28, 28)).save(tmp_path / "3" / "x.png")
        with pytest.raises(DataError, match="has one image"):
            load_dataset(tmp_path)

    @pytest.mark.parametrize(
        ("change", "said"),
        [
            ({"x_test": np.zeros((12, 32, 32), np.uint8)}, "test images: are uint8 of shape"),
            ({"y_train": np.zeros(29, np.uint8)}, "train labels: are uint8 of shape"),
            ({"y_test": np.full(12, 11, np.uint8)}, "test labels: the one at index 0 is 11"),
        ],
    )
    def test_arrays_that_do_not_fit(self, tmp_path: Path, change: dict, said: str) -> None:
        path = tmp_path / "mine.npz"
        path.write_bytes(npz_bytes(ARRAYS | change))
        with pytest.raises(DataError, match=f"^{path}: {said}"):
            load_dataset(path)

    def test_an_unknown_name(self) -> None:
        with pytest.raises(DataError, match=r"mnits: does not exist; .* public data set: mnist"):
            load_dataset("mnits")

    def test_data_dir_goes_with_a_name_only(self, tmp_path: Path) -> None:
        with pytest.raises(UsageError, match="data_dir: goes with a public data set"):
            load_dataset(tmp_path, data_dir=tmp_path)


class TestRealSet:
    @pytest.mark.usefixtures("mnist_dir")
    def test_as_keras_gives_it(self) -> None:
        (x_train, y_train), (x_test, y_test) = load_data()
        assert [array.shape for array in (x_train, y_train, x_test, y_test)] == [
            (60000, 28, 28),
            (60000,),
            (10000, 28, 28),
            (10000,),
        ]
        for array, file in zip((x_train, y_train, x_test, y_test), MNIST.files, strict=True):
            assert array.dtype == np.uint8
            assert array.flags.writeable
            assert idx_sha256(array) == file.sha256

    def test_a_split_keeps_the_classes_shares(self, mnist_dir: Path) -> None:
        train = load_dataset("mnist", mnist_dir).train
        rest, aside = train.split(10_000, seed=0)
        assert (len(rest), len(aside)) == (50_000, 10_000)
        share = np.bincount(train.labels) / 6
        assert np.abs(np.bincount(aside.labels) - share).max() < 1

    def test_the_same_set_by_path(self, mnist_dir: Path, tmp_path: Path) -> None:
        splits = load_dataset("mnist", mnist_dir)
        for part, prefix in ((splits.train, "train"), (splits.test, "t10k")):
            (tmp_path / f"{prefix}-images.idx3-ubyte").write_bytes(format_idx(part.images))
            (tmp_path / f"{prefix}-labels.idx1-ubyte").write_bytes(format_idx(part.labels))
        assert load_dataset(tmp_path).sha256 == splits.sha256


@pytest.mark.parametrize("shape", [(-1, 784), (-1, 28, 28, 1), (-1, 1, 28, 28)])
def test_arrays_in_any_shape_and_range(shape: tuple[int, ...]) -> None:
    (x_train, y_train), test = make_digits(20, 10)
    scaled = (x_train.reshape(shape) / 255).astype(np.float32)
    for images in (x_train.reshape(shape), scaled):
        splits = as_splits(((images, y_train), test))
        np.testing.assert_array_equal(splits.train.images, x_train, strict=True)


def test_an_empty_name() -> None:
    with pytest.raises(UsageError, match="is empty"):
        load_dataset("")
