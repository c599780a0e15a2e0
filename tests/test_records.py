"""Tests of benchmarks/records.py: it trains what is not there, takes what is, and never mixes."""

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import mnistry
from digits import make_digits, write_digits
from mnistry.runfolder import CONFIG, WEIGHTS
from mnistry.trainer import Progress
from mnistry.workers import cores

pytestmark = pytest.mark.slow

SCRIPT = Path(__file__).parents[1] / "benchmarks" / "records.py"


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    write_digits(tmp_path / "digits", make_digits())
    monkeypatch.chdir(tmp_path)
    return tmp_path / "runs" / "records"


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(SCRIPT), "--data", "./digits", *arguments]
    return subprocess.run(command, check=False, capture_output=True, text=True, timeout=300)


def rows(ended: subprocess.CompletedProcess[str]) -> list[list[str]]:
    assert ended.returncode == 0, ended.stderr
    table = [line for line in ended.stdout.splitlines() if line.startswith("| `")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in table]


def test_a_second_run_takes_what_lies_there(place: Path) -> None:
    (first,) = rows(run("--presets", "fast", "--seeds", "2"))
    folders = [place / "fast-0", place / "fast-1"]
    trained = [mnistry.load_run(folder) for folder in folders]
    shares = [run.evaluate("./digits").accuracy for run in trained]
    assert first[1].startswith(f"{50 * sum(shares):.2f} ± ")
    assert first[1].endswith(" (2)")
    assert first[3] == f"{sum(p.numel() for p in trained[0].network.parameters()):,}"
    assert first[-1] == "`mnistry train fast`"
    made = [(folder / WEIGHTS).stat().st_mtime_ns for folder in folders]

    (folders[1] / "record.json").unlink()  # stopped before it was scored
    again = run("--presets", "fast", "--seeds", "2", "--shifts", "1")
    plain, moved = rows(again)
    assert plain[1] == first[1]
    assert moved[0].endswith("`--shifts 1`")
    shifted = [run.evaluate("./digits", shifts=1).accuracy for run in trained]
    assert moved[1].startswith(f"{50 * sum(shifted):.2f} ± ")
    assert again.stderr.count("(already there)") == 1
    assert "disturbed" in plain[0]
    assert [(folder / WEIGHTS).stat().st_mtime_ns for folder in folders] == made


def test_one_that_was_stopped_is_finished(place: Path) -> None:
    def stop(progress: Progress) -> None:
        if progress.record:
            raise KeyboardInterrupt

    alike: dict[str, Any] = {"data": "./digits", "threads": cores()}
    with pytest.raises(KeyboardInterrupt):
        mnistry.train("strong", out=place / "strong-0", progress=stop, **alike)
    (row,) = rows(run("--presets", "strong", "--seeds", "1"))
    whole = mnistry.train("strong", **alike)
    found = mnistry.load_run(place / "strong-0")
    assert [epoch["loss"] for epoch in found.history] == [e["loss"] for e in whole.history]
    assert "1 of 1 disturbed" in row[0]
    assert row[-2] == "–"  # nobody measured the whole command


def test_members_are_the_mean_of_the_seeds(place: Path) -> None:
    one, both = rows(run("--presets", "fast", "--seeds", "1", "--members", "1"))
    assert one[0].startswith("`fast`")
    assert both[0].startswith("`best`, 1 members")
    share = mnistry.load_run(place / "best-0").evaluate("./digits").accuracy
    assert both[1] == f"{100 * share:.2f} (1)"


@pytest.mark.parametrize(
    "changed",
    [
        {},
        {"threads": 7},
        {"precision": "bfloat16"},
        {"recipe": {"epochs": 2}},
        {"data": {"sha256": "0" * 64}},
    ],
    ids=str,
)
def test_what_was_trained_in_another_way_is_not_taken(changed: dict[str, Any], place: Path) -> None:
    mnistry.train("fast", data="./digits", out=place / "fast-0", threads=cores())
    path = place / "fast-0" / CONFIG
    config = json.loads(path.read_text())
    for name, value in changed.items():
        config[name] = config[name] | value if isinstance(value, dict) else value
    path.write_text(json.dumps(config))
    ended = run("--presets", "fast", "--seeds", "1", "--precision", "float32")
    if changed:
        assert ended.returncode == 1
        assert re.search(r"fast-0: was trained in another way; delete it, or name", ended.stderr)
    else:
        assert rows(ended)[0][1].endswith(" (1)")
    assert (place / "fast-0" / WEIGHTS).exists()
