"""Trains a network on written digits alone (pen), and scores it on real handwriting.

    python benchmarks/pen_to_real.py --seeds 3 --swiss FOLDER      # at the end: on the test sets
    python benchmarks/pen_to_real.py --look --swiss FOLDER         # while pen is being improved

With --look it scores MNIST's training images and five of the eleven Swiss writers, and prints what
is taken for what: what one may look at to find the letterform that is missing. Without, MNIST's
test images and the other six writers, which nobody looked at. No real image is trained on, and the
last epoch is the result. The data comes from MNISTRY_DATA, the Swiss digits from MNISTRY_SWISS.
"""

import argparse
import os
import shlex
import sys
import time
from pathlib import Path

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

import machine
import mnistry
from mnistry.metrics import mean_and_deviation
from mnistry.normalise import normalise
from mnistry.picture import read_picture

LOOKED_AT = ("0001_CH4M", "0004_CH4M", "0009_CH4M", "0012_CH3M", "0018_CHXX")
"""The Swiss writers that may be looked at while pen is being improved."""

UInt8s = NDArray[np.uint8]


def network() -> nn.Module:
    """A convolutional network of 100,000 parameters."""

    def block(inputs: int, outputs: int) -> list[nn.Module]:
        convolution = nn.Conv2d(inputs, outputs, 3, bias=False)
        return [convolution, nn.BatchNorm2d(outputs), nn.ReLU()]

    return nn.Sequential(
        *block(1, 24), *block(24, 24), nn.MaxPool2d(2), *block(24, 48), *block(48, 48),
        nn.MaxPool2d(2), nn.Flatten(), nn.Dropout(0.3), nn.Linear(48 * 16, 10),
    )  # fmt: skip


def swiss(folder: Path, looked_at: bool) -> tuple[UInt8s, UInt8s]:
    """The scans of one half of the writers as MNIST's images: (n, 28, 28) and (n,)."""
    images, labels = [], []
    for path in sorted(folder.glob("*/?/*.png")):
        if (path.parts[-3] in LOOKED_AT) == looked_at:
            ink = 255 - read_picture(path)
            threshold, _ = cv2.threshold(ink, 0, 255, cv2.THRESH_OTSU)
            images.append(normalise(np.where(ink > threshold, ink, 0).astype(np.uint8)))
            labels.append(int(path.parts[-2]))
    return np.stack(images), np.array(labels, np.uint8)


def main() -> None:
    """Runs the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--seeds", type=int, default=3, help="how many; from 0 on")
    parser.add_argument("--train", type=int, default=300_000, help="written images")
    parser.add_argument("--writers", type=int, default=10_000)
    parser.add_argument("--style", default="mixed")
    parser.add_argument("--epochs", type=int, default=4)
    parser.add_argument("--preset", help="one of Mnistry's own networks in place of this file's")
    parser.add_argument("--look", action="store_true")
    parser.add_argument("--swiss", type=Path, default=os.environ.get("MNISTRY_SWISS"))
    options = parser.parse_args()
    train, test = mnistry.load_data()
    real = {"MNIST, training images": train} if options.look else {"MNIST, test images": test}
    if options.swiss:
        name = "Swiss, the five looked at" if options.look else "Swiss, the other six"
        real[name] = swiss(Path(options.swiss), options.look)
    own = mnistry.Recipe("pen-cnn", network, batch_size=128, learning_rate=0.002)
    recipe = mnistry.load_recipe(options.preset) if options.preset else own
    print(
        f"mnistry {mnistry.__version__}, torch {torch.__version__}, {machine.cpu_model()},"
        f" {os.cpu_count()} cores; by: {shlex.join(sys.argv)}\n"
    )
    scores: dict[str, list[float]] = {name: [] for name in real}
    for seed in range(options.seeds):
        started = time.perf_counter()
        settings = f"train={options.train},test=1000,writers={options.writers}"
        written = f"pen:{settings},seed={seed},style={options.style}"
        run = mnistry.train(recipe, data=written, epochs=options.epochs, seed=seed)
        print(f"seed {seed}: {time.perf_counter() - started:.0f} s, on pen {run.history[-1]}")
        for name, (images, labels) in real.items():
            guesses = run.predict(images).argmax(1)
            scores[name].append(100 * float((guesses == labels).mean()))
            print(f"  {name}: {scores[name][-1]:.2f}", flush=True)
            if options.look:
                table = np.zeros((10, 10), int)
                np.add.at(table, (labels, guesses), 1)
                print(table, np.round(np.diag(table) / table.sum(1), 3))
    print("\n| real handwriting, read by a network that saw none | accuracy |\n|---|---|")
    for name, values in scores.items():
        mean, deviation = mean_and_deviation(values)
        print(f"| {name} | {mean:.2f} ± {deviation:.2f} |")


if __name__ == "__main__":
    main()
