"""Trains the reader that comes with Mnistry, and scores it on writers that it has not seen.

    python benchmarks/train_reader.py --swiss FOLDER --folds 4
    python benchmarks/train_reader.py --swiss FOLDER --folds 4 --write src/mnistry

It is taught on MNIST's training images, on what pen writes, on digits as they are found on sheets
of pen's, and on the Swiss scans. Each fold leaves out a quarter of the Swiss writers, a tenth of
MNIST's training images, and one or two of pen's seven kinds of what is no digit, and is scored on
those alone. What speaks for "none" counts a tenth less than training made it count: kinds of it
that were no lessons are told from digits better so. Accuracy is given for all scans and without
those of swiss_errors.csv, whose label or crop is wrong, found by looking at the scans alone. The
answers of all folds but to those give the temperature, and the confidence from which at most one
answer in 200 is wrong. The reader is then trained in the same way on all of them, and scored once
on MNIST's test images and on scikit-learn's digits. The reader of two digits that touch is trained
once, without the writers of the first fold, and scored on pairs of their digits, among others. Both
are written with weights and activations that are whole numbers of a byte, which takes half the time
to read and a quarter of the space. Runs stay in `--out`; a second call takes what lies there, so
each set of options needs its own. It needs scikit-learn beside Mnistry.
"""

import argparse
import csv
import json
import math
import os
import shlex
import sys
import tempfile
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from functools import cache, partial
from multiprocessing import get_context
from pathlib import Path

import cv2
import numpy as np
import onnx
import torch
from numpy.typing import NDArray
from onnxruntime.quantization import quantize_static
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
from mnistry.files import write_file
from mnistry.formats import read_own
from mnistry.metrics import mean_and_deviation
from mnistry.model import DenseLayer
from mnistry.network import PAIR_READER, READER, Network, OnnxNetwork
from mnistry.normalise import normalise
from mnistry.pen import CLASSES, PenSet, What, write
from mnistry.recipe import Recipe
from mnistry.runfolder import WEIGHTS

KINDS = (("letter",), ("cross", "stroke"), ("scribble", "line"), ("blot", "empty"))
"""What is no digit that each fold leaves out."""

_TENTH = 10  # of MNIST's training images a fold leaves out
_USUAL = 2000  # images of each set, by which the range of activations is found, and checked
_NONE_COUNTS = 0.9  # times as much as in training: none's logit
_SAME = 0.99  # of a file's answers, at least, are as before its numbers were made whole

Floats = NDArray[np.float32]
UInt8s = NDArray[np.uint8]


@dataclass(frozen=True)
class Sources:
    """Everything that there is to learn from, and to be scored on."""

    mnist: Dataset
    mnist_test: Dataset
    pen: Dataset
    pen_test: Dataset
    others: Dataset
    others_test: Dataset
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
    add("--mnist", type=int, default=12, help="how often MNIST's images count [%(default)s]")
    add("--pen", type=int, default=400_000, help="images written by pen [%(default)s]")
    add("--sheets", type=int, default=70, help="hundreds of sheets of pen's, too [%(default)s]")
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
        run = train("all", sources, options)
        print("all: " + elsewhere(run, sources))
        some = (sources.mnist, sources.pen, sources.others, *sources.swiss.values())
        usual = np.concatenate([each.images[:_USUAL] for each in some])
        export(run, usual, sources, notes, options.write / READER)
        print("as written: " + elsewhere(OnnxNetwork(options.write / READER, 0), sources))
        pairs = train_pairs(sources, options)
        notes = score_pairs(pairs, sources)
        usual = pairs_of([sources.mnist, sources.pen], sources, 8).images
        export(pairs, usual, sources, notes, options.write / PAIR_READER)


def gather(options: argparse.Namespace) -> Sources:
    """Reads and writes all there is."""
    mnist_ = mnistry.load_dataset("mnist")
    pen, pen_test = written(PenSet(options.pen, 10_000, options.pen // 10 + 1000, seed=1), "digits")
    others, others_test = written(PenSet(options.others, 7_000, 4_000, seed=2), "others")
    with Path(__file__).with_name("swiss_errors.csv").open() as table:
        errors = {row["image"] for row in csv.DictReader(table)}
    swiss, fine = {}, {}
    for folder in sorted(path for path in options.swiss.iterdir() if path.is_dir()):
        arrays, _ = read_own(folder)
        swiss[folder.name] = Dataset(arrays["x_train"], arrays["y_train"])
        paths = sorted(folder.glob("?/*"))  # the order that they are read in
        names = [path.relative_to(options.swiss).as_posix() for path in paths]
        fine[folder.name] = np.array([name not in errors for name in names])
    return Sources(mnist_.train, mnist_.test, pen, pen_test, others, others_test, swiss, fine)


def written(settings: PenSet, what: What) -> tuple[Dataset, Dataset]:
    """What pen writes, to learn from and to be scored on."""
    train, test = write(settings, what=what)
    return (
        Dataset(train.images, train.labels, CLASSES[what]),
        Dataset(test.images, test.labels, CLASSES[what]),
    )


@cache
def write_sheets(hundreds: int) -> list[Dataset]:
    """The digits that are found on sheets, each hundred with a seed of its own."""
    with ProcessPoolExecutor(
        machine.cores(), get_context("spawn"), cv2.setNumThreads, (1,)
    ) as pool:
        return list(pool.map(partial(teaching.on_sheets, 100), range(hundreds)))


def part(sources: Sources, number: int) -> tuple[Sources, Sources]:
    """What a fold learns from, and what it leaves out."""
    writers = set(sorted(sources.swiss)[number :: len(KINDS)])
    kinds = [CLASSES["others"].index(kind) for kind in KINDS[number]]
    mnist = np.arange(len(sources.mnist)) % _TENTH == number

    def of(is_held: bool) -> Sources:
        others, others_test = (
            digits.where(np.isin(digits.labels, kinds) == is_held)
            for digits in (sources.others, sources.others_test)
        )
        return replace(
            sources,
            mnist=sources.mnist.where(mnist == is_held),
            others=others,
            others_test=others_test,
            swiss={w: scans for w, scans in sources.swiss.items() if (w in writers) == is_held},
        )

    return of(False), of(True)


def train(name: str, sources: Sources, options: argparse.Namespace) -> mnistry.Run:
    """Trains a reader, or takes it as it lies there."""
    folder, recipe = options.out / name, replace(teaching.RECIPE, epochs=options.epochs)
    if (known := trained(folder, recipe)) is not None:
        return doubting(known)
    digits = [
        *[sources.mnist] * options.mnist,
        sources.pen,
        *write_sheets(options.sheets),
        *[*sources.swiss.values()] * options.repeat,
    ]
    taught = teaching.lessons(digits, sources.others.images, options.pairs, seed=0)
    test = replace(sources.mnist_test, classes=teaching.CLASSES)
    data = DataSplits(taught, test, "reader", "benchmarks/train_reader.py")
    run = mnistry.train(recipe, data=data, out=folder)
    print(f"{name}: {len(taught):,} images, {sum(e['seconds'] for e in run.history):.0f} s")
    return doubting(run)


def doubting(run: mnistry.Run) -> mnistry.Run:
    """A reader to whom what speaks for "none" counts as much as it should; its files stay."""
    *_, last = (layer for layer in run.network.modules() if isinstance(layer, DenseLayer))
    none = run.classes.index("none")
    with torch.no_grad():
        for weights in last.parameters():  # the outputs are their last axis
            weights[..., none] *= _NONE_COUNTS
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
    none: Floats  # (n, 11) of what is no digit


def fold(number: int, sources: Sources, options: argparse.Namespace) -> Held:
    """Trains without what a fold leaves out, and scores on that."""
    seen, held = part(sources, number)
    run = train(f"fold-{number}", seen, options)
    images = np.concatenate([scans.images for scans in held.swiss.values()])
    labels = np.concatenate([scans.labels for scans in held.swiss.values()])
    fine = np.concatenate([sources.fine[name] for name in held.swiss])
    found, none = run.predict(images), run.predict(held.others_test.images)
    right = found[:, :10].argmax(1) == labels
    print(
        f"fold {number}: writers {', '.join(held.swiss)}: {right.mean():.2%} of "
        f"{len(labels):,}, {right[fine].mean():.2%} without those of swiss_errors.csv; "
        f"MNIST {accuracy(run, held.mnist):.2%} of {len(held.mnist):,}",
        flush=True,
    )
    return Held(found, labels, fine, none)


def accuracy(network: Network, digits: Dataset) -> float:
    """The share of digits that is read right."""
    return float((network.predict(digits.images)[:, :10].argmax(1) == digits.labels).mean())


def area(digits: Floats, none: Floats) -> float:
    """Under the ROC curve of digits against what is none, by the probability of being a digit."""
    scores = np.concatenate([digits[:, :10].sum(1), none[:, :10].sum(1)])
    return float(roc_auc_score(np.arange(len(scores)) < len(digits), scores))


def elsewhere(network: Network, sources: Sources) -> str:
    """The accuracy on MNIST's test images, scikit-learn's digits, and other written digits."""
    foreign = load_digits()
    small = [normalise(np.round(image * (255 / 16)).astype(np.uint8)) for image in foreign.images]
    sets = {
        "MNIST": sources.mnist_test,
        "scikit-learn's 8x8": Dataset(np.stack(small), foreign.target.astype(np.uint8)),
        "pen": sources.pen_test,
    }
    return ", ".join(f"{name} {accuracy(network, digits):.2%}" for name, digits in sets.items())


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
    areas = [
        area(*(at_temperature(some, temperature) for some in (h.probabilities, h.none)))
        for h in held
    ]
    least = least_confidence(labels[known], answers[known], confidence[known], wrong=0.005)
    print(
        f"\nunseen Swiss writers, {len(held)} folds: {mean:.2f} ± {deviation:.2f}%, {fine:.2f}% "
        f"without those of swiss_errors.csv; digits against what is none, areas "
        f"{', '.join(f'{one:.4f}' for one in areas)}, mean {np.mean(areas):.4f}; temperature "
        f"{temperature:.3f}, calibration error {error:.2%}, {fine_error:.2%} without "
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
    seen, held = part(sources, 0)
    digits = [
        *[sources.mnist] * 4,
        sources.pen,
        *[*seen.swiss.values()] * 16,
    ]
    others = sources.others.images[: options.others * 3 // 7]
    taught = teaching.pair_lessons(digits, others, options.touching, seed=0)
    test = pairs_of([*held.swiss.values()], sources, seed=5)
    data = DataSplits(taught, test, "pairs", "benchmarks/train_reader.py")
    return mnistry.train(teaching.PAIR_RECIPE, data=data, out=folder)


def pairs_of(digits: list[Dataset], sources: Sources, seed: int) -> Dataset:
    """Pairs of digits, and what is none, to score on."""
    return teaching.pair_lessons(digits, sources.others_test.images[:500], 4000, seed)


def score_pairs(run: mnistry.Run, sources: Sources) -> dict[str, str]:
    """Prints how many are read right; gives the temperature, as a note of the file."""
    _, held = part(sources, 0)
    sets = {
        "unseen Swiss writers": pairs_of([*held.swiss.values()], sources, 5),
        "pen": pairs_of([sources.pen_test], sources, 6),
        "MNIST": pairs_of([sources.mnist_test], sources, 7),
    }
    found = {name: run.predict(taught.images) for name, taught in sets.items()}
    for name, taught in sets.items():
        right, pairs = found[name].argmax(1) == taught.labels, taught.labels < 100
        print(
            f"two digits that touch, {name}: {right[pairs].mean():.2%} of {pairs.sum():,} read "
            f"right, {right[~pairs].mean():.2%} of {(~pairs).sum():,} others known as none"
        )
    fitted = [name for name in sets if name != "MNIST"]
    labels = np.concatenate([sets[name].labels for name in fitted])
    temperature = fit_temperature(labels, np.concatenate([found[name] for name in fitted]))
    return {"temperature": f"{temperature:.4f}"}


def export(
    run: mnistry.Run, usual: UInt8s, sources: Sources, notes: dict[str, str], path: Path
) -> None:
    """Writes a reader's file; half of the `usual` images give the range of its whole numbers."""
    test = replace(sources.mnist_test, classes=run.classes)
    with tempfile.TemporaryDirectory() as folder:
        exact, small = Path(folder, "exact.onnx"), Path(folder, "small.onnx")
        export_run(run, exact, DataSplits(test, test, "mnist", "mnist"), notes=notes)
        nodes = onnx.load(exact).graph.node
        _, second, *_ = [number for number, node in enumerate(nodes) if node.op_type == "Conv"]
        quantize_static(
            exact,
            small,
            Calibration(usual[::2]),
            op_types_to_quantize=["Conv", "Relu", "MaxPool", "MatMul"],  # and so not the last layer
            nodes_to_exclude=[node.name for node in nodes[:second]],  # of one channel: slower so
            per_channel=True,
            reduce_range=True,  # sums of more overflow where there is no VNNI
        )
        found = [OnnxNetwork(each, 0).predict(usual[1::2]) for each in (exact, small)]
        same = (found[0].argmax(1) == found[1].argmax(1)).mean()
        if same < _SAME:
            sys.exit(f"{path}: {same:.2%} of its answers would be as with 32 bits; not written")
        write_file(path, small.read_bytes())
    print(
        f"{path}: {path.stat().st_size:,} bytes, {json.dumps(notes)}; {same:.2%} of its answers to "
        f"other images are as with 32 bits, probabilities {np.abs(found[0] - found[1]).mean():.4f} "
        "away"
    )


class Calibration:
    """What ONNX Runtime takes the range of activations from, a hundred images at a time."""

    def __init__(self, images: UInt8s) -> None:
        """Takes (n, 28, 28) images."""
        self._parts = iter(np.array_split(images, -(-len(images) // 100)))

    def get_next(self) -> dict[str, UInt8s] | None:
        """The next hundred."""
        images = next(self._parts, None)
        return None if images is None else {"images": images}


if __name__ == "__main__":
    main()
