"""The network that reads: in an ONNX file, as `mnistry export` writes it, without PyTorch."""

import json
import math
import os
import pkgutil
from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from mnistry.calibration import at_temperature
from mnistry.errors import ModelError
from mnistry.files import open_file
from mnistry.normalise import SIZE
from mnistry.shifts import MOST_SHIFTS, at_a_time

READER, PAIR_READER = "reader.onnx", "pairs.onnx"
"""The networks that come with Mnistry: of one digit, and of two that touch."""

_BATCH = 128  # images at a time, each time that it is read counted: what fits into caches

Floats = NDArray[np.float32]
UInt8s = NDArray[np.uint8]


class Network(Protocol):
    """What a reader needs: a `Run` is one, an exported file becomes one."""

    @property
    def classes(self) -> Sequence[str]:
        """The digits "0" to "9", and after them whatever is none."""

    def predict(self, images: UInt8s) -> Floats:
        """Gives (n, classes) probabilities for (n, 28, 28) uint8 images, 0 ground to 255 ink."""


def reads_digits(network: Network) -> bool:
    """Whether its first ten classes are the digits."""
    return tuple(network.classes[:10]) == tuple("0123456789")


class OnnxNetwork:
    """A network in an ONNX file, as `mnistry export` writes it; it needs no PyTorch.

    Its notes may give a temperature, by which its probabilities are calibrated (Guo and others,
    2017), the least confidence that is worth an answer, and by how many pixels it moves each image.

    Attributes:
        path: Where the file is; None for one that comes with Mnistry: `own`.
        classes: What the network tells apart.
        temperature: See above; 1 for none.
        min_confidence: 0..1.
    """

    def __init__(
        self, path: str | os.PathLike[str] | None, threads: int, own: str = READER
    ) -> None:
        self.path = None if path is None else os.fspath(path)
        name = self.path or own
        content = shipped(own) if path is None else _content(path)
        self._session = _session(content, name, threads)
        notes = self._session.get_modelmeta().custom_metadata_map
        try:
            self.classes: tuple[str, ...] = tuple(map(str, json.loads(notes["classes"])))
            self.temperature = float(notes.get("temperature", "1"))
            self.min_confidence = float(notes.get("min_confidence", "0"))
            shifts = int(notes.get("test_shifts", "0"))
            if not (
                0 < self.temperature < math.inf
                and 0 <= self.min_confidence <= 1
                and 0 <= shifts <= MOST_SHIFTS
            ):
                raise ValueError(
                    f"temperature {self.temperature}, min_confidence {self.min_confidence}, "
                    f"test_shifts {shifts}"
                )
        except (KeyError, ValueError, TypeError) as error:
            raise ModelError(
                f"{name}: {_expected(f'no notes that can be read ({error})')}"
            ) from error
        self._batch = at_a_time(_BATCH, shifts)
        try:
            shape = self._run(np.zeros((1, SIZE, SIZE), np.uint8)).shape
        except Exception as error:  # onnxruntime has kinds of its own
            raise ModelError(f"{name}: {_expected('a network for other images')}") from error
        if shape != (1, len(self.classes)):
            found = f"{len(self.classes)} classes, and gives numbers of shape {shape} for an image"
            raise ModelError(f"{name}: {_expected(found)}")

    def predict(self, images: UInt8s) -> Floats:
        """Gives (n, classes) probabilities for (n, 28, 28) uint8 images, 0 ground to 255 ink.

        Raises:
            ModelError: They are no numbers.
        """
        size = self._batch
        parts = [self._run(images[start : start + size]) for start in range(0, len(images), size)]
        found = np.concatenate([np.empty((0, len(self.classes)), np.float32), *parts])
        if not np.isfinite(found).all():
            name = self.path or "the network"
            raise ModelError(f"{name}: gives probabilities that are no numbers; train it again")
        return at_temperature(found, self.temperature)

    def _run(self, images: UInt8s) -> Floats:
        found: Floats = self._session.run(["probabilities"], {"images": images})[0]
        return found


def shipped(name: str = READER) -> bytes:
    """The ONNX file of a network that comes with Mnistry."""
    content = pkgutil.get_data("mnistry", name)  # importlib.resources takes long to import
    if content is None:
        raise FileNotFoundError(name)
    return content


def _content(path: str | os.PathLike[str]) -> bytes:
    try:
        with open_file(path) as file:
            return file.read()
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise ModelError(
            f"{os.fspath(path)}: cannot be read ({reason}); expected an ONNX file, as "
            "`mnistry export` writes it"
        ) from error


def open_session(content: bytes, threads: int = 0) -> Any:
    """ONNX Runtime's session of an ONNX file: it is quiet, and leaves the cores to others.

    Raises:
        Exception: Of ONNX Runtime's own kinds.
    """
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4  # what fails is raised
    options.intra_op_num_threads = threads
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    return onnxruntime.InferenceSession(content, options, ["CPUExecutionProvider"])


def _session(content: bytes, name: str, threads: int) -> Any:
    try:
        session = open_session(content, threads)
        shapes = [(i.name, i.type) for i in (*session.get_inputs(), *session.get_outputs())]
    except Exception as error:  # onnxruntime has kinds of its own
        raise ModelError(f"{name}: {_expected('no network that can be used')}") from error
    if shapes != [("images", "tensor(uint8)"), ("probabilities", "tensor(float)")]:
        raise ModelError(f"{name}: {_expected(f'{shapes!r:.120}')}")
    return session


def _expected(found: str) -> str:
    return (
        f"has {found}; expected a network that reads digits, in a file as `mnistry export` "
        "writes it"
    )
