"""A run to an ONNX file that needs neither PyTorch nor mnistry, held against the run on images.

    images          uint8 (n, 28, 28), 0 ground to 255 ink, light on dark as MNIST's
    probabilities   float32 (n, classes), each row adds up to 1

Scaling, the channel axis and the softmax are in the graph, so that nobody can prepare images in
another way than the network was trained on.
"""

import importlib
import json
import logging
import os
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from dataclasses import asdict, dataclass
from io import StringIO
from pathlib import Path
from textwrap import shorten
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from mnistry.dataset import Data, as_splits
from mnistry.errors import DependencyError, ModelError
from mnistry.files import check_free, write_file
from mnistry.model import probabilities_of
from mnistry.network import open_session
from mnistry.run import Run
from mnistry.shifts import at_a_time
from mnistry.version import __version__

TOLERANCE = 1e-4
"""How far a probability may lie from the run's own: sums in another order differ by some 1e-6."""

_BATCH = 1000  # images that are checked at a time, after one alone; each moved one counts
_ABOUT = (
    "Reads handwritten characters. images: uint8 (n, 28, 28), 0 ground to 255 ink, light on dark "
    "and normalised as MNIST's. probabilities: float32 (n, classes), in the order of `classes`."
)


@dataclass(frozen=True)
class Export:
    """An ONNX file that was written, and how its answers compare with the run's own.

    Attributes:
        path: The file.
        size: Its length in bytes.
        classes: How many there are.
        data: The name of the images it was checked on.
        images: How many there were.
        largest_difference: Between a probability of the file's and the run's own.
        answers_differ: Images for which another class is the most probable.
    """

    path: Path
    size: int
    classes: int
    data: str
    images: int
    largest_difference: float
    answers_differ: int

    def to_dict(self) -> dict[str, Any]:
        """The figures as JSON can hold them."""
        return asdict(self) | {"path": str(self.path)}


class _Inference(nn.Module):
    """A network with what comes before and after it."""

    def __init__(self, network: nn.Module, shifts: int) -> None:
        super().__init__()
        self.network, self.shifts = network, shifts

    def forward(self, images: Tensor) -> Tensor:  # (n, 28, 28) uint8
        """Gives the probabilities, (n, classes) float32."""
        pixels = (images.float() / 255).unsqueeze(1)
        return probabilities_of(self.network, pixels, self.shifts)


def export_run(
    run: Run,
    path: str | os.PathLike[str],
    data: Data | None = None,
    data_dir: str | os.PathLike[str] | None = None,
    progress: Callable[[int, int], object] | None = None,
    notes: Mapping[str, str] | None = None,
) -> Export:
    """Writes a run as an ONNX file, after holding its answers against the run's own.

    The file takes `images`, uint8 (n, 28, 28) from 0 ground to 255 ink, and gives `probabilities`,
    float32 (n, classes); its metadata say what the classes are, and what was trained on what.

    Args:
        run: What to export; an ensemble becomes one file.
        path: The file, which is not there yet.
        data: What to check it on, as `train` takes it: all test images; what the run was trained
            on if left out.
        data_dir: Where the public data set lies, as for `load_data`.
        progress: Is told how many images have been checked, of how many.
        notes: More for its metadata: a reader's "temperature" and "min_confidence".

    Raises:
        UsageError: There is something at that place already, or the run was trained on arrays.
        DependencyError: onnx, onnxscript or onnxruntime is not installed.
        DataError, NetworkError: The data cannot be had.
        ModelError: The network cannot be put as ONNX, or a probability differs by over 1e-4.
        StorageError: The file cannot be written.
    """
    place = Path(path)
    check_free(place)
    _check_libraries()
    splits = run.load_data(data_dir) if data is None else as_splits(data, data_dir)
    images = splits.test.images
    content = _to_onnx(run, notes or {})
    tell = progress or (lambda _done, _total: None)
    difference, others = _compare(content, run, images, tell)
    check_free(place)
    write_file(place, content)
    name = f"{splits.name} test"
    return Export(place, len(content), len(run.classes), name, len(images), difference, others)


def _check_libraries() -> None:
    """Sees to it that all that is needed is there."""
    try:
        for name in ("onnx", "onnxscript", "onnxruntime"):
            importlib.import_module(name)
    except ImportError as error:
        raise DependencyError.missing(error.name) from error


def _to_onnx(run: Run, notes: Mapping[str, str]) -> bytes:
    """The bytes of the run's ONNX file.

    Raises:
        ModelError: The network cannot be put as ONNX.
    """
    was_training = run.network.training
    try:
        with _silenced():
            program: Any = torch.onnx.export(
                _Inference(run.network, run.recipe.test_shifts).eval(),
                (torch.zeros(2, 28, 28, dtype=torch.uint8),),
                input_names=["images"],
                output_names=["probabilities"],
                dynamic_shapes=({0: torch.export.Dim("n")},),
                dynamo=True,
                external_data=False,
                verbose=False,
            )
            model = program.model_proto
    except Exception as error:  # whatever a user's own network meets in there
        raise ModelError(
            f"{run.recipe.name}: its network cannot be put as ONNX ({_reason(error)}); expected "
            "one that PyTorch can export for any number of images: no branches on what an image "
            "holds, no shape that is the batch's"
        ) from error
    finally:
        run.network.train(was_training)
    _forget_origins(model)
    model.producer_name, model.producer_version, model.doc_string = "mnistry", __version__, _ABOUT
    for key, value in (_metadata(run) | dict(notes)).items():
        model.metadata_props.add(key=key, value=value.encode("utf-8", "replace").decode())
    content: bytes = model.SerializeToString(deterministic=True)
    return content


@contextmanager
def _silenced() -> Iterator[None]:
    """Keeps what PyTorch's exporter prints, logs and warns of, its own insides, from the user."""
    before = logging.root.manager.disable
    logging.disable()
    try:
        with warnings.catch_warnings(), redirect_stdout(StringIO()), redirect_stderr(StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)


def _reason(error: BaseException) -> str:
    """What went wrong first, without the pages of advice that follow it."""
    while error.__cause__ is not None:
        error = error.__cause__
    return shorten(f"{type(error).__name__}: {error}", 200, placeholder=" ...")


def _forget_origins(message: Any) -> None:
    """Removes the exporter's notes from every part: they name the files and lines of the code."""
    for name in ("metadata_props", "doc_string"):
        if name in message.DESCRIPTOR.fields_by_name:
            message.ClearField(name)
    for kind, value in message.ListFields():
        if kind.message_type is not None:
            for part in [value] if hasattr(value, "ListFields") else value:
                _forget_origins(part)


def _metadata(run: Run) -> dict[str, str]:
    data = run.config["data"]
    return {
        "classes": json.dumps(run.classes),
        "mnistry_version": __version__,
        "recipe": run.recipe.name,
        "members": str(run.recipe.members),
        "test_shifts": str(run.recipe.test_shifts),
        "seed": str(run.config.get("seed")),
        "data": str(data.get("name")),
        "data_sha256": str(data.get("sha256")),
    }


def _compare(
    content: bytes,
    run: Run,
    images: NDArray[np.uint8],
    progress: Callable[[int, int], object],
) -> tuple[float, int]:
    """The largest difference from the run's own probabilities, and how many answers differ.

    Raises:
        ModelError: ONNX Runtime cannot run the graph, or the difference is over the tolerance.
    """
    largest, others, done = 0.0, 0, 0
    with _refusals(run):
        session = open_session(content)
    size = at_a_time(_BATCH, run.recipe.test_shifts)
    for part in np.split(images, range(1, len(images), size)):
        expected = run.predict(part)
        with _refusals(run):
            found = session.run(["probabilities"], {"images": part})[0]
            difference = float(np.abs(found - expected).max())
        if not difference <= TOLERANCE:  # nan, too
            raise ModelError(
                f"{run.recipe.name}: as ONNX it gives a probability that lies {difference:.2g} "
                f"from the run's own; expected at most {TOLERANCE:g}, and nothing was written. "
                "Does its network draw random numbers, or compute in less than float32?"
            )
        largest = max(largest, difference)
        others += int((found.argmax(1) != expected.argmax(1)).sum())
        done += len(part)
        progress(done, len(images))
    return largest, others


@contextmanager
def _refusals(run: Run) -> Iterator[None]:
    """Makes a ModelError of whatever ONNX Runtime raises, which has kinds of its own."""
    try:
        yield
    except Exception as error:
        raise ModelError(
            f"{run.recipe.name}: ONNX Runtime cannot use what PyTorch made of its network "
            f"({_reason(error)}); expected one that takes any number of images. Nothing was written"
        ) from error
