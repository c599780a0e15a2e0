"""mnistry.idx: IDX bytes to arrays and back."""

import gzip
import hashlib
import struct
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from mnistry import idx
from mnistry.errors import DataError, UsageError
from mnistry.idx import find_idx, format_idx, idx_sha256, parse_idx, read_bytes, read_idx

ARRAY = np.arange(2 * 28 * 28, dtype=np.uint8).reshape(2, 28, 28)
DATA = format_idx(ARRAY)

arrays = hnp.arrays(np.uint8, hnp.array_shapes(min_dims=1, max_dims=4, max_side=6))


def test_bytes_are_as_the_format_says() -> None:
    array = np.array([[1, 2, 3], [4, 5, 255]], np.uint8)
    assert format_idx(array) == bytes.fromhex("00000802 00000002 00000003 01 02 03 04 05 ff")


@given(arrays)
def test_round_trip(array: np.ndarray) -> None:
    data = format_idx(array)
    np.testing.assert_array_equal(parse_idx(data, "x"), array)
    assert parse_idx(data, "x").shape == array.shape
    assert idx_sha256(array) == hashlib.sha256(data).hexdigest()


def test_views_are_written_in_c_order() -> None:
    view = ARRAY[:, ::-1].T
    np.testing.assert_array_equal(parse_idx(format_idx(view), "x"), view)
    assert idx_sha256(view) == hashlib.sha256(format_idx(view)).hexdigest()


def test_parsing_does_not_copy() -> None:
    buffer = np.frombuffer(bytearray(DATA), np.uint8)
    assert np.shares_memory(parse_idx(buffer, "x"), buffer)
    assert not parse_idx(DATA, "x").flags.writeable


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"", "starts with nothing"),
        (b"\x00\x00\x08", "starts with 00 00 08"),
        (b"\x00\x00\x0d\x01" + bytes(8), "starts with 00 00 0d 01"),
        (b"\x00\x00\x08\x00", "starts with 00 00 08 00"),
        (b"\x00\x00\x08\x05" + bytes(40), "starts with 00 00 08 05"),
        (b"\x89PNG\r\n\x1a\n", "starts with 89 50 4e 47"),
        (DATA[:10], "ends within its header of 16 bytes"),
        (DATA[:-1], "has 1583 bytes, expected 1584"),
        (DATA + b"x", "has 1585 bytes, expected 1584"),
        (struct.pack(">4BI", 0, 0, 8, 1, 0), "no dimension may be 0"),
        (struct.pack(">4B3I", 0, 0, 8, 3, 0, 2**32 - 1, 2**32 - 1), "no dimension may be 0"),
        (struct.pack(">4B4I", 0, 0, 8, 4, *[2**32 - 1] * 4), "has 20 bytes"),
    ],
)
def test_damage_is_named(data: bytes, said: str) -> None:
    with pytest.raises(DataError) as caught:
        parse_idx(data, "the-file")
    assert str(caught.value).startswith("the-file: ")
    assert said in str(caught.value)


@given(
    st.binary(max_size=64)
    | st.tuples(st.integers(0, 40), st.integers(0, 255)).map(
        lambda flip: DATA[: flip[0]] + bytes([flip[1]]) + DATA[flip[0] + 1 :]
    )
    | st.integers(0, len(DATA)).map(lambda end: DATA[:end])
)
def test_any_bytes_give_an_array_or_an_error(data: bytes) -> None:
    try:
        array = parse_idx(data, "x")
    except DataError:
        return
    assert format_idx(array) == data


@pytest.mark.parametrize(
    "array",
    [ARRAY.astype(np.int64), np.uint8(3), np.empty((0, 28, 28), np.uint8), ARRAY[None, None]],
)
def test_only_bytes_are_written(array: np.ndarray) -> None:
    for write in (format_idx, idx_sha256):
        with pytest.raises(UsageError, match="expected uint8 of 1 to 4 dimensions"):
            write(np.asarray(array))


class TestFiles:
    @pytest.mark.parametrize("name", ["images", "images.gz", "images.txt"])
    @pytest.mark.parametrize("compress", [bytes, gzip.compress])
    def test_content_decides_not_the_name(self, tmp_path: Path, name: str, compress) -> None:
        (tmp_path / name).write_bytes(compress(DATA))
        array = read_idx(tmp_path / name)
        np.testing.assert_array_equal(array, ARRAY)
        assert array.flags.writeable

    def test_gzip_in_several_members(self, tmp_path: Path) -> None:
        path = tmp_path / "x"
        path.write_bytes(gzip.compress(DATA[:100]) + gzip.compress(DATA[100:]))
        np.testing.assert_array_equal(read_idx(path), ARRAY)

    def test_the_watcher_sees_all_bytes_in_order(self, tmp_path: Path) -> None:
        data = np.random.default_rng(0).integers(0, 256, 3_000_000, dtype=np.uint8).tobytes()
        for content in (data, gzip.compress(data, 1)):
            (tmp_path / "x").write_bytes(content)
            seen: list[bytes] = []
            read = read_bytes(tmp_path / "x", lambda piece, seen=seen: seen.append(bytes(piece)))
            assert len(seen) > 1
            assert b"".join(seen) == data == read.tobytes()

    @pytest.mark.parametrize("step", [1, 7])
    def test_gzip_cut_off_anywhere(self, tmp_path: Path, step: int) -> None:
        data = gzip.compress(DATA)
        for end in range(2, len(data), step * 40):
            (tmp_path / "x").write_bytes(data[:end])
            with pytest.raises(DataError, match="x: its gzip is"):
                read_idx(tmp_path / "x")

    def test_gzip_damaged_anywhere(self, tmp_path: Path) -> None:
        data = gzip.compress(DATA)
        for position in [*range(10, len(data), 50), len(data) - 8, len(data) - 1]:
            flipped = bytearray(data)
            flipped[position] ^= 0x55
            (tmp_path / "x").write_bytes(flipped)
            with pytest.raises(DataError, match="x: its gzip is"):
                read_idx(tmp_path / "x")

    def test_a_gzip_bomb_stops_early(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        (tmp_path / "bomb").write_bytes(gzip.compress(bytes(20_000_000)))
        monkeypatch.setattr(idx, "MAX_BYTES", 1_000_000)
        seen: list[int] = []
        with pytest.raises(DataError, match="bomb: holds more than 1000000 bytes"):
            read_bytes(tmp_path / "bomb", lambda piece: seen.append(len(piece)))
        assert sum(seen) <= 1_000_000

    def test_a_large_file_is_not_read(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        (tmp_path / "large").write_bytes(bytes(1001))
        monkeypatch.setattr(idx, "MAX_BYTES", 1000)
        with pytest.raises(DataError, match="large: holds more than 1000 bytes"):
            read_bytes(tmp_path / "large")

    @pytest.mark.parametrize("name", ["missing", "", "nul\0", "n" * 5000])
    def test_unreadable(self, tmp_path: Path, name: str) -> None:
        with pytest.raises(DataError, match="cannot be read"):
            read_idx(tmp_path / name)

    def test_find(self, tmp_path: Path) -> None:
        assert find_idx(tmp_path, "train-images-idx3-ubyte") is None
        (tmp_path / "train-images-idx3-ubyte").mkdir()
        for name in ("train-images.idx3-ubyte.gz", "train-images-idx3-ubyte.gz"):
            (tmp_path / name).touch()
            assert find_idx(tmp_path, "train-images-idx3-ubyte") == tmp_path / name


@settings(max_examples=200)
@given(data=st.data())
def test_any_file_gives_an_array_or_an_error(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    path = tmp_path_factory.getbasetemp() / "fuzzed-idx"
    content = bytearray(gzip.compress(DATA))
    for _ in range(data.draw(st.integers(0, 3))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    path.write_bytes(content[: data.draw(st.integers(0, len(content)))])
    try:
        array = read_idx(path)
    except DataError:
        return
    np.testing.assert_array_equal(array, ARRAY)
