"""The run folder: its files, their format, and reading and writing them so that nothing is lost.

    config.json              what was asked for, on what data, with what: written before training
    checkpoint.safetensors   weights, optimiser, history after the last whole epoch; goes at the end
    history.json             one record an epoch
    weights.safetensors      the result: a run that has it is finished
    curves.png               loss and accuracy by epoch

Every file is written under a temporary name, brought to the disk and then moved, so that whoever
reads one sees it whole or not at all, at whatever instant the writer is killed.
"""

import itertools
import json
import os
import zlib
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np

from mnistry.errors import DependencyError, ModelError, StorageError, UsageError
from mnistry.files import open_file, write_file

SCHEMA = 2
CONFIG, HISTORY, CURVES = "config.json", "history.json", "curves.png"
WEIGHTS, CHECKPOINT = "weights.safetensors", "checkpoint.safetensors"

Arrays = Mapping[str, np.ndarray[Any, Any]]


def write_json(path: Path, content: Any) -> None:
    """Writes a JSON file, whole or not at all; raises `StorageError`."""
    write_file(path, (json.dumps(content, indent=1, allow_nan=False) + "\n").encode())


def read_json(path: Path) -> Any:
    """Reads a JSON file.

    Raises:
        ModelError: It is missing, cut off or no JSON.
    """
    try:
        with open_file(path) as file:
            return json.loads(file.read())
    except OSError as error:
        raise ModelError(
            f"{path}: cannot be read ({error.strerror}); expected a run folder, as "
            "`mnistry train` writes it"
        ) from error
    except (ValueError, RecursionError) as error:
        raise ModelError(f"{path}: is damaged ({error}); expected JSON. Train again") from error


def write_arrays(path: Path, arrays: Arrays, notes: Mapping[str, str] | None = None) -> None:
    """Writes named arrays and notes as safetensors, whole or not at all; raises `StorageError`."""
    whole = {name: np.asarray(array, order="C") for name, array in arrays.items()}
    notes = dict(notes or {})
    write_file(path, _safetensors().save(whole, notes | {"crc32": _checksum(whole, notes)}))


def _checksum(arrays: Arrays, notes: Mapping[str, str]) -> str:
    """Of all numbers and notes: safetensors itself would not notice one that changed."""
    checksum = zlib.crc32(json.dumps(notes, sort_keys=True).encode())
    for name in sorted(arrays):
        checksum = zlib.crc32(arrays[name].tobytes(), checksum)
    return f"{checksum:08x}"


def read_arrays(path: Path) -> tuple[dict[str, np.ndarray[Any, Any]], dict[str, str]]:
    """Reads what `write_arrays` wrote: the arrays and the notes.

    Raises:
        ModelError: The file is missing, cut off, damaged or of another kind.
    """
    library = _safetensors()
    try:
        with open_file(path) as file:
            data = file.read()
    except OSError as error:
        raise ModelError(
            f"{path}: cannot be read ({error.strerror}); expected weights as safetensors"
        ) from error
    try:
        arrays = library.load(data)
        length = int.from_bytes(data[:8], "little")
        notes = json.loads(data[8 : 8 + length]).get("__metadata__", {})
    except Exception as error:  # safetensors raises many kinds on damaged bytes
        raise ModelError(
            f"{path}: is damaged or of another kind ({error}); expected safetensors. Train again"
        ) from error
    if notes.pop("crc32", None) != _checksum(arrays, notes):
        raise ModelError(f"{path}: is damaged (its CRC-32 is another); train again")
    return arrays, notes


def _safetensors() -> Any:
    try:
        import safetensors.numpy
    except ImportError as error:
        raise DependencyError.missing("safetensors") from error
    return safetensors.numpy


def check_arrays(path: Path, found: Arrays, expected: Arrays) -> None:
    """Holds arrays against those of a network, which have the names, shapes and dtypes to expect.

    Raises:
        ModelError: One is missing, too many, of another shape or dtype, or not finite.
    """
    if found.keys() != expected.keys():
        odd = ", ".join(sorted(found.keys() ^ expected.keys())[:4])
        raise ModelError(f"{path}: its weights are another network's (they differ in {odd})")
    for name, wanted in expected.items():
        array = found[name]
        if array.shape != wanted.shape or array.dtype != wanted.dtype:
            raise ModelError(
                f"{path}: {name} is {array.dtype} of shape {array.shape}; expected "
                f"{wanted.dtype} of {wanted.shape}"
            )
        if array.dtype.kind == "f" and not np.isfinite(array).all():
            raise ModelError(f"{path}: {name} holds numbers that are not finite; train again")


def check_free(path: Path) -> None:
    """Raises `UsageError` where there is something at a place already, but for an empty folder."""
    if os.path.lexists(path) and not (path.is_dir() and not os.listdir(path)):
        raise UsageError(
            f"{path}: is there already, and nothing is overwritten; name another --out, or go on "
            "with it by --resume if it is a run that was stopped"
        )


def make_run_folder(path: Path, config: Mapping[str, Any]) -> None:
    """Makes a run folder with its config.json in it, both at once.

    Raises:
        UsageError: There is something at that place already.
        StorageError: It cannot be made.
    """
    check_free(path)
    path = path.absolute()
    temporary = path.with_name(f".{path.name}.{os.urandom(4).hex()}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary.mkdir()
        try:
            write_json(temporary / CONFIG, {"schema": SCHEMA, **config})
            if os.name == "nt" and path.is_dir():
                path.rmdir()  # it is empty; Windows does not rename onto a folder
            temporary.rename(path)
        except BaseException:
            (temporary / CONFIG).unlink(missing_ok=True)
            temporary.rmdir()
            raise
    except OSError as error:
        raise StorageError(
            f"{path}: the run folder cannot be made ({error.strerror or error}); name another --out"
        ) from error


def remove_run_folder(path: Path) -> None:
    """Removes a run folder's own files, and the folder where it holds nothing else."""
    for name in (CONFIG, HISTORY, CURVES, WEIGHTS, CHECKPOINT):
        (path / name).unlink(missing_ok=True)
    remove_part_files(path)
    with suppress(OSError):
        path.rmdir()


def claim_run_folder(recipe: str, root: Path = Path("runs")) -> Path:
    """Makes the first of `<root>/<recipe>-1`, `-2`, ... that is not there yet, still empty.

    Raises:
        StorageError: It cannot be made.
    """
    for number in itertools.count(1):
        path = root / f"{recipe}-{number}"
        try:
            path.mkdir(parents=True)
        except FileExistsError:
            if not root.is_dir():
                raise StorageError(f"{root}: is no folder; move it away, or name --out") from None
            continue
        except OSError as error:
            raise StorageError(
                f"{path}: the run folder cannot be made ({error.strerror}); name another --out"
            ) from error
        return path
    raise AssertionError("there are more numbers")


def unclaim_run_folder(path: Path) -> None:
    """Removes a claimed run folder that nothing was put into, and the folder of runs likewise."""
    with suppress(OSError):  # it holds something
        path.rmdir()
        path.parent.rmdir()


def read_config(path: Path) -> dict[str, Any]:
    """The config of a run folder.

    Raises:
        ModelError: It is no run folder, or one of another version's.
    """
    if not os.path.isdir(path):
        what = "is no folder" if os.path.exists(path) else "no such folder"
        raise ModelError(f"{path}: {what}; expected a run folder, as `mnistry train` writes it")
    config = read_json(path / CONFIG)
    if not isinstance(config, dict) or "schema" not in config:
        raise ModelError(f"{path / CONFIG}: is no config of a run; expected what `train` writes")
    if config["schema"] != SCHEMA:
        raise ModelError(
            f"{path / CONFIG}: has schema {config['schema']!r}, and this version of mnistry reads "
            f"{SCHEMA}; read it with the version that wrote it"
        )
    return config


def remove_part_files(path: Path) -> None:
    """Removes what a killed writer left half written in a run folder."""
    for part in path.glob(".*.part"):
        part.unlink(missing_ok=True)
