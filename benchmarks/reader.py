"""Reads pages, scans and MNIST with the reader that comes with Mnistry, beside the usual recipe.

    python benchmarks/reader.py --swiss FOLDER

The usual recipe is what a tutorial ends with: the crop of a digit, inverted and resized to 28 x 28,
given to the tutorial's CNN (`datumo-cnn`, trained here once and kept in `--out`). On pages it is
given the true boxes, as it has no way to find any. Pages are written by pen, by writers whom no
training has seen; all Swiss writers were seen by the shipped reader, so for writers that were not,
see benchmarks/train_reader.py. Linux only.
"""

import argparse
import gc
import os
import shlex
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

import machine
import mnistry
from measure import measure
from mnistry.page import find_one
from mnistry.pen.paper import write_sheet
from mnistry.picture import read_picture
from mnistry.reader import Reader
from mnistry.reading import read_files
from mnistry.runfolder import WEIGHTS

KINDS: dict[str, dict[str, Any]] = {
    "plain paper": {},
    "ruled paper": {"paper": "ruled"},
    "squared paper": {"paper": "squared"},
    "boxes": {"paper": "boxed"},
    "boxes that adjoin": {"paper": "comb"},
    "fine pen": {"pen": "fine"},
    "pencil": {"pen": "pencil"},
    "fountain pen": {"pen": "fountain"},
    "marker": {"pen": "marker"},
    "uneven light": {"light": 1.0},
    "a shadow": {"shadow": 0.5},
    "noise": {"noise": 12.0},
    "specks of dirt": {"specks": 3.0},
    "white on black": {"dark": True},
    "turned by 3 degrees": {"tilt": 3.0},
    "14 pixels tall": {"height": 14, "noise": 1.0},
    "30 pixels tall": {"height": 30},
    "400 pixels tall": {"height": 400},
    "pencil on ruled paper": {"paper": "ruled", "pen": "pencil"},
    "squared paper, turned by 2 degrees": {"paper": "squared", "tilt": 2.0},
    "boxes, turned by -2 degrees": {"paper": "boxed", "tilt": -2.0},
}
PAIRS: dict[str, Any] = {"touching": 1.0}

UInt8s = NDArray[np.uint8]
Usual = Callable[[Sequence[UInt8s]], NDArray[np.intp]]


@dataclass
class Count:
    """How many digits there were, and what became of them."""

    digits: int = 0
    found: int = 0
    right: int = 0
    invented: int = 0
    usual: int = 0

    def row(self, name: str) -> str:
        """Its line of the table."""
        shares = [self.right, self.found, self.invented, self.usual]
        return (
            f"| {name} | {self.digits:,} | "
            + " | ".join(f"{100 * share / self.digits:.1f}" for share in shares)
            + " |"
        )


def main() -> None:
    """Runs the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--swiss", type=Path, default=os.environ.get("MNISTRY_SWISS"))
    parser.add_argument("--pages", type=int, default=120, help="of each kind [%(default)s]")
    parser.add_argument("--out", type=Path, default=Path("runs/reader"), help="[%(default)s]")
    options = parser.parse_args()
    reader = Reader()
    usual = usual_recipe(options.out / "usual")
    print(
        f"mnistry {mnistry.__version__}, {machine.cpu_model()}, {machine.cores()} cores; by: "
        f"{shlex.join(['python', *sys.argv])}\n\n"
        "| pages | digits | read right, % | found, % | invented, % | usual recipe, % |\n"
        "|---|--:|--:|--:|--:|--:|"
    )
    for name, how in KINDS.items():
        print(count(reader, usual, options.pages, long_rows, how).row(name), flush=True)
    print(count(reader, usual, options.pages, pairs, PAIRS).row("two digits that touch"))
    print("\n| digits | images | reader, % | usual recipe, % |\n|---|--:|--:|--:|")
    test = mnistry.load_dataset("mnist").test
    answers = reader.classify(test.images).argmax(1)
    on_paper = [np.invert(image) for image in test.images]
    print(line("MNIST, test", test.labels, answers, usual(on_paper)))
    if options.swiss:
        paths = sorted(options.swiss.glob("*/?/*.png"))
        labels = np.array([int(path.parts[-2]) for path in paths])
        crops = [read_picture(path) for path in paths]
        read = [reader.read(crop, single=True).digits[0] for crop in crops]
        answers = np.array([digit.probabilities.argmax() for digit in read])
        print(line("Swiss scans, seen in training", labels, answers, usual(crops)))
        speed(reader, paths)


def usual_recipe(folder: Path) -> Usual:
    """What a tutorial ends with: resize, invert, predict."""
    if (folder / WEIGHTS).exists():
        run = mnistry.load_run(folder)
    else:
        run = mnistry.train("datumo-cnn", out=folder)

    def read(crops: Sequence[UInt8s]) -> NDArray[np.intp]:
        small = [
            cv2.resize(np.invert(crop), (28, 28), interpolation=cv2.INTER_AREA) for crop in crops
        ]
        answers: NDArray[np.intp] = run.predict(np.stack(small).astype(np.uint8)).argmax(1)
        return answers

    return read


def long_rows(rng: np.random.Generator) -> list[str]:
    """Some rows of digits."""
    return ["".join(map(str, rng.integers(0, 10, rng.integers(3, 11)))) for _ in range(4)]


def pairs(rng: np.random.Generator) -> list[str]:
    """Rows of two."""
    return ["".join(map(str, rng.integers(0, 10, 2))) for _ in range(10)]


def count(
    reader: Reader,
    usual: Usual,
    pages: int,
    rows: Callable[[np.random.Generator], list[str]],
    how: dict[str, Any],
) -> Count:
    """Reads pages of one kind."""
    total = Count()
    for seed in range(pages):
        sheet = write_sheet(rows(np.random.default_rng(seed)), seed=900 + seed, **how)
        digits = reader.read(sheet.image).digits
        numbers = sheet.match([digit.box for digit in digits]).tolist()
        found = [(digit.label, n) for digit, n in zip(digits, numbers, strict=True) if n >= 0]
        total.digits += len(sheet.labels)
        total.found += len(found)
        total.right += sum(label == sheet.labels[n] for label, n in found)
        total.invented += len(digits) - len(found)
        paper = np.invert(sheet.image) if how.get("dark") else sheet.image
        crops = [paper[y : y + h, x : x + w] for x, y, w, h in sheet.boxes]
        total.usual += int((usual(crops) == sheet.labels).sum())
    return total


def line(name: str, labels: NDArray[Any], answers: NDArray[Any], usual: NDArray[Any]) -> str:
    """A line of the table of digits."""
    shares = [100 * (read == labels).mean() for read in (answers, usual)]
    return f"| {name} | {len(labels):,} | " + " | ".join(f"{s:.2f}" for s in shares) + " |"


def speed(reader: Reader, paths: Sequence[Path]) -> None:
    """Prints how long a process, a crop and a sheet take."""
    print("\n| speed | |\n|---|--:|")
    command = [sys.executable, "-m", "mnistry", "predict", str(paths[0])]
    ended = [measure(command, Path.cwd(), os.environ, timeout=60) for _ in range(7)]
    wall = statistics.median(each.wall_seconds for each in ended)
    memory = statistics.median(each.peak_memory_mib for each in ended)
    print(f"| `mnistry predict one.png`, whole process | {wall:.2f} s, {memory:.0f} MiB |")
    one = Reader(threads=1)
    crop = cv2.resize(read_picture(paths[0]), (100, 100))
    one.read(crop, single=True)
    times = [seconds(lambda: one.read(crop, single=True)) for _ in range(200)]
    print(f"| a crop of 100 x 100 pixels, in process | {1000 * statistics.median(times):.2f} ms |")
    gc.collect()
    gc.freeze()  # looking through all that PyTorch has imported is no part of reading
    taken = [seconds(lambda: list(read_files(reader, paths, single=True))) for _ in range(9)]
    print(f"| crops from PNG files | {len(paths) / statistics.median(taken):,.0f} a second |")
    with tempfile.TemporaryDirectory() as folder:
        path, cells = large_sheet(Path(folder), [read_picture(path) for path in paths])
        found = len(reader.read(path).digits)
        times = [seconds(lambda: reader.read(path)) for _ in range(3)]
    print(
        f"| a grey PNG of 4,962 x 7,014 pixels, {cells:,} digits ({found:,} found) | "
        f"{statistics.median(times):.2f} s |"
    )


def large_sheet(folder: Path, scans: Sequence[UInt8s]) -> tuple[Path, int]:
    """A scanned sheet with a digit in each of its cells, over a thousand; how many there are."""
    rng = np.random.default_rng(0)
    sheet = rng.normal(240, 3, (7014, 4962)).clip(0, 255).astype(np.uint8)
    cells = [(x, y) for y in range(150, 6800, 200) for x in range(150, 4700, 150)]
    for (x, y), scan in zip(cells, scans, strict=False):
        piece = find_one(scan)
        assert piece is not None, "a blank scan"
        height, width = piece.ink.shape
        cell = sheet[y : y + height, x : x + width]
        np.minimum(cell, np.invert(piece.ink), out=cell)
    path = folder / "sheet.png"
    cv2.imwrite(str(path), sheet)
    return path, min(len(cells), len(scans))


def seconds(work: Callable[[], object]) -> float:
    """How long it takes."""
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


if __name__ == "__main__":
    main()
