"""What a process of the benchmark runs, each with the interpreter of its peer.

python -m peers versions              one JSON line: the packages at hand, with their versions
python -m peers data FOLDER FILE.npz  the IDX files of FOLDER as the file that the peers read
python -m peers train JOB             trains; JOB is a `Job` in JSON, the answer one JSON line
"""

import json
import sys
from dataclasses import asdict
from pathlib import Path

from peers import roster
from peers.job import Job, Trained


def train(job: Job) -> Trained:
    """Has the job's peer train; only that peer's packages are imported."""
    family, _, variant = job.peer.partition("-")
    match family, variant:
        case "mnistry", ("float32" | "bfloat16") as precision:
            from peers import mnistry_train

            return mnistry_train.train(job, precision)
        case "keras", ("tensorflow" | "jax" | "torch") as backend:
            from peers import keras_fit

            return keras_fit.train(job, backend)
        case "pytorch", "":
            from peers import torch_loop

            return torch_loop.train(job)
        case _:
            raise ValueError(f"no peer is called {job.peer!r}; there are {', '.join(roster.PEERS)}")


def main() -> None:
    """Does the one thing that the command line asks for."""
    match sys.argv[1:]:
        case ["versions"]:
            print(json.dumps(roster.versions()))
        case ["data", folder, path]:
            from peers import mnist

            mnist.write_npz(Path(folder), Path(path))
        case ["train", job]:
            trained = train(Job(**json.loads(job)))
            print(json.dumps(asdict(trained) | {"versions": roster.versions()}))
        case _:
            sys.exit(__doc__)


if __name__ == "__main__":
    main()
