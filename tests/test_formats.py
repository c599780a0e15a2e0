"""mnistry.formats: a data set of the user's own, in each form that it may have."""

import gzip
import os
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from mirror_server import NAMES, make_arrays, npz_bytes
from mnistry.errors import DataError
from mnistry.formats import DIGITS, read_own
from mnistry.idx import format_idx

ARRAYS = make_arrays()
TRAIN = {key: array for key, array in ARRAYS.items() if "train" in key}


def assert_read(path: Path, expected: dict[str, np.ndarray] = ARRAYS) -> None:
    arrays, classes = read_own(path)
    assert classes == DIGITS
    assert arrays.keys() == expected.keys()
    for key, array in expected.items():
        np.testing.assert_array_equal(arrays[key], array, strict=True)


class TestIdx:
    @pytest.mark.parametrize("compress", [bytes, gzip.compress])
    def test_a_folder(self, tmp_path: Path, compress) -> None:
        for key, array in ARRAYS.items():
            (tmp_path / NAMES[key]).write_bytes(compress(format_idx(array)))
        assert_read(tmp_path)

    def test_one_is_missing(self, tmp_path: Path) -> None:
        (tmp_path / NAMES["x_train"]).write_bytes(format_idx(ARRAYS["x_train"]))
        with pytest.raises(DataError, match="has no train-labels-idx1-ubyte, t10k-images"):
            read_own(tmp_path)


class TestNpz:
    @pytest.mark.parametrize("dtype", [np.uint8, np.int64, ">u2"])
    def test_integers(self, tmp_path: Path, dtype) -> None:
        path = tmp_path / "mine.npz"
        path.write_bytes(npz_bytes({key: array.astype(dtype) for key, array in ARRAYS.items()}))
        assert_read(path)

    @pytest.mark.parametrize("value", [-1, 256, 0.5])
    def test_other_values(self, tmp_path: Path, value: float) -> None:
        path = tmp_path / "mine.npz"
        path.write_bytes(npz_bytes(ARRAYS | {"x_test": np.full((2, 28, 28), value)}))
        with pytest.raises(DataError, match=r"mine.npz: x_test is .*, expected integers 0 to 255"):
            read_own(path)


def write_classes(
    folder: Path, images: np.ndarray, labels: np.ndarray, names=DIGITS, form: str = "png"
) -> None:
    for index, (image, label) in enumerate(zip(images, labels, strict=True)):
        path = folder / names[label] / f"{index:03}.{form}"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image).save(path)


def by_class(part: str) -> dict[str, np.ndarray]:
    """Give the arrays in the order in which folders are read, each image with a dark border."""
    images, labels = ARRAYS[f"x_{part}"].copy(), ARRAYS[f"y_{part}"]
    images[:, [0, -1]] = images[:, :, [0, -1]] = 0
    order = np.argsort(labels, kind="stable")
    return {f"x_{part}": images[order], f"y_{part}": labels[order]}


class TestClassFolders:
    @pytest.mark.parametrize("names", [("train", "test"), ("training", "testing")])
    def test_two_parts(self, tmp_path: Path, names: tuple[str, str]) -> None:
        for part, name in zip(("train", "test"), names, strict=True):
            arrays = by_class(part)
            write_classes(tmp_path / name, arrays[f"x_{part}"], arrays[f"y_{part}"])
        (tmp_path / names[0] / ".DS_Store").touch()
        (tmp_path / names[0] / "0" / ".DS_Store").touch()
        assert_read(tmp_path, by_class("train") | by_class("test"))

    def test_one_part(self, tmp_path: Path) -> None:
        arrays = by_class("train")
        write_classes(tmp_path / "bare", arrays["x_train"], arrays["y_train"])
        assert_read(tmp_path / "bare", arrays)
        write_classes(tmp_path / "one" / "train", 255 - arrays["x_train"], arrays["y_train"])
        assert_read(tmp_path / "one", arrays)

    def test_some_digits_keep_their_labels(self, tmp_path: Path) -> None:
        write_classes(tmp_path, np.zeros((2, 28, 28), np.uint8), np.array([7, 3]))
        arrays, classes = read_own(tmp_path)
        assert classes == DIGITS
        assert arrays["y_train"].tolist() == [3, 7]

    def test_other_classes_are_numbered_by_name(self, tmp_path: Path) -> None:
        write_classes(tmp_path, np.zeros((3, 28, 28), np.uint8), np.arange(3), ("b", "10", "a"))
        arrays, classes = read_own(tmp_path)
        assert classes == ("10", "a", "b")
        assert arrays["y_train"].tolist() == [0, 1, 2]

    def test_progress(self, tmp_path: Path) -> None:
        for part in ("train", "test"):
            arrays = by_class(part)
            write_classes(tmp_path / part, arrays[f"x_{part}"], arrays[f"y_{part}"])
        told: list[tuple[int, int]] = []
        read_own(tmp_path, lambda done, total: told.append((done, total)))
        assert told == [(number, 42) for number in range(1, 43)]

    @pytest.mark.parametrize(
        ("name", "content", "said"),
        [
            ("train/3/notes.txt", b"notes", "is no readable image"),
            ("train/3/cut.png", b"\x89PNG\r\n\x1a\n", "is"),
            ("train/3/sub/x", b"", "cannot be read (Is a directory)"),
            ("test/x/x.png", b"", "is a class without training images, expected one of 0, 1, 2"),
        ],
    )
    def test_damage_names_the_file(
        self, tmp_path: Path, name: str, content: bytes, said: str
    ) -> None:
        for part in ("train", "test"):
            write_classes(tmp_path / part, np.zeros((10, 28, 28), np.uint8), np.arange(10))
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        with pytest.raises(DataError) as caught:
            read_own(tmp_path)
        assert str(caught.value).startswith(str(tmp_path / "/".join(name.split("/")[:2])))
        assert said in str(caught.value)

    def test_scans_of_any_size_are_made_as_mnists(self, tmp_path: Path) -> None:
        scan = np.full((90, 70), 230, np.uint8)
        scan[20:60, 30:36] = 40
        write_classes(tmp_path, scan[None], np.array([1]))
        arrays, _ = read_own(tmp_path)
        rows, columns = (np.flatnonzero(arrays["x_train"][0].max(axis)) for axis in (1, 0))
        assert len(rows) == 20
        assert 2 <= len(columns) <= 5

    def test_a_scan_without_ink(self, tmp_path: Path) -> None:
        write_classes(tmp_path, np.zeros((1, 32, 32), np.uint8), np.array([4]))
        with pytest.raises(DataError, match=r"4/000.png: has no ink, expected a digit"):
            read_own(tmp_path)

    def test_a_test_part_alone(self, tmp_path: Path) -> None:
        write_classes(tmp_path / "test", np.zeros((1, 28, 28), np.uint8), np.array([4]))
        with pytest.raises(DataError, match=r"train: cannot be read \(No such file"):
            read_own(tmp_path)

    def test_too_many_classes(self, tmp_path: Path) -> None:
        for number in range(257):
            (tmp_path / str(number)).mkdir()
        with pytest.raises(DataError, match="has 257 folders"):
            read_own(tmp_path)


def write_csv(
    path: Path, part: str, heading: str = "", end: str = "\n", encoding: str = "utf-8"
) -> None:
    table = np.column_stack((ARRAYS[f"y_{part}"], ARRAYS[f"x_{part}"].reshape(-1, 784)))
    rows = [",".join(map(str, row)) for row in table.tolist()]
    path.write_text(end.join([heading] * bool(heading) + rows) + end, encoding, newline="")


HEADING = "label," + ",".join(f"pixel{number}" for number in range(784))


class TestCsv:
    @pytest.mark.parametrize("heading", ["", HEADING])
    @pytest.mark.parametrize(
        "names", [("train.csv", "test.csv"), ("mnist_train.csv", "mnist_test.csv")]
    )
    def test_two_tables(self, tmp_path: Path, heading: str, names: tuple[str, str]) -> None:
        write_csv(tmp_path / names[0], "train", heading)
        write_csv(tmp_path / names[1], "test", heading)
        assert_read(tmp_path)

    @pytest.mark.parametrize(
        "options", [{"end": "\r\n"}, {"end": "\n\n"}, {"encoding": "utf-8-sig"}, {"end": "\r"}]
    )
    @pytest.mark.parametrize("heading", ["", HEADING])
    def test_one_table_of_any_make(self, tmp_path: Path, options: dict, heading: str) -> None:
        write_csv(tmp_path / "train.csv", "train", heading, **options)
        assert_read(tmp_path, TRAIN)

    def test_one_row(self, tmp_path: Path) -> None:
        (tmp_path / "train.csv").write_text("7" + ",0" * 784)
        arrays, _ = read_own(tmp_path)
        assert arrays["x_train"].shape == (1, 28, 28)
        assert arrays["y_train"].tolist() == [7]

    ROW = "7" + ",0" * 784 + "\n"

    @pytest.mark.parametrize(
        ("content", "said"),
        [
            ("", "has 0 rows"),
            ("\n\n \n", "has 3 rows, none of them a table's"),
            (HEADING, "has 1 rows, none of them a table's"),
            (HEADING + "\n\n", "has 2 rows, none of them a table's"),
            (ROW + ROW[:-3], "row 2 has 784 columns (Kaggle's test.csv has no labels"),
            (ROW * 3 + "1,2,3\n" + ROW, "row 4 has 3 columns"),
            (ROW + ROW.strip() + ",0\n", "row 2 has 786 columns"),
            (ROW + "\n" + ROW.replace("0", "256"), "row 3 has '256' in column 2"),
            (ROW + ROW.replace("0", "-1"), "row 2 has '-1' in column 2"),
            (ROW + ROW.replace("0", "0.5"), "row 2 has '0.5' in column 2"),
            (ROW + ROW.replace("7", "seven"), "row 2 has 'seven' in column 1"),
            (ROW + ROW.replace("7", ""), "row 2 has '' in column 1"),
            (ROW + ROW.replace("7", "٣"), "row 2 has '٣' in column 1"),
            (ROW + ROW.replace("7", "9" * 5000), "row 2 has '99999999999999999999' in column 1"),
            (ROW + "# a remark\n", "row 2 has '# a remark' in column 1"),
            (HEADING + "\n" + HEADING + "\n" + ROW, "row 2 has 'label' in column 1"),
            (ROW.replace(",", ";"), "none of them a table's"),
        ],
        ids=lambda value: ascii(value[-30:]),
    )
    def test_damage_names_the_row(self, tmp_path: Path, content: str, said: str) -> None:
        path = tmp_path / "train.csv"
        path.write_text(content, "utf-8")
        with pytest.raises(DataError) as caught:
            read_own(tmp_path)
        assert str(caught.value).startswith(f"{path}: ")
        assert said in str(caught.value)
        assert "expected a label and 784 pixels" in str(caught.value)

    def test_bytes_that_are_no_text(self, tmp_path: Path) -> None:
        (tmp_path / "train.csv").write_bytes(self.ROW.encode() + b"\xff\xfe,1\n")
        with pytest.raises(DataError, match="row 2 has"):
            read_own(tmp_path)

    def test_a_folder_of_that_name(self, tmp_path: Path) -> None:
        (tmp_path / "train.csv").mkdir()
        with pytest.raises(DataError, match=r"train.csv: cannot be read \(Is a directory\)"):
            read_own(tmp_path)

    def test_without_labels(self, tmp_path: Path) -> None:
        write_csv(tmp_path / "train.csv", "train", HEADING)
        (tmp_path / "test.csv").write_text(HEADING[6:] + "\n" + self.ROW[2:])
        with pytest.raises(DataError, match=r"test.csv: row 2 has 784 columns \(Kaggle's"):
            read_own(tmp_path)


class TestNothing:
    @pytest.mark.parametrize("name", ["missing", "n" * 5000, "text.txt", "train.csv"])
    def test_no_data_set(self, tmp_path: Path, name: str) -> None:
        for file in ("text.txt", "train.csv"):
            (tmp_path / file).write_text("text")
        with pytest.raises(DataError) as caught:
            read_own(tmp_path / name)
        assert str(caught.value).startswith(str(tmp_path / name))
        assert "expected a folder of IDX files" in str(caught.value)
        assert "the name of a public data set: mnist" in str(caught.value)

    def test_an_empty_folder(self, tmp_path: Path) -> None:
        with pytest.raises(DataError, match=f"{tmp_path}: has 0 folders of images"):
            read_own(tmp_path)

    def test_a_pipe(self, tmp_path: Path) -> None:
        os.mkfifo(tmp_path / "pipe.npz")
        with pytest.raises(DataError, match="is a file of another kind"):
            read_own(tmp_path / "pipe.npz")


cells = st.sampled_from(
    ["0", "7", "255", "256", "-1", " 3 ", "", "x", "1e2", "\0", "1_0", "'", '"']
)


@settings(max_examples=60)
@given(
    text=st.text(max_size=40)
    | st.lists(
        st.lists(cells, max_size=3).map(lambda row: ",".join(row) + ",0" * (785 - len(row))),
        max_size=4,
    ).map("\n".join)
)
def test_any_table_gives_arrays_or_an_error(
    tmp_path_factory: pytest.TempPathFactory, text: str
) -> None:
    folder = tmp_path_factory.getbasetemp() / "fuzzed-csv"
    folder.mkdir(exist_ok=True)
    (folder / "train.csv").write_bytes(text.encode("utf-8", "surrogatepass"))
    try:
        arrays, _ = read_own(folder)
    except DataError:
        return
    assert arrays["x_train"].shape == (len(arrays["y_train"]), 28, 28)
