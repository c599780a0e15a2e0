"""mnistry.sources: the places of a public set, its download and its cache."""

import gzip
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from mirror_server import NAMES, Mirror, make_arrays, make_source, npz_bytes
from mnistry import download
from mnistry.catalogue import MNIST, Source
from mnistry.errors import DataError, NetworkError, StorageError
from mnistry.idx import format_idx
from mnistry.sources import cache_dir, cache_entries, clear_cache, load_source

ARRAYS = make_arrays()
OTHER = make_arrays(seed=1)
SOURCE = make_source(ARRAYS)
IMAGES = "/gz/train-images-idx3-ubyte.gz"


@pytest.fixture(autouse=True)
def _no_place(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MNISTRY_DATA", raising=False)


@pytest.fixture
def mirror() -> Iterator[Mirror]:
    with Mirror(ARRAYS) as server:
        yield server


@pytest.fixture
def second() -> Iterator[Mirror]:
    with Mirror(ARRAYS) as server:
        yield server


def assert_whole(arrays: dict[str, np.ndarray]) -> None:
    assert list(arrays) == list(ARRAYS)
    for key, array in ARRAYS.items():
        np.testing.assert_array_equal(arrays[key], array, strict=True)
        assert arrays[key].flags.writeable


def kept() -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in (cache_dir() / "mnist").glob("*")}


WHOLE = {NAMES[key]: format_idx(array) for key, array in ARRAYS.items()}


def write_idx(folder: Path, spelling: str = "{}", compress=bytes, arrays=ARRAYS) -> Path:
    folder.mkdir(exist_ok=True)
    for key, array in arrays.items():
        (folder / spelling.format(NAMES[key])).write_bytes(compress(format_idx(array)))
    return folder


class TestMirrors:
    @pytest.mark.parametrize("form", ["gz", "npz"])
    def test_downloads_once(self, mirror: Mirror, form: str) -> None:
        url = getattr(mirror, form)
        source = replace(SOURCE, mirrors=(url,))
        arrays, origin = load_source(source)
        assert_whole(arrays)
        assert origin == url
        assert kept() == WHOLE
        mirror.asked.clear()
        arrays, origin = load_source(source)
        assert_whole(arrays)
        assert origin == str(cache_dir() / "mnist")
        assert mirror.asked == []

    def test_files_that_the_transport_unpacks(self, mirror: Mirror) -> None:
        mirror.fail("encoded")
        assert_whole(load_source(replace(SOURCE, mirrors=(mirror.gz,)))[0])

    @pytest.mark.parametrize("form", ["gz", "npz"])
    def test_progress_counts_to_the_size(self, mirror: Mirror, form: str) -> None:
        told: list[tuple[int, int]] = []
        source = replace(SOURCE, mirrors=(getattr(mirror, form),))
        load_source(source, progress=lambda done, total: told.append((done, total)))
        done = [number for number, _ in told]
        assert done == sorted(done)
        assert told[-1] == (SOURCE.size, SOURCE.size)
        assert {total for _, total in told} == {SOURCE.size}

    @pytest.mark.parametrize(
        "fault",
        ["404", "503", "cut", "wrong", "page", "empty", "lying", "silent", "stall", "endless"],
    )
    def test_a_fault_leads_to_the_next(
        self, mirror: Mirror, second: Mirror, fault: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(download, "SILENCE_SECONDS", 0.3)
        mirror.fail(fault)
        started = time.monotonic()
        arrays, origin = load_source(replace(SOURCE, mirrors=(mirror.gz, mirror.npz, second.npz)))
        assert_whole(arrays)
        assert origin == second.npz
        assert kept() == WHOLE
        assert time.monotonic() - started < 5

    @pytest.mark.parametrize("fault", ["404", "cut", "wrong", "stall"])
    def test_what_came_whole_is_not_asked_for_again(
        self, mirror: Mirror, second: Mirror, fault: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(download, "SILENCE_SECONDS", 0.3)
        mirror.fail(fault, "/gz/t10k-images-idx3-ubyte.gz")
        arrays, _ = load_source(replace(SOURCE, mirrors=(mirror.gz, second.gz)))
        assert_whole(arrays)
        assert IMAGES not in second.asked
        assert "/gz/t10k-images-idx3-ubyte.gz" in second.asked

    def test_no_mirror_is_right(self, mirror: Mirror) -> None:
        mirror.fail("wrong", "/mnist.npz", IMAGES)
        with pytest.raises(NetworkError) as caught:
            load_source(replace(SOURCE, mirrors=(mirror.gz, mirror.npz, f"{mirror.url}none/")))
        message = str(caught.value)
        assert f"{mirror.gz}: sends damaged or other files" in message
        assert f"{mirror.npz}: sends damaged or other files" in message
        assert f"{mirror.url}none/: answers 404" in message
        assert all(name in message for name in NAMES.values())
        assert "mnist.npz" in message
        assert "--data-dir or MNISTRY_DATA" in message
        assert "\n" not in message
        assert caught.value.exit_code == 5
        assert kept() == {}

    def test_another_set_under_the_same_names_is_refused(self) -> None:
        with Mirror(OTHER) as other, pytest.raises(NetworkError, match="damaged or other files"):
            load_source(replace(SOURCE, mirrors=(other.gz, other.npz)))
        assert kept() == {}

    def test_killed_in_the_middle(self, mirror: Mirror) -> None:
        mirror.fail("stall", "/gz/t10k-images-idx3-ubyte.gz")
        source = replace(SOURCE, mirrors=(mirror.gz,))
        program = (
            "from mnistry.catalogue import *; from mnistry.sources import load_source\n"
            f"load_source({source!r})"
        )
        with subprocess.Popen([sys.executable, "-c", program]) as process:
            while mirror.asked.count("/gz/t10k-images-idx3-ubyte.gz") == 0:
                assert process.poll() is None
                time.sleep(0.02)
            time.sleep(0.1)
            process.send_signal(signal.SIGKILL)
        folder = cache_dir() / "mnist"
        left = {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}
        assert left.items() < WHOLE.items()
        scraps = [entry.path for entry in cache_entries() if entry.path.name not in WHOLE]
        assert len(scraps) == 1
        mirror.faults.clear()
        mirror.asked.clear()
        assert_whole(load_source(source)[0])
        assert IMAGES not in mirror.asked
        assert scraps[0].exists()  # it might be another process's
        long_ago = time.time() - 2 * 24 * 3600
        os.utime(scraps[0].parent, (long_ago, long_ago))
        (folder / "t10k-labels-idx1-ubyte").unlink()
        load_source(source)
        assert kept() == WHOLE


class TestCache:
    @pytest.fixture
    def source(self, mirror: Mirror) -> Source:
        source = replace(SOURCE, mirrors=(mirror.gz,))
        load_source(source)
        mirror.asked.clear()
        return source

    def test_any_flipped_byte_is_noticed(self, source: Source, mirror: Mirror) -> None:
        path = cache_dir() / "mnist" / NAMES["y_test"]
        whole = path.read_bytes()
        for position in range(len(whole)):
            damaged = bytearray(whole)
            damaged[position] ^= 1 << position % 8
            path.write_bytes(damaged)
            mirror.asked.clear()
            assert_whole(load_source(source)[0])
            assert set(mirror.asked) == {"/gz/t10k-labels-idx1-ubyte.gz"}
            assert path.read_bytes() == whole

    @pytest.mark.parametrize(
        "damage", [b"", b"\x1f\x8b", WHOLE[NAMES["x_train"]][:-1], WHOLE[NAMES["x_train"]] + b"x"]
    )
    def test_a_file_of_another_length(self, source: Source, mirror: Mirror, damage: bytes) -> None:
        (cache_dir() / "mnist" / NAMES["x_train"]).write_bytes(damage)
        assert_whole(load_source(source)[0])
        assert IMAGES in mirror.asked
        assert kept() == WHOLE

    def test_damage_without_a_network(self, source: Source, mirror: Mirror) -> None:
        (cache_dir() / "mnist" / NAMES["x_train"]).write_bytes(b"damaged")
        mirror.fail("503")
        with pytest.raises(NetworkError):
            load_source(source)

    def test_a_folder_in_the_way(self, source: Source) -> None:
        path = cache_dir() / "mnist" / NAMES["x_train"]
        path.unlink()
        (path / "x").mkdir(parents=True)
        with pytest.raises(
            StorageError, match="mnist: Is a directory; expected a folder with room"
        ):
            load_source(source)

    def test_the_folder_is_a_file(self, mirror: Mirror) -> None:
        cache_dir().write_text("mine")
        with pytest.raises(StorageError) as caught:
            load_source(replace(SOURCE, mirrors=(mirror.gz,)))
        assert str(cache_dir()) in str(caught.value)
        assert caught.value.exit_code == 7
        assert cache_dir().read_text() == "mine"
        assert mirror.asked == []

    def test_a_full_disk(self, mirror: Mirror) -> None:
        source = replace(SOURCE, mirrors=(mirror.gz,))
        program = (
            "import resource\n"
            "from mnistry.catalogue import *; from mnistry.sources import load_source\n"
            "from mnistry.errors import StorageError\n"
            "resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, 10_000))\n"
            "try:\n"
            f"    load_source({source!r})\n"
            "except StorageError as error:\n"
            "    print(error)\n"
        )
        done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
        assert done.stderr == ""
        assert done.stdout.startswith(f"{cache_dir() / 'mnist'}: File too large; expected")
        assert kept() == {}

    def test_entries_and_clearing(self, source: Source) -> None:
        mine = cache_dir() / "mnist" / "my-notes"
        mine.write_text("mine")
        entries = cache_entries()
        assert {entry.path.name: entry.size for entry in entries} == {
            file.name: file.size for file in source.files
        }
        assert clear_cache() == entries
        assert cache_entries() == []
        assert kept() == {"my-notes": b"mine"}
        mine.unlink()
        assert clear_cache() == []
        assert not cache_dir().exists()
        assert clear_cache() == []

    def test_the_usual_place(self, monkeypatch: pytest.MonkeyPatch) -> None:
        import pooch

        monkeypatch.delenv("MNISTRY_CACHE")
        assert cache_dir() == pooch.os_cache("mnistry")
        monkeypatch.setenv("MNISTRY_CACHE", "~/of-mine")
        assert cache_dir() == Path.home() / "of-mine"


class TestPlaces:
    @pytest.mark.parametrize("spelling", ["{}", "{}.gz"])
    @pytest.mark.parametrize("old", [False, True])
    @pytest.mark.parametrize("compress", [bytes, gzip.compress])
    def test_idx_files(self, tmp_path: Path, spelling: str, old: bool, compress) -> None:
        folder = write_idx(tmp_path / "data", spelling, compress)
        if old:
            for path in list(folder.iterdir()):
                path.rename(folder / path.name.replace("-idx", ".idx"))
        arrays, origin = load_source(SOURCE, folder)
        assert_whole(arrays)
        assert origin == str(folder)

    def test_an_archive(self, tmp_path: Path) -> None:
        archive = tmp_path / "mnist.npz"
        archive.write_bytes(npz_bytes(ARRAYS))
        for place in (tmp_path, archive):
            arrays, origin = load_source(SOURCE, place)
            assert_whole(arrays)
            assert origin == str(place)

    def test_order(self, tmp_path: Path, mirror: Mirror, monkeypatch: pytest.MonkeyPatch) -> None:
        source = replace(SOURCE, mirrors=(mirror.gz,))
        explicit = write_idx(tmp_path / "explicit")
        named = write_idx(tmp_path / "named")
        assert load_source(source)[1] == mirror.gz
        assert load_source(source)[1] == str(cache_dir() / "mnist")
        monkeypatch.setenv("MNISTRY_DATA", str(named))
        assert load_source(source)[1] == str(named)
        assert load_source(source, explicit)[1] == str(explicit)
        monkeypatch.setenv("MNISTRY_DATA", "")
        assert load_source(source)[1] == str(cache_dir() / "mnist")

    @pytest.mark.parametrize("variable", [False, True])
    def test_a_place_that_is_given_must_hold_the_data(
        self, tmp_path: Path, mirror: Mirror, variable: bool, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        source = replace(SOURCE, mirrors=(mirror.gz,))
        load_source(source)
        mirror.asked.clear()
        folder = write_idx(tmp_path / "data")
        (folder / NAMES["y_train"]).unlink()
        given = {} if variable else {"data_dir": folder}
        if variable:
            monkeypatch.setenv("MNISTRY_DATA", str(folder))
        with pytest.raises(DataError) as caught:
            load_source(source, **given)
        assert f"{folder}: no train-labels-idx1-ubyte; put train-images" in str(caught.value)
        assert mirror.asked == []

    @pytest.mark.parametrize("form", ["idx", "npz"])
    def test_a_foreign_set(self, tmp_path: Path, form: str) -> None:
        place = tmp_path / "mnist.npz"
        if form == "idx":
            place = write_idx(tmp_path / "data", arrays=OTHER)
        else:
            place.write_bytes(npz_bytes(OTHER))
        with pytest.raises(DataError) as caught:
            load_source(SOURCE, place)
        message = str(caught.value)
        assert message.startswith(str(place))
        assert SOURCE.files[0].sha256 in message
        assert make_source(OTHER).files[0].sha256 in message
        assert "another data set with --data PATH" in message

    @pytest.mark.parametrize("dtype", [np.float32, np.int64])
    def test_an_archive_of_another_dtype(self, tmp_path: Path, dtype) -> None:
        arrays = {key: array.astype(dtype) for key, array in ARRAYS.items()}
        (tmp_path / "mnist.npz").write_bytes(npz_bytes(arrays))
        with pytest.raises(
            DataError, match=f"npz: x_train: is not .* dtype being {dtype.__name__}"
        ):
            load_source(SOURCE, tmp_path)

    def test_another_shape(self, tmp_path: Path) -> None:
        folder = write_idx(tmp_path / "data", arrays=ARRAYS | {"x_test": ARRAYS["x_test"][1:]})
        with pytest.raises(DataError, match=r"found shape \(11, 28, 28\), .*; expected \(12, 28"):
            load_source(SOURCE, folder)

    @pytest.mark.parametrize("damage", [slice(0, 9), slice(0, -1), slice(1, None)])
    @pytest.mark.parametrize("compress", [bytes, gzip.compress])
    def test_damage_names_the_file(self, tmp_path: Path, damage: slice, compress) -> None:
        folder = write_idx(tmp_path / "data", "{}", compress)
        path = folder / NAMES["y_test"]
        path.write_bytes(path.read_bytes()[damage])
        with pytest.raises(DataError, match=f"^{path}: "):
            load_source(SOURCE, folder)

    @pytest.mark.parametrize("name", ["missing", "empty", "text.npz", "n" * 5000])
    def test_no_data_there(self, tmp_path: Path, name: str) -> None:
        (tmp_path / "empty").mkdir()
        (tmp_path / "text.npz").write_text("text")
        with pytest.raises(DataError, match=f"^{tmp_path / name}"):
            load_source(SOURCE, tmp_path / name)


class TestRealSet:
    def test_from_the_folder(self, mnist_dir: Path) -> None:
        arrays, origin = load_source(MNIST, mnist_dir)
        assert origin == str(mnist_dir)
        assert [array.shape for array in arrays.values()] == [file.shape for file in MNIST.files]
        assert arrays["y_train"][:9].tolist() == [5, 0, 4, 1, 9, 2, 1, 3, 1]

    def test_the_cache_is_fast_and_keeps_the_bytes(self, mnist_dir: Path) -> None:
        arrays, _ = load_source(MNIST, mnist_dir)
        folder = cache_dir() / "mnist"
        folder.mkdir(parents=True)
        for file in MNIST.files:
            (folder / file.name).write_bytes(format_idx(arrays[file.key]))
        nowhere = replace(MNIST, mirrors=())
        seconds = []
        for _ in range(5):
            started = time.perf_counter()
            again, origin = load_source(nowhere)
            seconds.append(time.perf_counter() - started)
            assert origin == str(folder)
        assert all(np.array_equal(again[key], array) for key, array in arrays.items())
        assert min(seconds) < 0.1


def test_importing_is_light() -> None:
    program = (
        "import sys, mnistry.dataset, mnistry.prepare\n"
        "print(*sorted({'torch', 'pooch', 'requests', 'PIL', 'cv2'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert (done.stdout, done.stderr) == ("\n", "")
