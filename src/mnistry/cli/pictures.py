"""What `mnistry predict` draws: images with their answers, and sheets of what the network saw."""

import os
from collections.abc import Iterator, Sequence
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING

from mnistry.cli.answers import Answer, how_sure
from mnistry.cli.console import make_folder, one_line
from mnistry.cli.inputs import real_path

if TYPE_CHECKING:
    from mnistry.draw.seen import Group
    from mnistry.picture import Picture
    from mnistry.reader import Digit

_ON_A_SHEET = 480  # digits; a line counts as four at least
_LINES = 60  # of one image that come together on a sheet
_LONGEST = 200  # bytes of an image's name in a picture's: a file's may have 255


class Pictures:
    """Where pictures go: never to the place of what is there, of an image, or of each other."""

    def __init__(self, draw: Path | None, show: Path | None, images: Sequence[str]) -> None:
        """Makes the folders.

        Args:
            draw: For images with their answers, if any.
            show: For sheets of what the network saw, if any.
            images: All that are read.

        Raises:
            StorageError: A folder cannot be made.
        """
        for folder, option in ((draw, "--draw"), (show, "--show")):
            if folder is not None:
                make_folder(folder, option)
        self._draw, self._show = draw, show
        self._taken = {_place(name) for name in images}
        self._numbers: dict[Path, int] = {}  # of each name's last picture
        self._seen: list[Group] = []
        self._count = 0
        self._drawn: list[Path] = []
        self._sheets: list[Path] = []

    def add(self, answer: Answer, source: "Picture") -> list[Path]:
        """Draws an image with its answers, and keeps what was seen on it for a sheet.

        Args:
            answer: What was read.
            source: The image.

        Returns:
            The pictures of this image.

        Raises:
            MnistryError: The image cannot be read again, or a picture not be written.
        """
        before = len(self._drawn)
        if self._draw is not None:
            stem = os.fsdecode(os.fsencode(Path(answer.name).stem)[:_LONGEST])
            draw = self._draw_pages if answer.is_page else self._draw_taken
            self._drawn += draw(answer, source, self._draw / stem.replace(" ", "-"))
        if self._show is not None:
            for group in _groups(answer):
                self._seen.append(group)
                is_single = [len(line) for line in group.lines] == [1]
                self._count += 1 if is_single else sum(max(4, len(x)) for x in group.lines or [()])
                if self._count >= _ON_A_SHEET:
                    self._draw_sheet(self._show)
        return self._drawn[before:]

    def close(self) -> None:
        """Draws the last sheet.

        Raises:
            StorageError: It cannot be written.
        """
        if self._show is not None and self._seen:
            self._draw_sheet(self._show)

    def summary(self, drawn: bool) -> Iterator[str]:
        """The sheets, and the images with their answers if `drawn`: a line of each."""
        images = self._drawn if drawn else []
        for what, paths in (("drawn", images), ("what the network saw", self._sheets)):
            if len(paths) == 1:
                yield f"{what}: {one_line(str(paths[0]))}"
            elif paths:
                yield f"{what}: {len(paths):,} pictures in {one_line(str(paths[0].parent))}"

    def _draw_pages(self, answer: Answer, source: "Picture", stem: Path) -> Iterator[Path]:
        from mnistry.draw.page import draw_page
        from mnistry.picture import read_pages

        for number, page in enumerate(read_pages(source)):
            digits = [digit for digit in answer.reading.digits if digit.page == number]
            path = self._free(Path(f"{stem}-page-{number + 1}-read" if number else f"{stem}-read"))
            boxes, answers = [digit.box for digit in digits], [_shown(answer, d) for d in digits]
            draw_page(page, boxes, answers, [digit.label is not None for digit in digits], path)
            yield path

    def _draw_taken(self, answer: Answer, _: "Picture", stem: Path) -> Iterator[Path]:
        from mnistry.draw import draw_prediction

        (digit,) = answer.reading.digits
        path, title, label = self._free(Path(f"{stem}-prediction")), answer.name, answer.truth
        values, classes = digit.probabilities, answer.classes
        draw_prediction(digit.image, values, path, label, one_line(title), classes)
        yield path

    def _draw_sheet(self, folder: Path) -> None:
        from mnistry.draw.seen import draw_seen

        path = self._free(folder / "seen")
        draw_seen(self._seen, path)
        self._sheets.append(path)
        self._seen, self._count = [], 0

    def _free(self, stem: Path) -> Path:
        """A PNG file's name that is not taken."""
        number = self._numbers.get(stem, 0)
        while True:
            number += 1
            path = Path(f"{stem}-{number}.png" if number > 1 else f"{stem}.png")
            if _place(path) not in self._taken and not path.is_file():
                self._numbers[stem] = number
                self._taken.add(_place(path))
                return path


def _place(path: str | Path) -> str:
    """What tells files apart, on file systems too that do not tell capitals from small letters."""
    return real_path(path).casefold()


def _shown(answer: Answer, digit: "Digit") -> str:
    """What a digit was read as; what it may be where that is not sure."""
    return answer.label(digit) or f"{answer.guess(digit)}?"


def _groups(answer: Answer) -> Iterator["Group"]:
    """What was seen on an image, in as many groups as it needs for no sheet to be too long."""
    from mnistry.draw.seen import Group, Tile

    pages = [list(page) for _, page in groupby(answer.reading.lines, lambda line: line[0].page)]
    for lines in pages or [[]]:
        page = lines[0][0].page if lines else 0
        name = f"{answer.name}, page {page + 1}" if page else answer.name
        for start in range(0, max(1, len(lines)), _LINES):
            tiles = [
                [Tile(d.image, _shown(answer, d), how_sure(d), d.label is not None) for d in line]
                for line in lines[start : start + _LINES]
            ]
            yield Group(name, tiles)
