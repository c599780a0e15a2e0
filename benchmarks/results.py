"""The raw results: one JSON line for each training, appended as it ends, never rewritten."""

import json
import sys
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

from peers.job import Trained

QUIET = 0.1  # a core: what other processes may use


@dataclass(frozen=True)
class Settings:
    """Everything that says whether a result answers the question: equal settings, same question."""

    preset: str
    peer: str
    run: int  # 0, 1, ...; also the seed
    epochs: int
    threads: int
    cpu: str
    versions: Mapping[str, str]  # of Python, numpy and the peer's packages


@dataclass(frozen=True)
class Result:
    """One training, done or failed."""

    settings: Settings
    finished: str  # UTC, ISO 8601
    process_seconds: float
    cpu_seconds: float
    peak_memory_mib: float
    others_cores: float  # how much of these cores other processes used meanwhile
    trained: Trained | None  # None where it failed
    error: str | None  # the last line of its stderr, or how it ended

    @property
    def was_disturbed(self) -> bool:
        """Whether others did enough meanwhile to spoil the figures.

        PyTorch's threads wait for one another many times a step: with one of two cores busy
        elsewhere, its plain loop was seen to take 94 seconds for what takes 12.
        """
        return self.others_cores > QUIET


def read(path: Path) -> list[Result]:
    """Every result in the file; a last line cut off by a kill is passed over."""
    if not path.exists():
        return []
    results = []
    for number, line in enumerate(path.read_text().splitlines(), start=1):
        try:
            results.append(decode(line))
        except (ValueError, TypeError, KeyError) as error:
            print(
                f"{path}, line {number} is not a result and is passed over: {error!r}",
                file=sys.stderr,
            )
    return results


def decode(line: str) -> Result:
    """One line of the file as a result."""
    fields = json.loads(line)
    settings = Settings(**fields.pop("settings"))
    trained = fields.pop("trained")
    return Result(settings, trained=Trained(**trained) if trained else None, **fields)


def append(path: Path, result: Result) -> None:
    """Adds a result at the end of the file."""
    line = json.dumps(asdict(result)) + "\n"
    with path.open("a+b") as file:
        if file.tell() > 0:
            file.seek(-1, 2)
            if file.read(1) != b"\n":
                line = "\n" + line
        file.write(line.encode())
