"""Trains the four tutorials with Mnistry and with its peers, side by side, and prints the table.

    python benchmarks/tutorials.py --data-dir FOLDER --python-peers PEERS/bin/python

Mnistry's float32 and, where the processor has it, bfloat16; Keras on TensorFlow, on JAX and on
PyTorch; and a plain PyTorch loop. Each training is a process of its own; the peers take turns, and
within a preset every peer trains once before any trains again. All have the same images, epochs,
validation, cores and number of threads, and no GPU.

The peers live in an environment of their own, made with `pip install -r
benchmarks/requirements.txt` (PyTorch's CPU build will do); a peer that is not installed is left
out. Two epochs of one preset, as a trial:

    python benchmarks/tutorials.py ... --presets vidhya-mlp --epochs 2 --runs 1

Training time is that of the epochs, the first one (where a network is compiled) and validation
included; the whole process counts from before the interpreter starts to after it is gone, with
one evaluation after training. Peak memory is the largest resident set. What other processes used
of the cores meanwhile is measured too, and said where it was enough to spoil the figures.

The raw results are added to the file `--out` as they come. A second run with the same file does
not repeat what it holds for the same settings, versions and processor; with `--redo-disturbed` it
repeats what others disturbed; delete the file to measure everything afresh.

Exit code: 0, or 1 where a training failed, or 2 where the arguments are wrong. Linux only.
"""

import argparse
import json
import os
import shlex
import shutil
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import NoReturn

import machine
import report
import results
from measure import Measured, last_line, measure
from peers.job import Job, Trained
from peers.roster import OWN_BFLOAT16, PEERS
from peers.tutorial import TUTORIALS
from results import Result, Settings

BENCHMARKS = Path(__file__).resolve().parent


@dataclass(frozen=True)
class Bench:
    """How a training is run, whichever it is."""

    pythons: dict[str, str]  # each peer's interpreter
    data_dir: Path  # the IDX files
    scratch: Path  # the benchmark's own folder, gone when it ends
    timeout: float

    @property
    def npz(self) -> Path:
        """The data as the peers read it."""
        return self.scratch / "mnist.npz"

    def run(self, python: str, *arguments: str) -> Measured:
        """Runs `python -m peers` with an environment in which everybody is alike."""
        environment = os.environ | {
            "CUDA_VISIBLE_DEVICES": "",
            "JAX_PLATFORMS": "cpu",
            "KERAS_HOME": str(self.scratch / "keras"),  # no one's own settings
            "MNISTRY_DATA": str(self.data_dir),
        }
        command = [python, "-m", "peers", *arguments]
        return measure(command, BENCHMARKS, environment, self.timeout)

    def train(self, settings: Settings) -> Result:
        """Has one peer train once."""
        with tempfile.TemporaryDirectory(dir=self.scratch) as folder:
            job = Job(
                peer=settings.peer,
                preset=settings.preset,
                epochs=settings.epochs,
                threads=settings.threads,
                seed=settings.run,
                data=str(self.npz),
                out=str(Path(folder) / "run"),
            )
            ended = self.run(self.pythons[settings.peer], "train", json.dumps(asdict(job)))
        trained, error = None, ended.error
        if error is None:
            trained, error = read_answer(ended.stdout, settings)
        return Result(
            settings=settings,
            finished=datetime.now(UTC).isoformat(timespec="seconds"),
            process_seconds=ended.wall_seconds,
            cpu_seconds=ended.cpu_seconds,
            peak_memory_mib=ended.peak_memory_mib,
            others_cores=ended.others_cores,
            trained=trained,
            error=error,
        )


def read_answer(stdout: str, settings: Settings) -> tuple[Trained | None, str | None]:
    """What a peer's one JSON line says, or what is wrong with it."""
    line = last_line(stdout)
    try:
        answer = json.loads(line)
        found = relevant_versions(settings.peer, answer.pop("versions"))
        trained = Trained(**answer)
    except (ValueError, TypeError, KeyError) as error:
        return None, f"its answer cannot be read ({error!r}): {line[:200]!r}"
    if found != settings.versions:
        return None, f"its packages changed under the benchmark, to {found}"
    return trained, None


def relevant_versions(peer: str, versions: Mapping[str, str]) -> dict[str, str]:
    """Those of the versions that can change a peer's figures."""
    names = ("python", "numpy", *PEERS[peer].packages)
    return {name: versions[name] for name in names}


def main() -> int:
    """Runs the benchmark; returns the exit code."""
    arguments = parse_arguments()
    machine.keep_to(arguments.threads)
    with tempfile.TemporaryDirectory(prefix="mnistry-benchmark-") as folder:
        bench = Bench(
            pythons={
                name: arguments.python_mnistry if peer.is_own else arguments.python_peers
                for name, peer in PEERS.items()
            },
            data_dir=arguments.data_dir,
            scratch=Path(folder),
            timeout=arguments.timeout,
        )
        versions = find_peers(bench, arguments.peers)
        if not versions:
            fail("no peer is left to train")
        must_succeed(
            bench.run(
                bench.pythons[next(iter(versions))], "data", str(bench.data_dir), str(bench.npz)
            )
        )
        known = [result for result in results.read(arguments.out) if result.error is None]
        if arguments.redo_disturbed:
            known = [result for result in known if not result.was_disturbed]
        found = train_all(bench, schedule(arguments, versions), known, arguments.out)
    print_report(found, list(versions))
    return 1 if any(result.error for result in found) else 0


def parse_arguments() -> argparse.Namespace:
    """The command line, checked: paths absolute, names known, numbers possible."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add(
        "--presets",
        nargs="+",
        choices=TUTORIALS,
        default=list(TUTORIALS),
        metavar="PRESET",
        help=f"of {', '.join(TUTORIALS)} [all]",
    )
    add(
        "--peers",
        nargs="+",
        choices=PEERS,
        default=list(PEERS),
        metavar="PEER",
        help=f"of {', '.join(PEERS)} [all]",
    )
    add("--runs", type=positive, default=3, help="trainings of each preset by each peer [3]")
    add("--epochs", type=positive, help="instead of the tutorial's own number, as a trial")
    add("--threads", type=positive, default=machine.cores(), help="and cores [all]")
    add("--data-dir", help="MNIST's IDX files, gzipped or not [MNISTRY_DATA]")
    add("--out", type=Path, default=Path("runs/benchmark-tutorials.jsonl"), help="[%(default)s]")
    add("--redo-disturbed", action="store_true", help="train again what others disturbed")
    add("--python-peers", default=sys.executable, help="the interpreter that has the peers")
    add("--python-mnistry", default=sys.executable, help="the interpreter that has Mnistry")
    add("--timeout", type=positive, default=3600, help="seconds for one training [%(default)s]")
    arguments = parser.parse_args()

    if arguments.threads > machine.cores():
        parser.error(f"--threads {arguments.threads}: there are {machine.cores()} cores")
    data_dir = arguments.data_dir or os.environ.get("MNISTRY_DATA")
    if data_dir is None:
        parser.error("name the folder of MNIST's IDX files: --data-dir, or MNISTRY_DATA")
    arguments.data_dir = Path(data_dir).absolute()
    for option in ("python_peers", "python_mnistry"):
        python = shutil.which(getattr(arguments, option))
        if python is None:
            parser.error(f"no interpreter is at {getattr(arguments, option)}")
        setattr(arguments, option, str(Path(python).absolute()))
    arguments.out.parent.mkdir(parents=True, exist_ok=True)
    return arguments


def positive(text: str) -> int:
    """A whole number from 1 up, for argparse."""
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"{number} is less than 1")
    return number


def find_peers(bench: Bench, wanted: Sequence[str]) -> dict[str, dict[str, str]]:
    """The peers that can train here, each with its versions; says which are left out, and why."""
    here = {
        python: json.loads(must_succeed(bench.run(python, "versions")))
        for python in {bench.pythons[peer] for peer in wanted}
    }
    found = {}
    for peer in wanted:
        missing = [name for name in PEERS[peer].packages if name not in here[bench.pythons[peer]]]
        if missing:
            say(f"{peer} is left out: {' and '.join(missing)} not installed")
        elif peer == OWN_BFLOAT16 and not machine.has_bfloat16():
            say(f"{peer} is left out: this processor does not compute in bfloat16")
        else:
            found[peer] = relevant_versions(peer, here[bench.pythons[peer]])
    return found


def schedule(
    arguments: argparse.Namespace, versions: Mapping[str, Mapping[str, str]]
) -> list[Settings]:
    """Every training in its order: within a preset, the peers take turns."""
    return [
        Settings(
            preset=preset,
            peer=peer,
            run=run,
            epochs=arguments.epochs or TUTORIALS[preset].epochs,
            threads=arguments.threads,
            cpu=machine.cpu_model(),
            versions=of_peer,
        )
        for preset in arguments.presets
        for run in range(arguments.runs)
        for peer, of_peer in versions.items()
    ]


def train_all(
    bench: Bench, to_do: Sequence[Settings], known: Sequence[Result], out: Path
) -> list[Result]:
    """The result of every training: the last one known, or else a new one, added to the file."""
    found = []
    for number, settings in enumerate(to_do, start=1):
        result = next((one for one in reversed(known) if one.settings == settings), None)
        how = " (already in the file)"
        if result is None:
            result, how = bench.train(settings), ""
            results.append(out, result)
        found.append(result)
        name = f"{settings.preset}, {settings.peer}, run {settings.run}"
        say(f"[{number}/{len(to_do)}] {name}: {outcome(result)}{how}")
    return found


def outcome(result: Result) -> str:
    """How a training went, for the line of progress."""
    if result.trained is None:
        return f"failed: {result.error}"
    disturbed = ", disturbed" if result.was_disturbed else ""
    return (
        f"training {result.trained.train_seconds:.1f} s, process {result.process_seconds:.1f} s, "
        f"test accuracy {result.trained.test_accuracy:.2%}{disturbed}"
    )


def print_report(found: Sequence[Result], peers: Sequence[str]) -> None:
    """Prints the table, then what a reader must know about it."""
    print(report.table(found, peers))
    command = shlex.join(["python", *sys.argv])
    for line in report.failures(found) + report.circumstances(found, command):
        print(f"\n{line}")


def must_succeed(ended: Measured) -> str:
    """What a process said that the benchmark cannot do without."""
    if ended.error is not None:
        fail(ended.error)
    return ended.stdout


def say(text: str) -> None:
    """One line of progress, apart from the table."""
    print(text, file=sys.stderr, flush=True)


def fail(text: str) -> NoReturn:
    """Ends the benchmark as wrong arguments do."""
    say(text)
    sys.exit(2)


if __name__ == "__main__":
    sys.exit(main())
