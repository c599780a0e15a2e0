"""Tests of mnistry.adaptation: the shipped reader, trained on."""

from pathlib import Path

import numpy as np
import onnx
import pytest
import torch

from mnistry import adaptation
from mnistry.adaptation import adapt, load_network
from mnistry.errors import ModelError, StorageError, UsageError
from mnistry.model import logits_of
from mnistry.network import OnnxNetwork, shipped
from mnistry.pen import PenSet, write
from mnistry.reader import Reader


@pytest.fixture(scope="module")
def digits() -> tuple[np.ndarray, np.ndarray]:
    written, _ = write(PenSet(300, 1, 20, seed=8))
    return written.images, written.labels


def test_the_network_is_the_shipped_readers(digits: tuple[np.ndarray, np.ndarray]) -> None:
    images, _ = digits
    network = load_network(shipped(), images)
    pixels = torch.from_numpy(images).unsqueeze(1) / 255
    reader = OnnxNetwork(None, threads=1)
    reader.temperature = 1.0
    own = logits_of(network, pixels).softmax(1).numpy()
    apart = np.abs(own - reader.predict(images))  # whose activations are whole numbers, too
    assert apart.max() < 0.1
    assert apart.mean() < 1e-3
    network.train()
    with torch.no_grad():  # by its own batch's statistics it says nearly the same
        alike = (network(pixels).argmax(1).numpy() == own.argmax(1)).mean()
    assert alike > 0.95


def test_what_no_reader_reads_is_learnt(
    tmp_path: Path, digits: tuple[np.ndarray, np.ndarray], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(adaptation, "_WRITTEN", 1_500)
    monkeypatch.setattr(adaptation, "_OTHERS", 300)
    monkeypatch.setattr(adaptation, "_PAIRS", 100)
    images, labels = digits
    odd = np.isin(labels, (1, 7))
    images, labels = images[odd], labels[odd]
    labels = np.where(labels == 1, 7, 1).astype(np.uint8)  # a hand that writes the one as the other
    told = []
    found = adapt(
        images, labels, tmp_path / "mine.onnx", progress=lambda *told_: told.append(told_)
    )
    assert found.path == tmp_path / "mine.onnx"
    assert found.examples == len(images)
    assert found.before < 0.1
    assert found.after > 0.2  # and sure of it
    assert {(number, count) for number, count, _ in told} == {(n, 4) for n in range(4)}
    mine = Reader(found.path)
    assert (mine.classify(images).argmax(1) == labels).mean() > 0.35
    assert mine.min_confidence == Reader().min_confidence
    for name, least in {"_WRITTEN": 100, "_OTHERS": 20, "_PAIRS": 10, "_EPOCHS": 1}.items():
        monkeypatch.setattr(adaptation, name, least)
    sure = adapt(images, labels, tmp_path / "sure.onnx", min_confidence=1)
    assert (sure.before, sure.after) == (0, 0)  # "?" is not right


def test_what_cannot_be(tmp_path: Path, digits: tuple[np.ndarray, np.ndarray]) -> None:
    images, labels = digits
    with pytest.raises(UsageError, match="there are 19 labelled digits, expected 20 or more"):
        adapt(images[:19], labels[:19], tmp_path / "mine.onnx")
    with pytest.raises(UsageError, match="come from 2 images, expected 3 or more"):
        adapt(images, labels, tmp_path / "mine.onnx", np.arange(len(images)) % 2)
    with pytest.raises(StorageError, match=r"there is no folder .*nowhere"):
        adapt(images, labels, tmp_path / "nowhere" / "mine.onnx")
    (tmp_path / "there.onnx").touch()
    with pytest.raises(UsageError, match="is there already, and nothing is overwritten"):
        adapt(images, labels, tmp_path / "there.onnx")


def test_a_file_that_lacks_weights(digits: tuple[np.ndarray, np.ndarray]) -> None:
    model = onnx.load_from_string(shipped())
    (last,) = [t for t in model.graph.initializer if t.name.endswith("dense_2.kernel")]
    last.name = "other"
    with pytest.raises(ModelError, match=r"the file has no dense_2\.kernel"):
        load_network(model.SerializeToString(), digits[0])
