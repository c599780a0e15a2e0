"""mnistry.npz: Keras's archive, read without unpickling."""

import io
import pickle
import zipfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mirror_server import make_arrays, npz_bytes
from mnistry import npz
from mnistry.errors import DataError
from mnistry.npz import read_npz

ARRAYS = make_arrays()


def write(path: Path, arrays: dict) -> Path:
    path.write_bytes(npz_bytes(arrays))
    return path


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_reads_what_numpy_writes(tmp_path: Path, save) -> None:
    save(tmp_path / "a.npz", **ARRAYS, other=np.zeros(3))
    read = read_npz(tmp_path / "a.npz")
    assert list(read) == ["x_train", "y_train", "x_test", "y_test"]
    for key, array in ARRAYS.items():
        np.testing.assert_array_equal(read[key], array, strict=True)
        assert read[key].flags.writeable


def test_reads_only_what_is_asked(tmp_path: Path) -> None:
    path = write(tmp_path / "a.npz", {"y_test": np.arange(3)})
    assert read_npz(path, ["y_test"])["y_test"].tolist() == [0, 1, 2]
    with pytest.raises(DataError, match=r"a.npz: x_train is not in the archive: found y_test.npy"):
        read_npz(path)


def test_fortran_order_and_other_numbers(tmp_path: Path) -> None:
    array = np.asfortranarray(np.arange(24, dtype=">i4").reshape(2, 3, 4))
    path = write(tmp_path / "a.npz", {"a": array, "b": np.float32([1.5])})
    read = read_npz(path, ["a", "b"])
    np.testing.assert_array_equal(read["a"], array)
    assert read["b"].dtype == np.float32


class Trap:
    def __reduce__(self) -> tuple:
        return pytest.fail, ("the pickle was read",)


def test_nothing_is_unpickled(tmp_path: Path) -> None:
    objects = np.empty(1, object)
    objects[0] = Trap()
    path = write(tmp_path / "a.npz", {"a": objects})
    with pytest.raises(DataError, match="a is object"):
        read_npz(path, ["a"])
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("a.npy", pickle.dumps(Trap()))
    with pytest.raises(DataError, match="a has a damaged header"):
        read_npz(path, ["a"])


def member(header: str, data: bytes = b"") -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        text = header.encode("latin1") + b"\n"
        archive.writestr(
            "a.npy", b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text + data
        )
    return stream.getvalue()


@pytest.mark.parametrize(
    ("header", "said"),
    [
        (
            "{'descr': '|u1', 'fortran_order': False, 'shape': (9999999999,)}",
            "expected 1000000007",
        ),
        ("{'descr': '|u1', 'fortran_order': False, 'shape': (-1, -4)}", "shape (-1, -4)"),
        ("{'descr': '|u1', 'fortran_order': False, 'shape': (0,)}", "shape (0,)"),
        ("{'descr': '|u1', 'fortran_order': False, 'shape': (5,)}", "has 70 bytes, expected 71"),
        ("{'descr': '|O', 'fortran_order': False, 'shape': (4,)}", "is object"),
        ("{'descr': [('x', '|u1')], 'fortran_order': False, 'shape': (4,)}", "plain numbers"),
        ("{'descr': '<U1', 'fortran_order': False, 'shape': (1,)}", "plain numbers"),
        ("{'descr': '|u1'}", "damaged header"),
        ("__import__('os').abort()", "damaged header"),
        ("(" * 5000, "damaged header"),
    ],
)
def test_a_header_claims_nothing_unchecked(tmp_path: Path, header: str, said: str) -> None:
    (tmp_path / "a.npz").write_bytes(member(header, b"1234"))
    with pytest.raises(DataError) as caught:
        read_npz(tmp_path / "a.npz", ["a"])
    assert str(caught.value).startswith(f"{tmp_path / 'a.npz'}: a ")
    assert said in str(caught.value)


def test_a_large_array_is_not_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(npz, "MAX_BYTES", 1000)
    path = write(tmp_path / "a.npz", {"a": np.zeros(2000, np.uint8)})
    with pytest.raises(DataError, match="a has 2128 bytes, expected at most 1000"):
        read_npz(path, ["a"])


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04", b"not a zip", npz_bytes(ARRAYS)[:-30]])
def test_no_archive(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "a.npz").write_bytes(content)
    with pytest.raises(DataError, match=r"a.npz: cannot be read as .npz"):
        read_npz(tmp_path / "a.npz")


@pytest.mark.parametrize("name", ["missing.npz", "", "nul\0", "n" * 5000])
def test_unreadable(tmp_path: Path, name: str) -> None:
    with pytest.raises(DataError, match="cannot be read"):
        read_npz(tmp_path / name)


SMALL = npz_bytes({"a": np.arange(10, dtype=np.uint8)})


def read_mutated(path: Path, data: st.DataObject) -> None:
    content = bytearray(SMALL)
    for _ in range(data.draw(st.integers(0, 4))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    cut = data.draw(st.just(len(content)) | st.integers(0, len(content)))
    path.write_bytes(content[:cut])
    try:
        array = read_npz(path, ["a"])["a"]
    except DataError as error:
        message = str(error)
    else:
        message = str(array.shape)
    assert "\n" not in message


@settings(max_examples=150)
@given(data=st.data())
def test_any_file_gives_arrays_or_an_error(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    read_mutated(tmp_path_factory.getbasetemp() / "fuzzed.npz", data)


@pytest.mark.slow
@settings(max_examples=10_000)
@given(data=st.data())
def test_many_files_give_arrays_or_an_error(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    read_mutated(tmp_path_factory.getbasetemp() / "fuzzed.npz", data)
