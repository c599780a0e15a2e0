"""`mnistry predict`: what digits images show."""

import os
import stat
import sys
from collections.abc import Generator, Iterator, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from mnistry.cli.answers import Answer, CsvRows, JsonLines, Output, Table
from mnistry.cli.console import DataDir, MinConfidence, Quiet, ReaderFile, progress, say, tell
from mnistry.cli.inputs import Found, find_images
from mnistry.cli.pictures import Pictures
from mnistry.errors import DataError, UsageError
from mnistry.files import is_named

if TYPE_CHECKING:
    from mnistry.picture import Picture
    from mnistry.reader import Reader
    from mnistry.run import Run

_MANY = 5  # images; fewer are read before a bar would be seen


def predict(
    images: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="IMAGE",
            help='Images, PDFs, folders of them, or a pattern such as "scans/*.png".',
        ),
    ] = None,
    single: Annotated[
        bool, typer.Option("--single", help="Each image is the crop of one digit.")
    ] = False,
    min_confidence: MinConfidence = None,
    draw: Annotated[
        Path | None,
        typer.Option(readable=False, metavar="DIR", help="Draw the images with their answers."),
    ] = None,
    show: Annotated[
        Path | None,
        typer.Option(readable=False, metavar="DIR", help="Draw what the network saw."),
    ] = None,
    reader: ReaderFile = None,
    run: Annotated[
        Path | None,
        typer.Option(readable=False, metavar="RUN", help="Read with the network of a run."),
    ] = None,
    index: Annotated[
        list[int] | None,
        typer.Option(min=0, metavar="N", help="Image N of the run's test set, too."),
    ] = None,
    data_dir: DataDir = None,
    json: Annotated[
        bool, typer.Option("--json", help="Print JSON: a line for each image.")
    ] = False,
    csv: Annotated[bool, typer.Option("--csv", help="Print CSV: a row for each digit.")] = False,
    quiet: Quiet = False,
) -> None:
    """Read the digits on scans, photos and drawings.

    All digits are found, line by line: dark on light or light on dark, of any size. For each it
    says how sure it is. An image that cannot be read is reported and the others are read; the exit
    code is then 3.

    In JSON and CSV, pages, lines and positions count from 0, and boxes are in pixels of the page.
    With --run, an image of 28 x 28 pixels is taken as it is, for one of the run's classes.

    \b
    mnistry predict scan.jpg --draw read
    mnistry predict forms letters.pdf --csv > digits.csv
    mnistry predict "crops/*.png" --single --min-confidence 0.95 --show seen
    mnistry predict --index 7 --run runs/fast-1
    """
    if json and csv:
        raise UsageError("--json and --csv: are given both, expected one of them")
    if reader and run:
        raise UsageError("--reader and --run: are given both, expected one of them")
    if index and run is None:
        raise UsageError("--index: is an image of a run's test set; name the run with --run RUN")
    if not images and not index:
        raise UsageError("there is nothing to predict: name image files, or folders of them")
    files = list(find_images(images or [], [folder for folder in (draw, show) if folder]))
    network = _Network.load(reader, run, min_confidence, single)
    tested = network.tested(index or [], data_dir, quiet)
    pictures = Pictures(draw, show, [name for name, _ in files])
    output: Output = JsonLines() if json else CsvRows() if csv else Table()
    failed = pages = False
    # answers that appear in the terminal show progress enough, and would run into a bar
    appear = (json or csv) and sys.stdout is not None and sys.stdout.isatty()
    try:
        with progress("reading", quiet or appear or len(files) < _MANY) as report:
            for done, (name, found, source) in enumerate(network.read_all(files), 1):
                try:
                    if isinstance(found, DataError):
                        raise found
                    output.add(found, pictures.add(found, source))
                    pages |= found.is_page
                except DataError as problem:
                    failed = True
                    output.fail(name, problem)
                report(done, len(files))
        for answer in tested:
            output.add(answer, pictures.add(answer, answer.reading.digits[0].image))
    finally:
        output.close()
    pictures.close()
    for number, line in enumerate(pictures.summary(drawn=not json and not csv)):
        if json or csv:
            tell(f"mnistry: {line}")
        else:
            say(line if number else f"\n{line}")
    if pages and not network.knows_none and not quiet:
        tell(
            "mnistry: this network knows nothing but digits, so all ink on a page is taken for some"
            "; the reader that comes with Mnistry, without --run and --reader, knows better"
        )
    if failed:
        raise typer.Exit(DataError.exit_code)


@dataclass(frozen=True, eq=False)
class _Network:
    """What reads: the reader that comes with Mnistry, another one, or a run."""

    reader: "Reader | None"  # None where a run's classes are no digits
    run: "Run | None"
    least: float  # confidence
    single: bool

    @property
    def knows_none(self) -> bool:
        """Whether it tells digits from what is none."""
        return self.reader is None or len(self.reader.network.classes) > len("0123456789")

    @classmethod
    def load(
        cls, file: Path | None, folder: Path | None, least: float | None, single: bool
    ) -> "_Network":
        """Loads a reader's file, or the run in a folder."""
        from mnistry.network import reads_digits
        from mnistry.reader import Reader

        if folder is None:
            return cls(Reader(file, min_confidence=least), None, least or 0.0, single)
        from mnistry.run import load_run

        run = load_run(folder)
        reader = Reader(run, min_confidence=least) if reads_digits(run) else None
        return cls(reader, run, least or 0.0, single)

    def read_all(
        self, files: Sequence[Found]
    ) -> Generator[tuple[str, Answer | DataError, "Picture"]]:
        """What images show, or why they cannot be read; each with its name and the image."""
        sources = [_openable(name) for name, _ in files]
        known = [
            (name, source)
            for (name, error), source in zip(files, sources, strict=True)
            if error is None
        ]
        with closing(self._read(known)) as answers:
            for (name, error), source in zip(files, sources, strict=True):
                yield name, error or next(answers), source

    def _read(self, images: Sequence[tuple[str, "str | bytes"]]) -> Generator[Answer | DataError]:
        from mnistry.reading import read_files

        if self.run is None:
            assert self.reader is not None
            sources = [source for _, source in images]
            with closing(read_files(self.reader, sources, single=self.single)) as readings:
                for (name, _), found in zip(images, readings, strict=True):
                    yield found if isinstance(found, DataError) else Answer(name, found)
            return
        for name, source in images:
            try:
                yield self._read_by_run(name, source)
            except DataError as error:
                yield error

    def _read_by_run(self, name: str, source: "str | bytes") -> Answer:
        from mnistry.picture import light_on_dark, read_pages

        assert self.run is not None
        with closing(read_pages(source)) as pages:
            page, *others = islice(pages, 2)
        if page.shape == (28, 28) and not others:
            if page.min() == page.max():
                raise DataError(f"{name}: is empty, all of one grey; expected a digit")
            return self._take(name, light_on_dark(page))
        if self.reader is None:
            size = f"{page.shape[1]} x {page.shape[0]} pixels"
            found = f"has several pages, the first of {size}" if others else f"is {size}"
            raise DataError(
                f"{name}: {found}, expected one page of 28 x 28: on others only digits are found, "
                f"and {self.run.path} reads {', '.join(self.run.classes):.60}; scale it, or leave "
                "out --run"
            )
        return Answer(name, self.reader.read(source, single=self.single))

    def tested(self, indices: list[int], data_dir: Path | None, quiet: bool) -> Iterator[Answer]:
        """What the run says of its test images with these numbers."""
        if self.run is None or not indices:
            return iter(())
        from mnistry.cli.results import load_test_data

        splits = load_test_data(self.run, None, data_dir, quiet)
        test = splits.test
        for index in indices:
            if index >= len(test):
                raise UsageError(f"--index {index}: expected 0 to {len(test) - 1}")
        return (
            self._take(f"{splits.name} test {i}", test.images[i], test.classes[test.labels[i]])
            for i in indices
        )

    def _take(self, name: str, image: Any, truth: str | None = None) -> Answer:
        """What the run says of an image of 28 x 28 pixels as it is."""
        from mnistry.reader import Digit, Reading

        assert self.run is not None
        found = self.run.predict(image)[0]
        digit = Digit.of(found, self.least, (0, 0, 28, 28), 0, 0, image)
        return Answer(name, Reading((digit,)), self.run.classes, is_page=False, truth=truth)


def _openable(name: str) -> "str | bytes":
    """An image's name; or what comes from a pipe, which can be read only once."""
    with suppress(OSError):  # what opens it then says what is wrong
        if not is_named(name) and stat.S_ISFIFO(os.stat(name).st_mode):
            from mnistry.picture import MAX_BYTES

            with open(name, "rb") as pipe:
                return pipe.read(MAX_BYTES + 1)
    return name
