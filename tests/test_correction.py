"""Tests of mnistry.correction: what the user says is right, beside what the reader said."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from mnistry.correction import Answer, Correction, Labelled, correct, passed_over, read_labels
from mnistry.errors import DataError
from mnistry.reader import Digit, Reader


class Counter:
    """Reads a digit by how much ink there is: a thin bar is a 1, a thick one perhaps a 0."""

    classes = tuple("0123456789")

    def predict(self, images: np.ndarray) -> np.ndarray:
        found = np.full((len(images), 10), 0.01, np.float32)
        thick = (images > 0).mean((1, 2)) > 0.12
        found[np.arange(len(images)), np.where(thick, 0, 1)] = np.where(thick, 0.6, 0.91)
        return found


def scan(path: Path, *widths: int) -> Path:
    """An image of bars in a row."""
    paper = np.full((60, 60 * len(widths)), 240, np.uint8)
    for place, wide in enumerate(widths):
        paper[10:50, 60 * place + 8 : 60 * place + 8 + wide] = 30
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(paper).save(path)
    return path


def test_a_folder_for_each_digit(tmp_path: Path) -> None:
    for name in ("1/a.png", "1/b.png", "0/c.png"):
        scan(tmp_path / name, 5)
    (tmp_path / "1" / ".hidden").touch()
    (tmp_path / "notes").mkdir()
    (tmp_path / "readme.txt").touch()
    others = [scan(tmp_path / name, 5) for name in ("12/d.png", "e.png", "x/f.png")]
    assert passed_over(tmp_path) == others
    assert passed_over(tmp_path / "readme.txt") == []
    found = read_labels(tmp_path)
    assert [(each.path.name, each.digits) for each in found] == [
        ("c.png", "0"),
        ("a.png", "1"),
        ("b.png", "1"),
    ]


@pytest.mark.parametrize("headings", ["", "image,label\r\n", "\ufeffimage,label\n"])
def test_a_table(tmp_path: Path, headings: str) -> None:
    table = tmp_path / "labels.csv"
    table.write_text(headings + 'scans/a.png,5989\n\n"with, comma.png", 7\n', encoding="utf-8")
    assert read_labels(table) == [
        Labelled(tmp_path / "scans/a.png", "5989"),
        Labelled(tmp_path / "with, comma.png", "7"),
    ]


def test_a_table_with_semicolons(tmp_path: Path) -> None:
    (tmp_path / "labels.csv").write_text("Bild;Ziffern\r\na.png;5\r\nb,c.png;31\r\n")
    found = read_labels(tmp_path / "labels.csv")
    assert found == [Labelled(tmp_path / "a.png", "5"), Labelled(tmp_path / "b,c.png", "31")]


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "names no labelled image"),
        (b"image,label\n", "names no labelled image"),
        (b"a.png,5\nb.png,five\n", r"line 2 is 'b.png,five'"),
        (b"a.png,5\nb.png\n", r"line 2 is 'b.png'"),
        (b"a.png,5\nb.png,5,6\n", r"line 2 is 'b.png,5,6'"),
        ("a.png,5\nb.png,٥\n".encode(), "line 2 is"),
        (b"a.png,31O\nb.png,5\n", "line 1 is 'a.png,31O'"),
        (b"a.jpg,\nb.png,5\n", "line 1 is 'a.jpg,'"),
        (b"a,5 6\nb.png,5\n", "line 1 is 'a,5 6'"),
    ],
)
def test_a_table_that_is_none(tmp_path: Path, content: bytes, said: str) -> None:
    table = tmp_path / "labels.csv"
    table.write_bytes(content)
    with pytest.raises(DataError, match=said) as caught:
        read_labels(table)
    assert "expected a folder" in str(caught.value)


def test_a_place_that_is_none(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"gone: cannot be read \(No such file"):
        read_labels(tmp_path / "gone")
    with pytest.raises(DataError, match="names no labelled image"):
        read_labels(tmp_path)


def test_what_was_right_and_what_was_not(tmp_path: Path) -> None:
    labelled = [
        Labelled(scan(tmp_path / "1.png", 5), "1"),
        Labelled(scan(tmp_path / "2.png", 5), "7"),
        Labelled(scan(tmp_path / "3.png", 14), "0"),
        Labelled(scan(tmp_path / "4.png", 5, 5, 5), "111"),
        Labelled(scan(tmp_path / "5.png", 5, 5), "1"),
    ]
    told: list[tuple[int, int]] = []
    found = correct(Reader(Counter(), min_confidence=0.8), labelled, lambda *n: told.append(n))
    assert [answer.is_right for answer in found.answers] == [True, False, False, True, True]
    assert [answer.is_unsure for answer in found.answers] == [False, False, True, False, False]
    assert found.accuracy == 0.6
    assert found.unsure == 0.2
    assert found.interval[0] < 0.6 < found.interval[1]
    assert [a.labelled.path.name for a in found.mistakes] == ["2.png", "3.png"]  # surest first
    assert told == [(n, 5) for n in range(1, 6)]
    images, labels, whence = found.examples()
    assert images.shape == (6, 28, 28)
    assert whence.tolist() == [0, 0, 1, 2, 2, 2]  # 2.png is 1.png with another label
    assert found.digits == (5, 7)
    assert found.invented == 0
    assert labels.tolist() == [1, 7, 0, 1, 1, 1]  # without 5.png, which looks as 1.png does
    assert found.to_dict()["mistakes"][0] == {
        "image": str(tmp_path / "2.png"),
        "label": "7",
        "text": "1",
    }


def test_what_was_not_found_is_no_example() -> None:
    digit = Digit(
        1, 0.9, np.zeros(10, np.float32), (0, 0, 1, 1), 0, 0, np.zeros((28, 28), np.uint8)
    )
    two = Answer(Labelled(Path("a"), "11"), (digit,))
    none = Answer(Labelled(Path("b"), "1"), ())
    found = Correction((two, none))
    assert found.examples()[0].shape == (0, 28, 28)
    assert found.accuracy == 0
    assert [a.labelled.path.name for a in found.mistakes] == ["a", "b"]


@pytest.mark.parametrize(
    ("read", "label", "pairs"),
    [
        ("123", "123", "11 22 33"),
        ("173", "123", "11 72 33"),
        ("13", "123", "11 -2 33"),
        ("23", "123", "-1 22 33"),
        ("1923", "123", "11 9- 22 33"),
        ("31415", "314159", "33 11 44 11 55 -9"),
        ("", "12", "-1 -2"),
        ("", "", ""),
    ],
)
def test_what_was_read_is_held_against_the_label(read: str, label: str, pairs: str) -> None:
    nothing = np.zeros(10, np.float32), (0, 0, 1, 1), 0, 0, np.zeros((28, 28), np.uint8)
    digits = tuple(Digit(int(letter), 0.9, *nothing) for letter in read)
    found = Answer(Labelled(Path("a"), label), digits).aligned()
    assert " ".join(f"{d or '-'}{x or '-'}" for d, x in found) == pairs


def test_what_is_none_of_the_labels_is_invented(tmp_path: Path) -> None:
    labelled = [Labelled(scan(tmp_path / "1.png", 5, 5, 5), "11")]
    found = correct(Reader(Counter(), min_confidence=0.8), labelled)
    assert found.digits == (2, 2)
    assert found.invented == 1
    assert found.to_dict()["digits_invented"] == 1


def test_blank_paper_is_no_example(tmp_path: Path) -> None:
    Image.new("L", (40, 40), 255).save(tmp_path / "blank.png")
    found = correct(Reader(Counter()), [Labelled(tmp_path / "blank.png", "1")])
    assert found.accuracy == 0
    assert found.examples()[0].shape == (0, 28, 28)


def test_images_that_cannot_be_read(tmp_path: Path) -> None:
    gone = Labelled(tmp_path / "gone.png", "1")
    found = correct(Reader(Counter()), [gone, Labelled(scan(tmp_path / "1.png", 5), "1"), gone])
    assert len(found.answers) == 1
    assert found.accuracy == 1
    assert ["No such file" in str(error) for error in found.unread] == [True, True]
    assert found.to_dict()["unread"] == [str(error) for error in found.unread]
    with pytest.raises(DataError, match="No such file"):
        correct(Reader(Counter()), [gone])
