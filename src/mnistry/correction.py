"""A reader held against what the user says is right, on the user's own handwriting."""

import csv
import io
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mnistry.errors import DataError
from mnistry.files import is_image, open_file
from mnistry.metrics import wilson_interval
from mnistry.reader import Digit, Reader, Reading
from mnistry.reading import read_files

_EXPECTED = (
    "expected a folder with a folder for each digit (5/*.png), or a CSV with an image and its "
    "digits in each row (scans/a.png,5989)"
)

UInt8s = NDArray[np.uint8]


@dataclass(frozen=True)
class Labelled:
    """An image, and the digits that are on it."""

    path: Path
    digits: str


@dataclass(frozen=True, eq=False)
class Answer:
    """What a reader made of one labelled image."""

    labelled: Labelled
    digits: tuple[Digit, ...]

    @property
    def text(self) -> str:
        """What it read, all lines in one; "?" for what it was not sure of."""
        return "".join(map(str, self.digits))

    @property
    def is_right(self) -> bool:
        """Whether all its digits are the label's."""
        return self.text == self.labelled.digits

    def aligned(self) -> list[tuple[Digit | None, str]]:
        """Each digit that was read with the label's that it is, so that they differ least.

        Returns:
            In reading order; None for what was not found, "" for what is none of the label's.
        """
        read, label = self.digits, self.labelled.digits
        # the fewest that are wrong of what is before each place (Levenshtein, 1966)
        cost = np.add.outer(np.arange(len(read) + 1), np.arange(len(label) + 1))
        for i, digit in enumerate(read):
            for j, letter in enumerate(label):
                both = cost[i, j] + (str(digit) != letter)
                cost[i + 1, j + 1] = min(both, cost[i, j + 1] + 1, cost[i + 1, j] + 1)
        pairs: list[tuple[Digit | None, str]] = []
        i, j = len(read), len(label)
        while i or j:
            if i and j and cost[i, j] == cost[i - 1, j - 1] + (str(read[i - 1]) != label[j - 1]):
                i, j = i - 1, j - 1
                pairs.append((read[i], label[j]))
            elif i and cost[i, j] == cost[i - 1, j] + 1:
                i -= 1
                pairs.append((read[i], ""))
            else:
                j -= 1
                pairs.append((None, label[j]))
        return pairs[::-1]

    @property
    def is_unsure(self) -> bool:
        """Whether it is not right, and said so: a digit is "?"."""
        return not self.is_right and "?" in self.text


@dataclass(frozen=True, eq=False)
class Correction:
    """What a reader made of all labelled images."""

    answers: tuple[Answer, ...]
    unread: tuple[DataError, ...] = ()

    @property
    def accuracy(self) -> float:
        """The share of images read right, 0..1; unsure is not right."""
        return sum(answer.is_right for answer in self.answers) / len(self.answers)

    @property
    def digits(self) -> tuple[int, int]:
        """How many of the labels' digits were read right, and how many there are."""
        pairs = [pair for answer in self.answers for pair in answer.aligned() if pair[1]]
        return sum(str(digit) == label for digit, label in pairs), len(pairs)

    @property
    def invented(self) -> int:
        """How many digits were read that are none of the labels'."""
        pairs = (pair for answer in self.answers for pair in answer.aligned())
        return sum(not label for _, label in pairs)

    @property
    def unsure(self) -> float:
        """The share of images that the reader was not sure of, 0..1."""
        return sum(answer.is_unsure for answer in self.answers) / len(self.answers)

    @property
    def interval(self) -> tuple[float, float]:
        """Where the accuracy lies with 95% confidence, for images such as these (Wilson)."""
        return wilson_interval(sum(a.is_right for a in self.answers), len(self.answers))

    @property
    def mistakes(self) -> tuple[Answer, ...]:
        """What was not read right, the surest first."""
        wrong = [answer for answer in self.answers if not answer.is_right]
        return tuple(sorted(wrong, key=lambda a: -min((d.confidence for d in a.digits), default=0)))

    def examples(self) -> tuple[UInt8s, UInt8s, NDArray[np.intp]]:
        """All digits whose label is known: (n, 28, 28) uint8 and (n,) uint8 labels; (n,) of whence.

        Where an image has several digits, those of images where as many were found as there are;
        blank images are none, and copies of an image count once. Whence is the number of the
        image, the same for digits of one.
        """
        numbers: dict[bytes, int] = {}
        taken: set[tuple[int, str]] = set()
        known: list[tuple[UInt8s, int, int]] = []
        for answer in self.answers:
            label = answer.labelled.digits
            seen = b"".join(digit.image.tobytes() for digit in answer.digits)
            number = numbers.setdefault(seen, len(numbers))
            if len(answer.digits) == len(label) and (number, label) not in taken:
                taken.add((number, label))
                known += [
                    (digit.image, int(its), number)
                    for digit, its in zip(answer.digits, label, strict=True)
                    if digit.image.any()
                ]
        images = np.array([image for image, _, _ in known], np.uint8).reshape(-1, 28, 28)
        labels, whence = ([each[i] for each in known] for i in (1, 2))
        return images, np.array(labels, np.uint8), np.array(whence, np.intp)

    def to_dict(self) -> dict[str, Any]:
        """The figures as JSON can hold them."""
        return {
            "images": len(self.answers),
            "accuracy": self.accuracy,
            "accuracy_interval_95": list(self.interval),
            "unsure": self.unsure,
            "digits": self.digits[1],
            "digits_right": self.digits[0],
            "digits_invented": self.invented,
            "unread": [str(error) for error in self.unread],
            "mistakes": [
                {"image": str(a.labelled.path), "label": a.labelled.digits, "text": a.text}
                for a in self.mistakes
            ],
        }


def read_labels(source: Path) -> list[Labelled]:
    """Read which digits are on which images.

    Args:
        source: A folder with a folder for each digit, of images of one such digit, other files
            being passed over; or a CSV file, its columns parted by commas or semicolons: in each
            row an image, its path as seen from the file, and its digits; with or without a row of
            headings.

    Raises:
        DataError: It is neither, names no image, or has a label that is not of digits.
    """
    try:
        found = list(_in_folders(source)) if source.is_dir() else _read_table(source)
    except (OSError, csv.Error, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise DataError(f"{source}: cannot be read ({reason}); {_EXPECTED}") from error
    if not found:
        raise DataError(f"{source}: names no labelled image; {_EXPECTED}")
    return found


def passed_over(source: Path) -> list[Path]:
    """The images in a folder that no digit's folder in it holds: `read_labels` takes them not."""
    if not source.is_dir():
        return []
    taken = {each.path for each in _in_folders(source)}
    images = (path for path in source.rglob("*") if is_image(path) and path not in taken)
    return sorted(path for path in images if path.is_file())


def _in_folders(source: Path) -> Iterator[Labelled]:
    for folder in sorted(path for path in source.iterdir() if path.is_dir()):
        if len(folder.name) == 1 and folder.name in "0123456789":
            for path in sorted(folder.iterdir()):
                if is_image(path) and path.is_file():
                    yield Labelled(path, folder.name)


def _read_table(source: Path) -> list[Labelled]:
    with open_file(source) as file:
        text = file.read().decode("utf-8-sig", errors="replace")
    first = text.partition("\n")[0]
    comma = ";" if ";" in first and "," not in first else ","  # as Excel has it in places
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=comma)
    rows = [(reader.line_num, row) for row in reader]
    found = []
    for number, (line, row) in enumerate(row for row in rows if row[1]):
        label = row[1].strip() if len(row) == 2 else ""
        image = source.parent / row[0].strip()
        if label.isascii() and label.isdecimal():
            found.append(Labelled(image, label))
        elif number or any(map(str.isdigit, label)) or is_image(image):  # no headings
            raise DataError(f"{source}: line {line} is {','.join(row)!r:.60}; {_EXPECTED}")
    return found


def correct(
    reader: Reader,
    labelled: Sequence[Labelled],
    progress: Callable[[int, int], object] | None = None,
) -> Correction:
    """Read labelled images.

    Args:
        reader: What reads them. An image with one digit is read as a crop of it.
        labelled: At least one.
        progress: Is told how many, of how many, have been read.

    Raises:
        DataError: Not one image can be read.
    """
    answers, unread = [], []
    readings: dict[int, Reading | DataError] = {}
    for single in (True, False):
        chosen = [n for n, each in enumerate(labelled) if (len(each.digits) == 1) == single]
        paths = [labelled[n].path for n in chosen]
        with closing(read_files(reader, paths, single=single)) as found:
            for n, reading in zip(chosen, found, strict=True):
                readings[n] = reading
                if progress:
                    progress(len(readings), len(labelled))
    for n, each in enumerate(labelled):
        reading = readings[n]
        if isinstance(reading, DataError):
            unread.append(reading)
        else:
            answers.append(Answer(each, reading.digits))
    if not answers:
        raise unread[0]
    return Correction(tuple(answers), tuple(unread))
