"""Tests of mnistry.network: ONNX files as they should be, and others."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from mnistry.errors import ModelError
from mnistry.network import OnnxNetwork, reads_digits, shipped
from mnistry.pen.paper import write_sheet
from mnistry.reader import Reader

DIGITS = tuple("0123456789")


def test_the_shipped_network() -> None:
    assert len(shipped()) < 2_000_000
    network = OnnxNetwork(None, threads=1)
    assert network.classes == (*DIGITS, "none")
    assert reads_digits(network)
    assert 0 < network.min_confidence < 1
    images = np.random.default_rng(0).integers(0, 256, (600, 28, 28), np.uint8)
    found = network.predict(images)
    assert (found.shape, found.dtype) == ((600, 11), np.float32)
    np.testing.assert_allclose(found.sum(1), 1, atol=1e-5)
    np.testing.assert_allclose(found[550:560], network.predict(images[550:560]), atol=1e-5)


def onnx_file(
    path: Path,
    notes: dict[str, str] | None = None,
    *,
    takes: tuple[str, int] = ("images", TensorProto.UINT8),
    gives: str = "probabilities",
) -> Path:
    """Writes a network that finds every image to be a 0 to 90%, and a 3 to 10%."""
    answer = np.zeros(10, np.float32)
    answer[[0, 3]] = 0.9, 0.1
    nodes = [
        helper.make_node("Cast", [takes[0]], ["float"], to=TensorProto.FLOAT),
        helper.make_node("Flatten", ["float"], ["flat"]),
        helper.make_node("MatMul", ["flat", "nothing"], ["none"]),
        helper.make_node("Add", ["none", "answer"], [gives]),
    ]
    graph = helper.make_graph(
        nodes,
        "fixed",
        [helper.make_tensor_value_info(*takes, ["n", 28, 28])],
        [helper.make_tensor_value_info(gives, TensorProto.FLOAT, ["n", 10])],
        [
            onnx.numpy_helper.from_array(np.zeros((784, 10), np.float32), "nothing"),
            onnx.numpy_helper.from_array(answer, "answer"),
        ],
    )
    opset = [helper.make_opsetid("", 17)]
    model = helper.make_model(graph, opset_imports=opset, ir_version=8)
    helper.set_model_props(model, {"classes": json.dumps(DIGITS)} if notes is None else notes)
    path.write_bytes(model.SerializeToString())
    return path


def test_a_file(tmp_path: Path) -> None:
    for path in (onnx_file(tmp_path / "own.onnx"), str(tmp_path / "own.onnx")):
        reader = Reader(path)
        assert reader.min_confidence == 0
        found = reader.classify(np.zeros((1100, 28, 28), np.uint8))
        np.testing.assert_allclose(found, [[0.9, 0, 0, 0.1, *[0] * 6]] * 1100, atol=1e-6)


def test_the_notes_of_a_file(tmp_path: Path) -> None:
    notes = {"classes": json.dumps(DIGITS), "temperature": "2", "min_confidence": "0.8"}
    path = onnx_file(tmp_path / "own.onnx", notes)
    reader = Reader(path)
    assert reader.min_confidence == 0.8
    assert Reader(path, min_confidence=0.25).min_confidence == 0.25
    found = reader.classify(np.zeros((1, 28, 28), np.uint8))[0]
    assert found[0] == pytest.approx(3 / 4, abs=1e-4)  # the roots of 0.9 and 0.1 are as 3 to 1
    assert found[3] == pytest.approx(1 / 4, abs=1e-4)
    (digit,) = reader.read(write_sheet(["3"]).image).digits
    assert digit.label is None


def test_a_file_that_is_missing(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"nope\.onnx: cannot be read .*expected an ONNX file"):
        Reader(tmp_path / "nope.onnx")
    with pytest.raises(ModelError, match=r"cannot be read .*expected an ONNX file"):
        Reader(tmp_path)


@pytest.mark.parametrize("content", [b"", b"no network", bytes(1000)])
def test_a_file_that_is_no_network(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "bad.onnx").write_bytes(content)
    with pytest.raises(ModelError, match=r"bad\.onnx: has .*expected a network that reads digits"):
        Reader(tmp_path / "bad.onnx")


def test_a_file_that_is_cut_off(tmp_path: Path) -> None:
    whole = onnx_file(tmp_path / "cut.onnx").read_bytes()
    (tmp_path / "cut.onnx").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(ModelError, match=r"cut\.onnx: has no network that can be used"):
        Reader(tmp_path / "cut.onnx")


@pytest.mark.parametrize(
    "other",
    [
        {"takes": ("pixels", TensorProto.UINT8)},
        {"takes": ("images", TensorProto.FLOAT)},
        {"gives": "logits"},
    ],
    ids=str,
)
def test_a_network_that_takes_or_gives_something_else(other: Any, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"other\.onnx: has .*expected a network that reads"):
        Reader(onnx_file(tmp_path / "other.onnx", **other))


@pytest.mark.parametrize(
    "notes",
    [
        {},
        {"classes": "no list"},
        {"classes": "5"},
        {"classes": json.dumps(DIGITS), "temperature": "warm"},
        {"classes": json.dumps(DIGITS), "min_confidence": ""},
    ],
    ids=str,
)
def test_notes_that_cannot_be_read(notes: dict[str, str], tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"own\.onnx: has no notes that can be read"):
        Reader(onnx_file(tmp_path / "own.onnx", notes))


def test_notes_of_other_classes(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"reads the classes a, b.*expected the digits 0 to 9"):
        Reader(onnx_file(tmp_path / "own.onnx", {"classes": '["a", "b"]'}))
