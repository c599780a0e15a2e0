"""Trains the reader that comes with Mnistry, and scores it on writers that it has not seen.

    python benchmarks/train_reader.py --swiss FOLDER --folds 4
    python benchmarks/train_reader.py --swiss FOLDER --folds 4 --write src/mnistry

It is taught on MNIST's training images, on what pen writes, and on the Swiss scans; with
`--sheets`, which the shipped one was not, on what is found on sheets of pen's, too. Each fold
leaves out a quarter of the Swiss writers and one or two of pen's seven kinds of what is no digit,
and is scored on those alone. Accuracy is given for all scans and without those of swiss_errors.csv,
whose label or crop is wrong, found by looking at the scans alone. The answers of all folds but to
those give the temperature, and the confidence from which at most one answer in 200 is wrong. The
reader is then trained in the same way on all of them, and scored once on MNIST's test images and on
scikit-learn's digits. The reader of two digits that touch is trained once, without the writers of
the first fold, and scored on pairs of their digits.
Runs stay in `--out`; a second call takes what lies there, so each set of options needs its own. It
needs scikit-learn beside Mnistry.
"""

import argparse
import csv
import json
import math
import os
import shlex
import sys
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from sklearn.datasets import load_digits
from sklearn.metrics import roc_auc_score

import machine
import mnistry
from mnistry import teaching
from mnistry.calibration import (
    at_temperature,
    calibration_error,
    fit_temperature,
    least_confidence,
)
from mnistry.dataset import Dataset, DataSplits
from mnistry.export import export_run
from mnistry.formats import read_own
from mnistry.metrics import mean_and_deviation
from mnistry.network import PAIRS, READER
from mnistry.normalise import normalise
from mnistry.pen import CLASSES, PenSet, Written, write
from mnistry.recipe import Recipe
from mnistry.runfolder import WEIGHTS

KINDS = (("letter",), ("cross", "stroke"), ("scribble", "line"), ("blot", "empty"))
"""What is no digit that each fold leaves out."""

Floats = NDArray[np.float32]
UInt8s = NDArray[np.uint8]


@dataclass(frozen=True)
class Sources:
    """Everything that there is to learn from, and to be scored on."""

    mnist: DataSplits
    pen: Written
    pen_test: Written
    sheets: list[Dataset]
    others: Written
    others_test: Written
    swiss: dict[str, Dataset]
    fine: dict[str, NDArray[np.bool_]]
    """Which of the Swiss scans are not in swiss_errors.csv."""


def main() -> None:
    """Runs it."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--swiss", type=Path, default=os.environ.get("MNISTRY_SWISS"), metavar="FOLDER")
    add("--folds", type=int, default=4, choices=range(1, len(KINDS) + 1), help="how many [4]")
    add("--epochs", type=int, default=teaching.RECIPE.epochs, help="[%(default)s]")
    add("--mnist", type=int, default=5, help="how often MNIST's images count [%(default)s]")
    add("--pen", type=int, default=200_000, help="images written by pen [%(default)s]")
    add("--sheets", type=int, default=0, help="hundreds of sheets of pen's, too [%(default)s]")
    add("--others", type=int, default=70_000, help="written others [%(default)s]")
    add("--pairs", type=int, default=40_000, help="of digits that touch [%(default)s]")
    add("--touching", type=int, default=300_000, help="pairs for their own reader [%(default)s]")
    add("--repeat", type=int, default=11, help="how often the Swiss scans count [%(default)s]")
    add("--out", type=Path, default=Path("runs/reader"), help="[%(default)s]")
    add("--write", type=Path, metavar="FOLDER", help="train on all, too, and write both readers")
    options = parser.parse_args()
    if not options.swiss:
        parser.error("name the folder of the Swiss scans: --swiss, or MNISTRY_SWISS")
    print(
        f"mnistry {mnistry.__version__}, {machine.cpu_model()}, {machine.cores()} cores; by: "
        f"{shlex.join(['python', *sys.argv])}\n",
        flush=True,
    )
    sources = gather(options)
    held = [fold(number, sources, options) for number in range(options.folds)]
    notes = summarise(held)
    if options.write:
        run = train("all", sources, set(), set(), options)
        print("all: " + elsewhere(run, sources))
        export(run, sources, notes, options.write / READER)
        pairs = train_pairs(sources, options)
        notes = score_pairs(pairs, sources)
        export(pairs, sources, notes, options.write / PAIRS)


def gather(options: argparse.Namespace) -> Sources:
    """Reads and writes all there is."""
    pen, pen_test = write(PenSet(options.pen, 10_000, options.pen // 10 + 1000, seed=1))
    others, others_test = write(PenSet(options.others, 7_000, 4_000, seed=2), what="others")
    with Path(__file__).with_name("swiss_errors.csv").open() as table:
        errors = {row["image"] for row in csv.DictReader(table)}
    swiss, fine = {}, {}
    for folder in sorted(path for path in options.swiss.iterdir() if path.is_dir()):
        arrays, _ = read_own(folder)
        swiss[folder.name] = Dataset(arrays["x_train"], arrays["y_train"])
        paths = sorted(folder.glob("?/*"))  # the order that they are read in
        names = [path.relative_to(options.swiss).as_posix() for path in paths]
        fine[folder.name] = np.array([name not in errors for name in names])
    return Sources(
        mnistry.load_dataset("mnist"),
        pen,
        pen_test,
        write_sheets(options.sheets),
        others,
        others_test,
        swiss,
        fine,
    )


def write_sheets(hundreds: int) -> list[Dataset]:
    """The digits that are found on sheets, each hundred with a seed of its own."""
    with ProcessPoolExecutor(
        machine.cores(), get_context("spawn"), cv2.setNumThreads, (1,)
    ) as pool:
        return list(pool.map(partial(teaching.on_sheets, 100), range(hundreds)))


def train(
    name: str, sources: Sources, writers: set[str], kinds: set[str], options: argparse.Namespace
) -> mnistry.Run:
    """Trains a reader without some writers and kinds, or takes it as it lies there."""
    folder, recipe = options.out / name, replace(teaching.RECIPE, epochs=options.epochs)
    if (known := trained(folder, recipe)) is not None:
        return known
    names = CLASSES["others"]
    others = sources.others.images[~np.isin(sources.others.labels, [names.index(k) for k in kinds])]
    swiss = [scans for writer, scans in sources.swiss.items() if writer not in writers]
    digits = [
        *[sources.mnist.train] * options.mnist,
        Dataset(sources.pen.images, sources.pen.labels),
        *sources.sheets,
        *swiss * options.repeat,
    ]
    taught = teaching.lessons(digits, others, options.pairs, seed=0)
    test = Dataset(sources.mnist.test.images, sources.mnist.test.labels, teaching.CLASSES)
    data = DataSplits(taught, test, "reader", "benchmarks/train_reader.py")
    run = mnistry.train(recipe, data=data, out=folder)
    print(f"{name}: {len(taught):,} images, {sum(e['seconds'] for e in run.history):.0f} s")
    return run


def trained(folder: Path, recipe: Recipe) -> mnistry.Run | None:
    """The run that lies there, if there is one; it has to be of the same recipe."""
    if not (folder / WEIGHTS).exists():
        return None
    run = mnistry.load_run(folder)
    if run.recipe != recipe.with_classes(len(run.classes)):
        sys.exit(f"{folder}: was trained in another way; delete it, or name another --out")
    return run


@dataclass(frozen=True)
class Held:
    """What one fold's reader made of what it had not seen."""

    probabilities: Floats  # (n, 11) of Swiss digits
    labels: UInt8s
    fine: NDArray[np.bool_]  # those that are not in swiss_errors.csv
    area: float  # under the ROC curve of these digits against what is none


def fold(number: int, sources: Sources, options: argparse.Namespace) -> Held:
    """Trains without some writers and kinds, and scores on those."""
    writers = fold_of(sources, number)
    kinds = set(KINDS[number])
    run = train(f"fold-{number}", sources, writers, kinds, options)
    images = np.concatenate([sources.swiss[name].images for name in sorted(writers)])
    labels = np.concatenate([sources.swiss[name].labels for name in sorted(writers)])
    fine = np.concatenate([sources.fine[name] for name in sorted(writers)])
    found = run.predict(images)
    of_kind = [CLASSES["others"].index(kind) for kind in kinds]
    none = run.predict(sources.others_test.images[np.isin(sources.others_test.labels, of_kind)])
    auc = area(found, none)
    right = found[:, :10].argmax(1) == labels
    print(
        f"fold {number}: writers {', '.join(sorted(writers))}: {right.mean():.2%} of "
        f"{len(labels):,}, {right[fine].mean():.2%} without those of swiss_errors.csv; "
        f"digits against {', '.join(sorted(kinds))}: AUC {auc:.4f}",
        flush=True,
    )
    return Held(found, labels, fine, auc)


def fold_of(sources: Sources, number: int) -> set[str]:
    """The writers that a fold leaves out."""
    return set(sorted(sources.swiss)[number :: len(KINDS)])


def area(digits: Floats, none: Floats) -> float:
    """Under the ROC curve of digits against what is none, by the probability of being a digit."""
    scores = np.concatenate([digits[:, :10].sum(1), none[:, :10].sum(1)])
    return float(roc_auc_score(np.arange(len(scores)) < len(digits), scores))


def elsewhere(run: mnistry.Run, sources: Sources) -> str:
    """The accuracy on MNIST's test images, scikit-learn's digits, and other written digits."""
    foreign = load_digits()
    small = [normalise(np.round(image * (255 / 16)).astype(np.uint8)) for image in foreign.images]
    sets: dict[str, tuple[UInt8s, Any]] = {
        "MNIST": (sources.mnist.test.images, sources.mnist.test.labels),
        "scikit-learn's 8x8": (np.stack(small), foreign.target),
        "pen": (sources.pen_test.images, sources.pen_test.labels),
    }
    return ", ".join(
        f"{name} {(run.predict(images)[:, :10].argmax(1) == labels).mean():.2%}"
        for name, (images, labels) in sets.items()
    )


def summarise(held: list[Held]) -> dict[str, str]:
    """Prints the means; gives the temperature and the least confidence, as notes of the file."""
    right = [h.probabilities[:, :10].argmax(1) == h.labels for h in held]
    mean, deviation = mean_and_deviation([100 * float(r.mean()) for r in right])
    fine, _ = mean_and_deviation(
        [100 * float(r[h.fine].mean()) for r, h in zip(right, held, strict=True)]
    )
    found = np.concatenate([h.probabilities for h in held])
    labels = np.concatenate([h.labels for h in held])
    known = np.concatenate([h.fine for h in held])  # a wrong label says nothing of confidence
    temperature = fit_temperature(labels[known], found[known])
    digits = at_temperature(found, temperature)[:, :10]
    answers, confidence = digits.argmax(1), digits.max(1)
    error, fine_error = (
        calibration_error(labels[some], answers[some], confidence[some])
        for some in (np.full(len(labels), True), known)
    )
    least = least_confidence(labels[known], answers[known], confidence[known], wrong=0.005)
    print(
        f"\nunseen Swiss writers, {len(held)} folds: {mean:.2f} ± {deviation:.2f}%, {fine:.2f}% "
        f"without those of swiss_errors.csv; digits against what is none, mean of the areas "
        f"{np.mean([h.area for h in held]):.4f}; temperature {temperature:.3f}, calibration "
        f"error {error:.2%}, {fine_error:.2%} without "
        f"those of swiss_errors.csv; from a confidence of {least:.3f} on, with one in 200 wrong, "
        f"{(confidence >= least).mean():.2%} are answered"
    )
    return {
        "temperature": f"{temperature:.4f}",
        "min_confidence": f"{math.ceil(1000 * least) / 1000}",
    }


def train_pairs(sources: Sources, options: argparse.Namespace) -> mnistry.Run:
    """Trains the reader of two digits that touch, or takes it as it lies there."""
    folder = options.out / "pairs"
    if (known := trained(folder, teaching.PAIR_RECIPE)) is not None:
        return known
    swiss = [
        sources.swiss[name] for name in sorted(sources.swiss) if name not in fold_of(sources, 0)
    ]
    digits = [
        *[sources.mnist.train] * 2,
        Dataset(sources.pen.images, sources.pen.labels),
        *swiss * 8,
    ]
    others = sources.others.images[: options.others * 3 // 7]
    taught = teaching.pair_lessons(digits, others, options.touching, seed=0)
    held = [sources.swiss[name] for name in sorted(fold_of(sources, 0))]
    test = pairs_of(held, sources, seed=5)
    data = DataSplits(taught, test, "pairs", "benchmarks/train_reader.py")
    return mnistry.train(teaching.PAIR_RECIPE, data=data, out=folder)


def pairs_of(digits: list[Dataset], sources: Sources, seed: int) -> Dataset:
    """Pairs of digits, and what is none, to score on."""
    return teaching.pair_lessons(digits, sources.others_test.images[:500], 4000, seed)


def score_pairs(run: mnistry.Run, sources: Sources) -> dict[str, str]:
    """Prints how many are read right; gives the temperature, as a note of the file."""
    swiss = [sources.swiss[name] for name in sorted(fold_of(sources, 0))]
    mnist, pen = sources.mnist.test, sources.pen_test
    sets = {
        "unseen Swiss writers": pairs_of(swiss, sources, 5),
        "pen": pairs_of([Dataset(pen.images, pen.labels)], sources, 6),
        "MNIST": pairs_of([Dataset(mnist.images, mnist.labels)], sources, 7),
    }
    found = {name: run.predict(taught.images) for name, taught in sets.items()}
    for name, taught in sets.items():
        right, pairs = found[name].argmax(1) == taught.labels, taught.labels < 100
        print(
            f"two digits that touch, {name}: {right[pairs].mean():.2%} of {pairs.sum():,} read "
            f"right, {right[~pairs].mean():.2%} of {(~pairs).sum():,} others known as none"
        )
    held = [name for name in sets if name != "MNIST"]
    labels = np.concatenate([sets[name].labels for name in held])
    temperature = fit_temperature(labels, np.concatenate([found[name] for name in held]))
    return {"temperature": f"{temperature:.4f}"}


def export(run: mnistry.Run, sources: Sources, notes: dict[str, str], path: Path) -> None:
    """Writes a reader's file."""
    test = sources.mnist.test
    new = path.with_suffix(".new.onnx")
    new.unlink(missing_ok=True)
    checked = Dataset(test.images, test.labels, run.classes)
    export_run(run, new, DataSplits(checked, checked, "mnist", "mnist"), notes=notes)
    new.replace(path)
    print(f"{path}: {path.stat().st_size:,} bytes, {json.dumps(notes)}")


if __name__ == "__main__":
    main()
