"""Trains a network on written digits alone (pen), and scores it on real handwriting.

    python benchmarks/pen_to_real.py --seeds 3 --swiss FOLDER      # at the end: on the test sets
    python benchmarks/pen_to_real.py --look --swiss FOLDER         # while pen is being improved

With --look it scores MNIST's training images and five of the eleven Swiss writers, and prints what
is taken for what: what one may look at to find the letterform that is missing. Without, MNIST's
test images and the other six writers, which nobody looked at. No real image is trained on, and
what stands at the end of training is the result. MNISTRY_DATA and MNISTRY_SWISS say where the real
digits lie.
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
from mnistry.normalise import SIZE, normalise
from mnistry.pen import PenSet, Written, write
from mnistry.picture import read_picture

LOOKED_AT = ("0001_CH4M", "0004_CH4M", "0009_CH4M", "0012_CH3M", "0018_CHXX")
"""The Swiss writers that may be looked at while pen is being improved."""

BATCH = 128

UInt8s = NDArray[np.uint8]


def network() -> nn.Module:
    """A convolutional network of 160,000 parameters."""

    def block(inputs: int, outputs: int, size: int) -> list[nn.Module]:
        convolution = nn.Conv2d(inputs, outputs, size, bias=False)
        return [convolution, nn.BatchNorm2d(outputs), nn.ReLU()]

    return nn.Sequential(
        *block(1, 16, 5), nn.MaxPool2d(2), *block(16, 32, 3), *block(32, 64, 3), nn.MaxPool2d(2),
        nn.Flatten(), nn.Dropout(0.4), nn.Linear(64 * 16, 128), nn.ReLU(), nn.Linear(128, 10),
    )  # fmt: skip


def distort(images: torch.Tensor) -> torch.Tensor:
    """Moves, turns and bends (n, 1, 28, 28) images a little, and makes their ink uneven.

    Written digits are cleaner than scanned ones: without this, a network reads more of them the
    longer it is trained, and fewer real ones.
    """
    n = len(images)

    def normal(*shape: int, by: float) -> torch.Tensor:
        return by * torch.randn(n, *shape)

    matrix = torch.eye(2, 3) + normal(2, 3, by=0.02)
    grid = nn.functional.affine_grid(matrix, [n, 1, SIZE, SIZE], align_corners=False)
    bend = nn.functional.interpolate(
        normal(2, 5, 5, by=0.02), (SIZE, SIZE), mode="bicubic", align_corners=True
    )
    images = nn.functional.grid_sample(images, grid + bend.permute(0, 2, 3, 1), align_corners=False)
    images = images ** normal(1, 1, 1, by=0.3).exp()
    near_ink = nn.functional.max_pool2d(images, 3, 1, 1) > 0.2
    patches = nn.functional.interpolate(normal(1, 14, 14, by=0.3), (SIZE, SIZE), mode="bilinear")
    noise = normal(1, SIZE, SIZE, by=0.2) * torch.rand(n, 1, 1, 1)
    return (images + patches * near_ink + noise).clamp(0, 1)


def train(written: Written, seed: int) -> nn.Module:
    """A network that has seen each image once: AdamW, one cycle, batches of 128."""
    torch.manual_seed(seed)
    torch.set_flush_denormal(True)
    model = network()
    model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    batches = torch.randperm(len(written.images)).split(BATCH)
    optimizer = torch.optim.AdamW(model.parameters(), weight_decay=0.02)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, 0.004, total_steps=len(batches), pct_start=0.15
    )
    images, labels = torch.from_numpy(written.images), torch.from_numpy(written.labels).long()
    for chosen in batches:
        distorted = distort(images[chosen].unsqueeze(1) / 255)
        logits = model(distorted.contiguous(memory_format=torch.channels_last))
        loss = nn.functional.cross_entropy(logits, labels[chosen], label_smoothing=0.05)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
    model.eval()
    return model


@torch.inference_mode()
def read(model: nn.Module, images: UInt8s) -> UInt8s:
    """What it takes (n, 28, 28) images for: (n,)."""
    parts = torch.from_numpy(images).unsqueeze(1).split(1000)
    return torch.cat([model(part / 255).argmax(1) for part in parts]).numpy().astype(np.uint8)


def swiss(folder: Path, looked_at: bool) -> tuple[UInt8s, UInt8s]:
    """The scans of one half of the writers as MNIST's images: (n, 28, 28) and (n,)."""
    images, labels = [], []
    for path in sorted(folder.glob("*/?/*.png")):
        if (path.parts[-3] in LOOKED_AT) == looked_at:
            ink = 255 - read_picture(path)
            threshold, _ = cv2.threshold(ink, 0, 255, cv2.THRESH_OTSU)
            images.append(normalise(np.where(ink > threshold, ink, 0).astype(np.uint8)))
            labels.append(int(path.parts[-2]))
    if not images:
        raise SystemExit(f"{folder}: holds no WRITER/DIGIT/*.png, the Swiss scans")
    return np.stack(images), np.array(labels, np.uint8)


def main() -> None:
    """Runs the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--seeds", type=int, default=3, help="how many; from 0 on")
    parser.add_argument("--train", type=int, default=400_000, help="written images")
    parser.add_argument("--writers", type=int, default=16_000)
    parser.add_argument("--style", default="mixed")
    parser.add_argument("--look", action="store_true")
    parser.add_argument("--swiss", type=Path, default=os.environ.get("MNISTRY_SWISS"))
    options = parser.parse_args()
    for_training, for_testing = mnistry.load_data()
    real = (
        {"MNIST, training images": for_training}
        if options.look
        else {"MNIST, test images": for_testing}
    )
    if options.swiss:
        name = "Swiss, the five looked at" if options.look else "Swiss, the other six"
        real[name] = swiss(options.swiss, options.look)
    print(
        f"mnistry {mnistry.__version__}, torch {torch.__version__}, {machine.cpu_model()},"
        f" {machine.cores()} cores; by: {shlex.join(sys.argv)}\n"
    )
    scores: dict[str, list[float]] = {name: [] for name in real}
    for seed in range(options.seeds):
        started = time.perf_counter()
        written, held_out = write(
            PenSet(options.train, 5000, options.writers, seed=seed, style=options.style)
        )
        wrote = time.perf_counter() - started
        model = train(written, seed)
        own = (read(model, held_out.images) == held_out.labels).mean()
        print(
            f"seed {seed}: {wrote:.0f} s to write, {(options.train + 5000) / wrote:,.0f} images a"
            f" second; {time.perf_counter() - started - wrote:.0f} s"
            f" to train; other written digits: {100 * own:.2f}"
        )
        for name, (images, labels) in real.items():
            guesses = read(model, images)
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
