"""Tests of mnistry.network: ONNX files as they should be, and others."""

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from onnx import TensorProto

from mnistry.errors import ModelError
from mnistry.network import OnnxNetwork, reads_digits, shipped
from mnistry.pen.paper import write_sheet
from mnistry.reader import Reader
from networks import write_onnx

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


def test_a_file(tmp_path: Path) -> None:
    for path in (write_onnx(tmp_path / "own.onnx"), str(tmp_path / "own.onnx")):
        reader = Reader(path)
        assert reader.min_confidence == 0
        found = reader.classify(np.zeros((1100, 28, 28), np.uint8))
        np.testing.assert_allclose(found, [[0.9, 0, 0, 0.1, *[0] * 6]] * 1100, atol=1e-6)


def test_the_notes_of_a_file(tmp_path: Path) -> None:
    notes = {"classes": json.dumps(DIGITS), "temperature": "2", "min_confidence": "0.8"}
    path = write_onnx(tmp_path / "own.onnx", notes)
    reader = Reader(path)
    assert reader.min_confidence == 0.8
    assert Reader(path, min_confidence=0.25).min_confidence == 0.25
    found = reader.classify(np.zeros((1, 28, 28), np.uint8))[0]
    assert found[0] == pytest.approx(3 / 4, abs=1e-4)  # the roots of 0.9 and 0.1 are as 3 to 1
    assert found[3] == pytest.approx(1 / 4, abs=1e-4)
    (digit,) = reader.read(write_sheet(["3"]).image).digits
    assert digit.label is None


@pytest.mark.parametrize("shifts", ["0", "1", "4"])
def test_a_network_that_moves_images_is_given_fewer(shifts: str, tmp_path: Path) -> None:
    notes = {"classes": json.dumps(DIGITS), "test_shifts": shifts}
    network = OnnxNetwork(write_onnx(tmp_path / "own.onnx", notes), 1)
    run, sizes = network._run, []
    network._run = lambda images: sizes.append(len(images)) or run(images)  # type: ignore[method-assign, func-returns-value]
    assert network.predict(np.zeros((600, 28, 28), np.uint8)).shape == (600, 10)
    assert max(sizes) * (2 * int(shifts) + 1) ** 2 <= 128
    assert max(sizes) == {"0": 128, "1": 14, "4": 1}[shifts]


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
    whole = write_onnx(tmp_path / "cut.onnx").read_bytes()
    (tmp_path / "cut.onnx").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(ModelError, match=r"cut\.onnx: has no network that can be used"):
        Reader(tmp_path / "cut.onnx")


@pytest.mark.parametrize(
    "other",
    [
        {"takes": ("pixels", TensorProto.UINT8)},
        {"takes": ("images", TensorProto.FLOAT)},
        {"gives": "logits"},
        {"sides": (32, 32)},
        {"notes": {"classes": json.dumps([*DIGITS, "none"])}},
    ],
    ids=str,
)
def test_a_network_that_takes_or_gives_something_else(other: Any, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"other\.onnx: has .*expected a network that reads"):
        Reader(write_onnx(tmp_path / "other.onnx", **other))


@pytest.mark.parametrize(
    "notes",
    [
        {},
        {"classes": "no list"},
        {"classes": "5"},
        {"classes": json.dumps(DIGITS), "temperature": "warm"},
        {"classes": json.dumps(DIGITS), "min_confidence": ""},
        {"classes": json.dumps(DIGITS), "min_confidence": "7"},
        {"classes": json.dumps(DIGITS), "min_confidence": "nan"},
        {"classes": json.dumps(DIGITS), "test_shifts": "one"},
        {"classes": json.dumps(DIGITS), "test_shifts": "5"},
        {"classes": json.dumps(DIGITS), "test_shifts": "-1"},
        *[{"classes": json.dumps(DIGITS), "temperature": t} for t in ("0", "-1", "nan", "inf")],
    ],
    ids=str,
)
def test_notes_that_cannot_be_read(notes: dict[str, str], tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"own\.onnx: has no notes that can be read"):
        Reader(write_onnx(tmp_path / "own.onnx", notes))


@pytest.mark.parametrize("zero", [np.nan, np.inf])
def test_answers_that_are_no_numbers(zero: float, tmp_path: Path) -> None:
    path = write_onnx(tmp_path / "own.onnx", zero=zero)
    expected = f"{path}: gives probabilities that are no numbers; train it again"
    with pytest.raises(ModelError, match=re.escape(expected)):
        Reader(path).classify(np.zeros((3, 28, 28), np.uint8))


def test_notes_of_other_classes(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"reads the classes a, b.*expected the digits 0 to 9"):
        Reader(write_onnx(tmp_path / "own.onnx", {"classes": json.dumps(list("abcdefghij"))}))
