"""Tests of mnistry.export: the ONNX file's contract, and what keeps one from being written."""

import json
import logging
import os
import sys
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from numpy.typing import NDArray
from torch import Tensor, nn

import mnistry
from digits import make_digits, write_digits
from mnistry.errors import DependencyError, ModelError, StorageError, UsageError
from mnistry.export import TOLERANCE, Export, export_run
from mnistry.recipe import Recipe
from mnistry.run import Run, load_run
from mnistry.training import train
from networks import NETWORKS, bits_of

DATA = make_digits(120, 40)
IMAGES = DATA[1][0]
NAMES = ["cnn", "members", "own"]


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Run]:
    """Trained networks: one by the written-out step, an ensemble, a user's own module."""
    data = write_digits(tmp_path_factory.mktemp("data") / "digits", DATA)
    runs = {name: train(NETWORKS[name], data=data, epochs=1, seed=4) for name in NAMES}
    runs["own"].config["data"] |= {"name": "é\udcff", "classes": ["\udcff", "\n", *"23456789"]}
    return runs


@pytest.fixture(scope="module")
def exports(
    runs: dict[str, Run], tmp_path_factory: pytest.TempPathFactory
) -> dict[str, tuple[Export, dict[str, bytes]]]:
    """Each run's export, and that the run is as it was; do not write here."""
    found = {}
    for name, run in runs.items():
        path = tmp_path_factory.mktemp(name) / "deep.onnx"
        before = bits_of(run), run.network.training
        found[name] = export_run(run, path), before[0]
        assert (bits_of(run), run.network.training) == before
    return found


def read(path: Path, images: NDArray[np.uint8]) -> NDArray[np.float32]:
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    return np.asarray(session.run(None, {"images": images})[0])


# ----------------------------------------------------------------------------------- the contract


@pytest.mark.parametrize("name", NAMES)
def test_the_file_gives_the_runs_probabilities(name: str, runs, exports) -> None:
    path = exports[name][0].path
    for count in (0, 1, 37):
        found = read(path, IMAGES[:count])
        assert found.dtype == np.float32
        assert found.shape == (count, 10)
        np.testing.assert_allclose(found, runs[name].predict(IMAGES[:count]), atol=1e-5)
        np.testing.assert_allclose(found.sum(axis=1), 1, atol=1e-5)


@pytest.mark.parametrize("name", NAMES)
def test_one_input_one_output_one_file(name: str, exports) -> None:
    written = exports[name][0]
    session = onnxruntime.InferenceSession(written.path, providers=["CPUExecutionProvider"])
    (images,), (probabilities,) = session.get_inputs(), session.get_outputs()
    assert (images.name, images.type, images.shape) == ("images", "tensor(uint8)", ["n", 28, 28])
    assert (probabilities.name, probabilities.type) == ("probabilities", "tensor(float)")
    assert probabilities.shape == ["n", 10]
    assert os.listdir(written.path.parent) == ["deep.onnx"]  # no data beside it, no part of it
    onnx.checker.check_model(onnx.load(written.path), full_check=True)


@pytest.mark.parametrize("name", NAMES)
def test_it_says_how_it_was_checked(name: str, runs, exports) -> None:
    written = exports[name][0]
    assert (written.size, written.classes) == (written.path.stat().st_size, 10)
    assert (written.data, written.images) == ("digits test", 40)
    difference = float(np.abs(read(written.path, IMAGES) - runs[name].predict(IMAGES)).max())
    assert written.largest_difference == pytest.approx(difference, abs=1e-6)
    assert written.answers_differ == 0
    assert json.loads(json.dumps(written.to_dict()))["path"] == str(written.path)


@pytest.mark.parametrize("name", NAMES)
def test_the_metadata(name: str, runs, exports) -> None:
    model = onnx.load(exports[name][0].path)
    found = {entry.key: entry.value for entry in model.metadata_props}
    assert tuple(json.loads(found.pop("classes"))) == runs[name].classes
    assert found == {
        "mnistry_version": mnistry.__version__,
        "recipe": runs[name].recipe.name,
        "members": "2" if name == "members" else "1",
        "test_shifts": "1" if name == "members" else "0",
        "seed": "4",
        "data": "é?" if name == "own" else "digits",  # a file's name need not be Unicode
        "data_sha256": runs[name].config["data"]["sha256"],
    }
    assert (model.producer_name, model.producer_version) == ("mnistry", mnistry.__version__)
    assert "0 ground to 255 ink" in model.doc_string


@pytest.mark.parametrize("name", NAMES)
def test_it_names_no_files_of_this_machine(name: str, exports) -> None:
    content = exports[name][0].path.read_bytes()
    assert b".py" not in content
    assert str(Path(mnistry.__file__).parent).encode() not in content


def test_a_loaded_run_gives_the_same_bytes(runs, exports, tmp_path: Path) -> None:
    run = load_run(runs["cnn"].save(tmp_path / "run"))
    told: list[tuple[int, int]] = []
    written = export_run(run, tmp_path / "o.onnx", progress=lambda *part: told.append(part))
    assert written.path.read_bytes() == exports["cnn"][0].path.read_bytes()
    assert told == [(1, 40), (40, 40)]


# ----------------------------------------------------------------------------- nothing is written


@pytest.fixture
def forge(monkeypatch: pytest.MonkeyPatch):
    """Puts other bytes in the place of what the exporter gives, which takes seconds."""
    return lambda content: monkeypatch.setattr("mnistry.export._to_onnx", lambda *_: content)


def test_nothing_is_overwritten(runs, exports, tmp_path: Path, forge) -> None:
    (tmp_path / "file").write_bytes(b"kept")
    (tmp_path / "folder").mkdir()
    (tmp_path / "link").symlink_to("nowhere")
    for name in ("file", "folder", "link"):
        with pytest.raises(UsageError, match=f"{name}: is there already, and nothing is over"):
            export_run(runs["cnn"], tmp_path / name)
    forge(exports["cnn"][0].path.read_bytes())
    late = tmp_path / "late"
    with pytest.raises(UsageError, match="late: is there already"):
        export_run(runs["cnn"], late, progress=lambda *_: late.write_bytes(b"kept"))
    assert late.read_bytes() == (tmp_path / "file").read_bytes() == b"kept"


def test_a_place_that_cannot_be_written(runs, exports, tmp_path: Path, forge) -> None:
    forge(exports["cnn"][0].path.read_bytes())
    with pytest.raises(StorageError, match=r"o.onnx: there is no folder"):
        export_run(runs["cnn"], tmp_path / "no" / "o.onnx")
    assert os.listdir(tmp_path) == []


def test_answers_that_are_not_the_runs(runs, exports, tmp_path: Path, forge, monkeypatch) -> None:
    forge(exports["own"][0].path.read_bytes())
    path = tmp_path / "o.onnx"
    with pytest.raises(ModelError) as caught:
        export_run(runs["cnn"], path)
    expected, found = (runs[name].predict(IMAGES) for name in ("cnn", "own"))
    first = np.abs(found - expected)[0].max()
    assert str(caught.value) == (
        f"datumo-cnn: as ONNX it gives a probability that lies {first:.2g} from the run's own; "
        f"expected at most {TOLERANCE:g}, and nothing was written. Does its network draw random "
        "numbers, or compute in less than float32?"
    )
    assert os.listdir(tmp_path) == []
    monkeypatch.setattr("mnistry.export.TOLERANCE", 1.0)
    written = export_run(runs["cnn"], path)
    assert written.largest_difference == pytest.approx(np.abs(found - expected).max(), abs=1e-5)
    assert written.answers_differ == (found.argmax(1) != expected.argmax(1)).sum() > 0


def test_answers_that_are_no_numbers(runs, exports, tmp_path: Path, forge, monkeypatch) -> None:
    forge(exports["cnn"][0].path.read_bytes())
    monkeypatch.setattr(Run, "predict", lambda _, images: np.full((len(images), 10), np.nan))
    with pytest.raises(ModelError, match="a probability that lies nan from the run's own"):
        export_run(runs["cnn"], tmp_path / "o.onnx")
    assert os.listdir(tmp_path) == []


def test_graphs_that_onnxruntime_refuses(runs, exports, tmp_path: Path, forge) -> None:
    model = onnx.load(exports["cnn"][0].path)
    model.graph.input[0].type.tensor_type.shape.dim[0].dim_value = 2
    for content in (b"", b"\x08\x0a", model.SerializeToString()):
        forge(content)
        with pytest.raises(ModelError) as caught:
            export_run(runs["cnn"], tmp_path / "o.onnx")
        text = str(caught.value)
        assert text.startswith("datumo-cnn: ONNX Runtime cannot use what PyTorch made of its netw")
        assert text.endswith("expected one that takes any number of images. Nothing was written")
        assert "\n" not in text
    assert "index: 0 Got: 1 Expected: 2" in text
    assert os.listdir(tmp_path) == []


class Branching(nn.Module):
    """What PyTorch cannot export: it looks at an image to know what to compute."""

    def __init__(self) -> None:
        super().__init__()
        self.dense = nn.Linear(784, 10)

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.dense(x.flatten(1))
        return logits * 2 if x.sum() > 100 else logits


def test_a_network_that_cannot_be_exported(tmp_path: Path, capfd, caplog) -> None:
    run = Run(Recipe("mine", Branching), Branching(), [], {"data": {"classes": list("0123456789")}})
    run.network.train()
    with pytest.raises(ModelError) as caught:
        export_run(run, tmp_path / "o.onnx", data=DATA)
    text = str(caught.value)
    assert text.startswith("mine: its network cannot be put as ONNX (GuardOnDataDependentSymNode: ")
    assert text.endswith("no branches on what an image holds, no shape that is the batch's")
    assert len(text) < 500
    assert "\n" not in text
    assert run.network.training
    assert os.listdir(tmp_path) == []
    assert [record for record in caplog.records if record.levelno >= logging.INFO] == []
    assert tuple(capfd.readouterr()) == ("", "")


def test_data_that_was_arrays_is_given_again(tmp_path: Path, monkeypatch) -> None:
    run = train("vidhya-mlp", data=DATA, epochs=1)
    with pytest.raises(UsageError, match="was trained on arrays, which are not kept"):
        export_run(run, tmp_path / "o.onnx")


@pytest.mark.parametrize("package", ["onnx", "onnxscript", "onnxruntime"])
def test_a_package_that_is_missing(package: str, tmp_path: Path, monkeypatch) -> None:
    run: Any = None  # it is not looked at
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(DependencyError) as caught:
        export_run(run, tmp_path / "o.onnx")
    assert str(caught.value) == (
        f"{package} is not installed; in the folder of mnistry's source: "
        "pip install -c constraints.txt -e '.[train]'"
    )
