"""Tests of mnistry.runfolder: files that are whole or not there, and what is no run."""

import errno
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mnistry import runfolder
from mnistry.errors import ModelError, StorageError, UsageError
from mnistry.runfolder import (
    CONFIG,
    SCHEMA,
    check_arrays,
    claim_run_folder,
    make_run_folder,
    read_arrays,
    read_config,
    read_json,
    remove_part_files,
    write_arrays,
    write_json,
)

ARRAYS = {
    "matrix": np.arange(6, dtype=np.float32).reshape(2, 3),
    "turned": np.arange(6, dtype=np.float32).reshape(2, 3).T,
    "every second": np.arange(10, dtype=np.float32)[::2],
    "scalar": np.array(7.5, np.float32),
    "none": np.zeros((0, 4), np.float32),
    "count": np.array(3, np.int64),
}


def test_arrays_come_back_as_they_were(tmp_path: Path) -> None:
    path = tmp_path / "arrays.safetensors"
    write_arrays(path, ARRAYS, {"history": '[{"loss": "0.1\u00e9"}]'})
    found, notes = read_arrays(path)
    assert notes == {"history": '[{"loss": "0.1\u00e9"}]'}
    assert found.keys() == ARRAYS.keys()
    for name, array in ARRAYS.items():
        np.testing.assert_array_equal(found[name], array, strict=True)
    write_arrays(path, {"a": ARRAYS["matrix"]})
    assert read_arrays(path)[0].keys() == {"a"}
    assert read_arrays(path)[1] == {}
    assert [entry.name for entry in tmp_path.iterdir()] == [path.name]


def test_json_comes_back_as_it_was(tmp_path: Path) -> None:
    content = {"a": [1, 0.1, None, True, "\u00e9"], "b": {}}
    write_json(tmp_path / "a.json", content)
    assert read_json(tmp_path / "a.json") == content
    with pytest.raises(ValueError, match="not JSON compliant"):
        write_json(tmp_path / "a.json", float("nan"))
    assert read_json(tmp_path / "a.json") == content


# ------------------------------------------------------------------------------- the folder


def _fail(*_: Any, **__: Any) -> None:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def test_a_run_folder_is_made_with_its_config(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "empty").mkdir()
    (tmp_path / "here").mkdir()
    for place in (tmp_path / "runs" / "deep" / "a", tmp_path / "empty", Path("relative")):
        make_run_folder(place, {"seed": 3})
        assert read_config(place) == {"schema": SCHEMA, "seed": 3}
        assert [entry.name for entry in place.iterdir()] == [CONFIG]
    assert {entry.name for entry in tmp_path.iterdir()} == {"runs", "empty", "here", "relative"}


def test_the_working_folder_can_be_the_run_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = tmp_path / "here"
    place.mkdir()
    monkeypatch.chdir(place)
    make_run_folder(Path("."), {"seed": 3})
    assert read_config(place)["seed"] == 3


def test_nothing_is_overwritten(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine")
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "thesis.txt").write_text("mine")
    make_run_folder(tmp_path / "run", {"seed": 1})
    for name in ("file", "folder", "run"):
        with pytest.raises(UsageError, match=f"{name}: is there already, and nothing is overw"):
            make_run_folder(tmp_path / name, {"seed": 2})
    assert (tmp_path / "file").read_text() == "mine"
    assert (tmp_path / "folder" / "thesis.txt").read_text() == "mine"
    assert read_config(tmp_path / "run")["seed"] == 1
    assert len(list(tmp_path.iterdir())) == 3


@pytest.mark.parametrize("name", ["file/run", "x" * 300])
def test_a_run_folder_that_cannot_be_made(name: str, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(StorageError, match="the run folder cannot be made"):
        make_run_folder(tmp_path / name, {})
    assert [entry.name for entry in tmp_path.iterdir()] == ["file"]


@pytest.mark.parametrize("call", ["os.fsync", "pathlib.Path.rename", "pathlib.Path.mkdir"])
def test_a_full_disk_leaves_no_half_folder(
    call: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(call, _fail)
    with pytest.raises(StorageError):
        make_run_folder(tmp_path / "run", {})
    monkeypatch.undo()
    assert not list(tmp_path.iterdir())


def test_the_next_run_folder(tmp_path: Path) -> None:
    root = tmp_path / "runs"
    make_run_folder(root / "a-2", {})
    for number in (1, 3, 4):  # each call claims one, so that two trainings never share it
        assert claim_run_folder("a", root) == root / f"a-{number}"
        assert not list((root / f"a-{number}").iterdir())
    assert claim_run_folder("b", root) == root / "b-1"
    make_run_folder(root / "b-1", {})


def test_a_next_run_folder_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "runs").write_text("mine")
    with pytest.raises(StorageError, match="runs"):
        claim_run_folder("a", tmp_path / "runs")


def test_part_files_are_removed_and_nothing_else(tmp_path: Path) -> None:
    kept = {"a.part", ".hidden", "weights.safetensors", ".part.txt"}
    for name in kept | {".config.json.0a.part", ".0a.part"}:
        (tmp_path / name).write_text("x")
    remove_part_files(tmp_path)
    assert {entry.name for entry in tmp_path.iterdir()} == kept


# ---------------------------------------------------------------------------- damaged files


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "is damaged"),
        (b'{"schema": 2', "is damaged"),
        (b"\xff\xfe\x00", "is damaged"),
        (b"[" * 100_000, "is damaged"),
        (b"[]", "is no config of a run"),
        (b"3", "is no config of a run"),
        (b'{"seed": 1}', "is no config of a run"),
        (b'{"schema": 1}', "has schema 1, and this version of mnistry reads 2"),
        (b'{"schema": "2"}', "has schema '2'"),
        (b'{"schema": []}', r"has schema \[\]"),
    ],
)
def test_what_is_no_config(data: bytes, words: str, tmp_path: Path) -> None:
    (tmp_path / CONFIG).write_bytes(data)
    with pytest.raises(ModelError, match=f"config.json: {words}"):
        read_config(tmp_path)


def test_folders_that_are_no_run(tmp_path: Path) -> None:
    for place, words in (
        (tmp_path, r"config.json: cannot be read \(No such file"),
        (tmp_path / "nowhere", "nowhere: no such folder"),
    ):
        with pytest.raises(ModelError, match=words):
            read_config(place)
    (tmp_path / CONFIG).mkdir()
    with pytest.raises(ModelError, match=r"cannot be read \(Is a directory"):
        read_config(tmp_path)
    with pytest.raises(ModelError, match=r"config.json: cannot be read"):
        read_config(tmp_path / CONFIG)


@pytest.mark.parametrize(
    "spoil",
    [
        lambda _: b"",
        lambda data: data[:4],
        lambda data: data[:20],
        lambda data: data[:-1],
        lambda data: data + b"x",
        lambda data: b"PK\x03\x04" + data,
        lambda data: b"\xff" * 8 + data[8:],
        lambda data: data.replace(b"F32", b"F99"),
        lambda data: data.replace(b"F32", b"F64"),
        lambda data: data.replace(b"100", b"101"),
        lambda _: json.dumps({"a": 1}).encode(),
    ],
)
def test_what_is_no_safetensors(spoil: Callable[[bytes], bytes], tmp_path: Path) -> None:
    path = tmp_path / "weights.safetensors"
    write_arrays(path, {"a": np.arange(100, dtype=np.float32)}, {"note": "x"})
    assert read_arrays(path)[1] == {"note": "x"}
    path.write_bytes(spoil(path.read_bytes()))
    with pytest.raises(ModelError, match=r"weights.safetensors: is damaged"):
        read_arrays(path)
    path.unlink()
    with pytest.raises(ModelError, match=r"weights.safetensors: cannot be read \(No such file"):
        read_arrays(path)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"b": None}, r"another network's \(they differ in b\)"),
        ({"c": np.zeros(3, np.float32)}, r"another network's \(they differ in c\)"),
        ({"b": np.zeros(4, np.float32)}, r"b .*shape \(4,\); expected .*\(3,\)"),
        ({"b": np.zeros((3, 1), np.float32)}, r"b .*shape \(3, 1\)"),
        ({"b": np.zeros((), np.float32)}, r"b .*shape \(\)"),
        ({"b": np.zeros(3, np.int32)}, "b is int32"),
        ({"b": np.zeros(3, np.float64)}, "b is float64"),
        ({"b": np.array([0, np.nan, 0], np.float32)}, "b holds numbers that are not finite"),
        ({"b": np.array([0, np.inf, 0], np.float32)}, "b holds numbers that are not finite"),
    ],
)
def test_arrays_of_another_network(change: dict[str, Any], words: str) -> None:
    expected = {"a": np.zeros((2, 2), np.float32), "b": np.ones(3, np.float32)}
    check_arrays(Path("weights.safetensors"), expected, expected)
    found = {name: array for name, array in {**expected, **change}.items() if array is not None}
    with pytest.raises(ModelError, match=f"weights.safetensors: .*{words}"):
        check_arrays(Path("weights.safetensors"), found, expected)


def test_names_are_those_of_the_docstring() -> None:
    for name in (CONFIG, runfolder.HISTORY, runfolder.WEIGHTS, runfolder.CURVES):
        assert runfolder.__doc__
        assert name in runfolder.__doc__
