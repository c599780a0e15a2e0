"""mnistry.catalogue: what is written there is true of the real files."""

import zlib
from pathlib import Path

import pytest

from mnistry.catalogue import CATALOGUE, MNIST
from mnistry.idx import find_idx, format_idx, idx_sha256, read_idx
from mnistry.npz import KEYS


def test_names() -> None:
    assert all(name == source.name for name, source in CATALOGUE.items())


@pytest.mark.parametrize("source", CATALOGUE.values(), ids=CATALOGUE.keys())
def test_entries_are_complete(source) -> None:
    assert tuple(file.key for file in source.files) == KEYS
    for file in source.files:
        assert len(bytes.fromhex(file.sha256)) == 32
        assert len(bytes.fromhex(file.crc32)) == 4
    assert source.licence
    for mirror in source.mirrors:
        assert mirror.startswith("https://")
        assert mirror.endswith(("/", ".npz"))
        assert "lecun.com" not in mirror


@pytest.mark.parametrize("file", MNIST.files, ids=lambda file: file.name)
def test_constants_are_those_of_the_real_files(mnist_dir: Path, file) -> None:
    path = find_idx(mnist_dir, file.name)
    assert path
    array = read_idx(path)
    assert array.shape == file.shape
    assert idx_sha256(array) == file.sha256
    data = format_idx(array)
    assert len(data) == file.size
    assert f"{zlib.crc32(data):08x}" == file.crc32
