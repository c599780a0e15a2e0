"""mnistry.download: one file over HTTP, from a mirror on this machine that fails on demand."""

import gzip
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from mirror_server import Mirror, make_arrays
from mnistry import download as module
from mnistry.download import download, in_turn
from mnistry.errors import NetworkError

NAME = "/gz/train-images-idx3-ubyte.gz"


@pytest.fixture
def mirror() -> Iterator[Mirror]:
    with Mirror(make_arrays()) as server:
        yield server


def closed_port() -> str:
    """Give an address where nothing listens."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return f"http://127.0.0.1:{probe.getsockname()[1]}/"


class TestDownload:
    @pytest.mark.parametrize("fault", ["", "unmeasured", "slow"])
    def test_brings_the_file(
        self, mirror: Mirror, tmp_path: Path, fault: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(module, "SILENCE_SECONDS", 0.6)  # less than a slow file takes in all
        mirror.fail(fault)
        shares: list[float] = []
        started = time.monotonic()
        download(mirror.url + NAME[1:], tmp_path / "x", 10**6, shares.append)
        assert (tmp_path / "x").read_bytes() == mirror.files[NAME]
        assert shares[-1] == 1.0
        assert shares == sorted(shares)
        if fault == "slow":
            assert time.monotonic() - started > 0.6

    @pytest.mark.parametrize(
        ("fault", "said"),
        [
            ("404", "answers 404"),
            ("503", "answers 503"),
            ("cut", "fails"),
            ("lying", "fails"),
            ("silent", "fails"),
            ("stall", "fails"),
            ("endless", "sends more than 1000000 bytes"),
        ],
    )
    def test_names_the_fault(
        self,
        mirror: Mirror,
        tmp_path: Path,
        fault: str,
        said: str,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        monkeypatch.setattr(module, "SILENCE_SECONDS", 0.3)
        mirror.fail(fault)
        started = time.monotonic()
        with pytest.raises(NetworkError, match=said):
            download(mirror.url + NAME[1:], tmp_path / "x", 10**6, lambda _: None)
        assert time.monotonic() - started < 3

    @pytest.mark.parametrize("url", ["", "nonsense", "http://", "ftp://127.0.0.1/x", "http://[/"])
    def test_an_address_that_is_none(self, tmp_path: Path, url: str) -> None:
        with pytest.raises(NetworkError, match="fails"):
            download(url, tmp_path / "x", 10, lambda _: None)

    def test_a_disk_that_fails_is_no_fault_of_the_network(
        self, mirror: Mirror, tmp_path: Path
    ) -> None:
        with pytest.raises(FileNotFoundError):
            download(mirror.npz, tmp_path / "missing" / "x", 10**6, lambda _: None)


class TestInTurn:
    def test_the_first_that_answers_is_the_only_one_asked(self, mirror: Mirror) -> None:
        problems: list[str] = []
        urls = {"a": mirror.url + NAME[1:], "b": mirror.npz}
        assert next(in_turn(urls, problems)) == "a"
        assert mirror.asked == [NAME]
        assert problems == []

    def test_failures_are_passed_over_and_named(self, mirror: Mirror) -> None:
        mirror.fail("503", NAME)
        problems: list[str] = []
        urls = {"a": closed_port(), "b": mirror.url + NAME[1:], "c": mirror.url, "d": mirror.npz}
        started = time.monotonic()
        assert list(in_turn(urls, problems)) == ["d"]
        assert time.monotonic() - started < 1
        assert [problem.split(" (")[0] for problem in problems] == [
            "a: fails",
            "b: answers 503",
            "c: answers 404",
        ]

    def test_a_silent_mirror_keeps_nobody_waiting_long(self, mirror: Mirror) -> None:
        mirror.fail("silent", NAME)
        started = time.monotonic()
        found = in_turn({"a": mirror.url + NAME[1:], "b": mirror.npz}, [])
        assert next(found) == "b"
        assert time.monotonic() - started < 2

    def test_silence_everywhere_ends_in_five_seconds(self, mirror: Mirror) -> None:
        mirror.fail("silent")
        problems: list[str] = []
        names = [*mirror.files]
        started = time.monotonic()
        assert list(in_turn({name: mirror.url + name[1:] for name in names}, problems)) == []
        assert 3 < time.monotonic() - started < 5
        assert sorted(problem.split(": ")[0] for problem in problems) == sorted(names)

    def test_a_name_server_that_hangs(self, monkeypatch: pytest.MonkeyPatch) -> None:
        hang = threading.Event()
        monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: hang.wait(20) and [])
        monkeypatch.setattr(module, "REACH_SECONDS", 0.5)
        problems: list[str] = []
        started = time.monotonic()
        assert list(in_turn({"a": "http://one.test/", "b": "http://two.test/"}, problems)) == []
        assert time.monotonic() - started < 1
        assert problems == ["a: does not answer", "b: does not answer"]
        hang.set()

    def test_the_callers_own_time_does_not_count(
        self, mirror: Mirror, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(module, "REACH_SECONDS", 0.5)
        found = in_turn({"a": mirror.url + NAME[1:], "b": mirror.npz}, [])
        next(found)
        time.sleep(0.6)
        assert next(found) == "b"

    def test_a_proxy_is_honoured(self, mirror: Mirror, monkeypatch: pytest.MonkeyPatch) -> None:
        for variable in ("no_proxy", "NO_PROXY"):
            monkeypatch.delenv(variable, raising=False)
        monkeypatch.setenv("http_proxy", mirror.url)
        url = "http://a-host-that-does-not.exist/mnist.npz"
        mirror.files[url] = gzip.compress(b"through the proxy")  # a proxy is sent whole addresses
        assert list(in_turn({"a": url}, [])) == ["a"]
