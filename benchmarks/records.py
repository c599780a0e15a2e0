"""Trains Mnistry's own presets over their seeds and prints accuracy and time.

    python benchmarks/records.py --data-dir FOLDER
    python benchmarks/records.py --presets fast --peers --python-peers PEERS/bin/python

Each seed is one `mnistry train PRESET --seed N`, a process of its own, measured from outside; its
last epoch is scored once on the test images. Nothing is chosen by them: neither an epoch nor a
seed nor a member. The run folders stay in `--out`; a second run takes what lies there for the same
recipe, PyTorch and processor, and finishes what was stopped, so that the hours that `best` takes
can be spent by and by. Delete the folder to measure everything afresh.

With `--shifts N` each is scored again, as `mnistry evaluate --shifts N` does: with 0 without the
test-time averaging that `best` has. With `--members N` the row "best, N members" is printed too:
the plain average of the seeds 0 to N - 1, which is what `mnistry train best --members N` trains.
With `--peers` the tutorial's CNN is trained by Keras on TensorFlow in the same run (see
benchmarks/tutorials.py). Linux only.
"""

import argparse
import json
import os
import shlex
import statistics
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import get_args

import numpy as np
import torch
from numpy.typing import NDArray

import machine
import mnistry
import tutorials
from measure import measure
from mnistry.dataset import DataSplits
from mnistry.files import write_file
from mnistry.layers import describe_layers
from mnistry.metrics import mean_interval
from mnistry.recipe import PRESETS, Precision, Recipe
from mnistry.runfolder import CONFIG, WEIGHTS, read_config
from results import QUIET, Settings

SEEDS = {"fast": 20, "strong": 5, "best": 3}
PEER, TUTORIAL = "keras-tensorflow", "datumo-cnn"


@dataclass(frozen=True)
class Record:
    """One seed's training."""

    accuracy: float  # on the test images, after the last epoch
    train_seconds: float  # of its epochs
    process_seconds: float | None  # of the whole command; None where it was stopped and resumed
    disturbed: bool  # whether others took a tenth of a core or more, or it was stopped and resumed
    precision: str = "float32"  # that it was trained in


def main() -> int:
    """Runs the benchmark; returns the exit code."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--presets", nargs="+", default=list(SEEDS), choices=list(SEEDS), metavar="PRESET")
    add("--seeds", type=tutorials.positive, help="how many [fast 20, strong 5, best 3]")
    add("--members", type=tutorials.positive, metavar="N", help="average N seeds of best, too")
    add("--shifts", type=int, choices=range(5), help="score with other test-time averaging, too")
    add("--peers", action="store_true", help="train the tutorial's CNN by Keras on TensorFlow, too")
    add("--python-peers", default=sys.executable, help="the interpreter that has TensorFlow")
    add("--threads", type=tutorials.positive, default=machine.cores(), help="and cores [all]")
    add("--precision", default="auto", choices=get_args(Precision), help="[%(default)s]")
    add("--data", default="mnist", help="another data set: its name or path [%(default)s]")
    add("--data-dir", help="MNIST's IDX files, gzipped or not [MNISTRY_DATA]")
    add("--out", type=Path, default=Path("runs/records"), help="[%(default)s]")
    options = parser.parse_args()
    is_mnist = options.data == "mnist"
    data_dir = options.data_dir or (os.environ.get("MNISTRY_DATA") if is_mnist else None)
    options.data_dir = Path(data_dir).absolute() if data_dir else None
    if is_mnist and data_dir is None:
        parser.error("name the folder of MNIST's IDX files: --data-dir, or MNISTRY_DATA")
    if options.peers and not is_mnist:
        parser.error("--peers: trains on MNIST; leave out --data")
    machine.keep_to(options.threads)
    data = mnistry.load_dataset(options.data, options.data_dir)
    rows, fastest = [], None
    for preset in options.presets:
        count = options.seeds or SEEDS[preset]
        records = [train(preset, seed, options, data) for seed in range(count)]
        rows.append(row(preset, records))
        if options.shifts is not None:
            shifted = [
                replace(record, accuracy=accuracy(read(preset, seed, options, data), data))
                for seed, record in enumerate(records)
            ]
            rows.append(row(preset, shifted, options.shifts))
        if preset == "fast":
            fastest = statistics.median(record.train_seconds for record in records)
    if options.members:
        records = [train("best", seed, options, data) for seed in range(options.members)]
        rows.append(row_of_members(records, options, data))
    if options.peers:
        rows.append(row_of_peer(options, fastest))
    print(
        f"mnistry {mnistry.__version__}, torch {torch.__version__}, "
        f"{machine.cpu_model()}, {options.threads} cores; by: {shlex.join(['python', *sys.argv])}\n"
    )
    print("| preset | test accuracy (n) | 95% interval of the mean | parameters | training, s "
          "| whole command, s | command |")  # fmt: skip
    print("|---|---|---|--:|--:|--:|---|")
    print("\n".join(rows))
    return 0


def train(preset: str, seed: int, options: argparse.Namespace, data: DataSplits) -> Record:
    """Trains one seed, or finishes it, or takes it as it lies there."""
    folder = options.out / f"{preset}-{seed}"
    note = folder / "record.json"
    if (folder / CONFIG).exists():
        found = read_config(folder)
        made = (found["hardware"]["cpu"], found["versions"]["torch"], found["threads"])
        precision = options.precision if options.precision != "auto" else found["precision"]
        how = (found["device"], found["precision"])
        wanted = replace(PRESETS[preset], source="", reported="")
        recipe = replace(Recipe.from_dict(found["recipe"]), source="", reported="")
        here = (machine.cpu_model(), torch.__version__, options.threads)
        is_same = found["data"]["sha256"] == data.sha256
        if not is_same or (recipe, made, how) != (wanted, here, ("cpu", precision)):
            sys.exit(f"{folder}: was trained in another way; delete it, or name another --out")
    known = note.exists()
    if not known:
        started = (folder / CONFIG).exists()
        asked = ["--resume", str(folder)]
        if not started:
            asked = [preset, "--seed", str(seed), "--out", str(folder)]
            asked += ["--data", options.data, "--threads", str(options.threads)]
            asked += ["--data-dir", str(options.data_dir)] if options.data_dir else []
            asked += ["--device", "cpu", "--precision", options.precision]
        if not (folder / WEIGHTS).exists():
            command = [sys.executable, "-m", "mnistry", "train", *asked, "--quiet"]
            ended = measure(command, Path.cwd(), os.environ, timeout=6 * 3600)
            if ended.error:
                sys.exit(f"{shlex.join(command)}: {ended.error}")
        run = mnistry.load_run(folder)
        whole = not started
        record = Record(
            accuracy=accuracy(run.predict(data.test.images), data),
            train_seconds=sum(epoch["seconds"] for epoch in run.history),
            process_seconds=ended.wall_seconds if whole else None,
            disturbed=not whole or ended.others_cores > QUIET,
            precision=run.config["precision"],
        )
        write_file(note, json.dumps(asdict(record)).encode())
    record = Record(**json.loads(note.read_text()))
    if options.precision != "auto" and record.precision != options.precision:
        sys.exit(f"{folder}: was trained in {record.precision}; delete it, or name another --out")
    tutorials.say(
        f"{preset}, seed {seed}: {record.accuracy:.2%}, training {record.train_seconds:.2f} s"
        + (", disturbed" if record.disturbed else "")
        + (" (already there)" if known else "")
    )
    return record


def read(
    preset: str, seed: int, options: argparse.Namespace, data: DataSplits
) -> NDArray[np.float32]:
    """What a seed's network says of the test images: (n, classes)."""
    run = mnistry.load_run(options.out / f"{preset}-{seed}")
    return run.predict(data.test.images, options.shifts)


def accuracy(answers: NDArray[np.float32], data: DataSplits) -> float:
    """The share of the test images that are read right, 0..1."""
    return float((answers.argmax(1) == data.test.labels).mean())


def row(preset: str, records: Sequence[Record], shifts: int | None = None) -> str:
    """A preset's line of the table."""
    _check_alike(records)
    accuracies = [100 * record.accuracy for record in records]
    spread = f" ± {statistics.stdev(accuracies):.2f}" if len(records) > 1 else ""
    interval = "–"
    if len(records) > 1:
        low, high = mean_interval(accuracies)
        interval = f"{low:.2f} to {high:.2f}"
    whole = [record.process_seconds for record in records if record.process_seconds is not None]
    disturbed = sum(record.disturbed for record in records)
    cells = [
        f"`{preset}`, {records[0].precision}"
        + (f", {disturbed} of {len(records)} disturbed" if disturbed else "")
        + _shifted(shifts),
        f"{statistics.mean(accuracies):.2f}{spread} ({len(records)})",
        interval,
        f"{parameters_of(preset):,}",
        f"{statistics.median(record.train_seconds for record in records):.1f}",
        f"{statistics.median(whole):.1f}" if whole else "–",
        f"`mnistry train {preset}`",
    ]
    return f"| {' | '.join(cells)} |"


def _shifted(shifts: int | None) -> str:
    return "" if shifts is None else f", `--shifts {shifts}`"


def _check_alike(records: Sequence[Record]) -> None:
    found = sorted({record.precision for record in records})
    if len(found) > 1:
        sys.exit(f"some seeds were trained in {', others in '.join(found)}: give --precision")


def parameters_of(preset: str) -> int:
    """How many parameters a preset's network has."""
    network = PRESETS[preset].network
    assert not callable(network)
    return sum(layer.parameters for layer in describe_layers(network))


def row_of_members(records: Sequence[Record], options: argparse.Namespace, data: DataSplits) -> str:
    """The line of the average of all members."""
    _check_alike(records)
    count = len(records)
    answers = [read("best", seed, options, data) for seed in range(count)]
    right = accuracy(np.mean(answers, axis=0), data)
    seconds = sum(record.train_seconds for record in records)
    name = f"`best`, {count} members, {records[0].precision}{_shifted(options.shifts)}"
    cells = [name, f"{right:.2%} (1)", "–", f"{count * parameters_of('best'):,}"]
    cells += [f"{seconds:.0f}", "–", f"`mnistry train best --members {count}`"]
    return f"| {' | '.join(cells).replace('%', '')} |"


def row_of_peer(options: argparse.Namespace, fastest: float | None) -> str:
    """The tutorial's CNN, by the library that the tutorial takes."""
    with tempfile.TemporaryDirectory(prefix="mnistry-benchmark-") as scratch:
        pythons = {PEER: options.python_peers}
        bench = tutorials.Bench(pythons, options.data_dir, Path(scratch), timeout=3600)
        versions = tutorials.find_peers(bench, [PEER])
        if PEER not in versions:
            sys.exit("--peers: name the interpreter that has TensorFlow with --python-peers")
        place = str(bench.data_dir), str(bench.npz)
        tutorials.must_succeed(bench.run(options.python_peers, "data", *place))
        settings = Settings(
            preset=TUTORIAL,
            peer=PEER,
            run=0,
            epochs=10,
            threads=options.threads,
            cpu=machine.cpu_model(),
            versions=versions[PEER],
        )
        result = bench.train(settings)
    tutorials.say(f"{TUTORIAL}, {PEER}: {tutorials.outcome(result)}")
    if result.trained is None:
        sys.exit(1)
    seconds = result.trained.train_seconds
    ratio = f", {seconds / fastest:.0f} times `fast`'s" if fastest else ""
    cells = ["the tutorial's CNN, Keras on TensorFlow", f"{result.trained.test_accuracy:.2%} (1)"]
    cells += [
        "–",
        f"{parameters_of(TUTORIAL):,}",
        f"{seconds:.1f}{ratio}",
        f"{result.process_seconds:.1f}",
        "–",
    ]
    return f"| {' | '.join(cells).replace('%', '')} |"


if __name__ == "__main__":
    sys.exit(main())
