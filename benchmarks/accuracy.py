"""Trains each tutorial over several seeds and prints the table of its accuracies.

    python benchmarks/accuracy.py --seeds 5 --data-dir FOLDER

The data comes from MNISTRY_DATA, the cache or the mirrors where --data-dir is left out. The last
epoch is the result; nothing is chosen on the test images. Takes some ten minutes on two cores.
"""

import argparse
import os
import shlex
import sys
from pathlib import Path

import torch

import machine
import mnistry
from mnistry.metrics import mean_and_deviation

GOALS = {
    "datumo-cnn": "test 98.78 (98.53 or above)",
    "nvidia-mlp": '"close to 100" (97.9 or above)',
    "devto-mlp": "none (97.0 or above)",
    "vidhya-mlp": "training 97.88 (97.73 or above), test over 96",
}


def main() -> None:
    """Runs the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--seeds", type=int, default=5, help="how many; from 0 on")
    parser.add_argument("--presets", nargs="+", default=list(GOALS), choices=list(GOALS))
    parser.add_argument("--data-dir", type=Path)
    options = parser.parse_args()
    data = mnistry.load_dataset("mnist", options.data_dir)
    print(
        f"mnistry {mnistry.__version__}, torch {torch.__version__}, float32, {machine.cpu_model()},"
        f" {os.cpu_count()} cores, seeds 0 to {options.seeds - 1}; by: {shlex.join(sys.argv)}\n"
    )
    print("| preset | training accuracy, last epoch | test accuracy | the tutorial's (goal) |")
    print("|---|---|---|---|")
    for preset in options.presets:
        runs = [
            mnistry.train(preset, data=data, seed=seed, precision="float32")
            for seed in range(options.seeds)
        ]
        training = [100 * run.history[-1]["accuracy"] for run in runs]
        test = [100 * run.evaluate(data).accuracy for run in runs]
        cells = (
            f"{mean:.2f} ± {dev:.2f}" for mean, dev in map(mean_and_deviation, (training, test))
        )
        print(f"| `{preset}` | {' | '.join(cells)} | {GOALS[preset]} |", flush=True)


if __name__ == "__main__":
    main()
