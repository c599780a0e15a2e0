"""A mirror on 127.0.0.1 that can fail in every way that a real one does, and a set to serve."""

import gzip
import io
import threading
import zlib
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import numpy as np

from mnistry.catalogue import Source, SourceFile
from mnistry.idx import format_idx, idx_sha256


def make_arrays(seed: int = 0) -> dict[str, np.ndarray]:
    """30 images to train on and 12 to test on."""
    rng = np.random.default_rng(seed)
    return {
        "x_train": rng.integers(0, 256, (30, 28, 28), dtype=np.uint8),
        "y_train": np.arange(30, dtype=np.uint8) % 10,
        "x_test": rng.integers(0, 256, (12, 28, 28), dtype=np.uint8),
        "y_test": np.arange(12, dtype=np.uint8) % 10,
    }


NAMES = {
    "x_train": "train-images-idx3-ubyte",
    "y_train": "train-labels-idx1-ubyte",
    "x_test": "t10k-images-idx3-ubyte",
    "y_test": "t10k-labels-idx1-ubyte",
}


def make_source(arrays: dict[str, np.ndarray], *mirrors: str) -> Source:
    """Describe arrays as the catalogue describes a public set."""
    files = tuple(
        SourceFile(
            key,
            NAMES[key],
            array.shape,
            idx_sha256(array),
            f"{zlib.crc32(format_idx(array)):08x}",
        )
        for key, array in arrays.items()
    )
    return Source("mnist", "a small set", "none", tuple("0123456789"), files, mirrors)


def npz_bytes(arrays: dict[str, Any]) -> bytes:
    stream = io.BytesIO()
    np.savez_compressed(stream, **arrays)
    return stream.getvalue()


class Mirror(ThreadingHTTPServer):
    """Serves the arrays as gz/NAME.gz and mnist.npz; `faults` says which paths fail and how."""

    daemon_threads = True
    request_queue_size = 50

    def __init__(self, arrays: dict[str, np.ndarray]) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.url = f"http://127.0.0.1:{self.server_port}/"
        self.files = {
            f"/gz/{NAMES[key]}.gz": gzip.compress(format_idx(a)) for key, a in arrays.items()
        }
        self.files["/mnist.npz"] = npz_bytes(arrays)
        self.faults: dict[str, str] = {}
        self.asked: list[str] = []
        self.stopped = threading.Event()
        threading.Thread(target=self.serve_forever, args=(0.01,), daemon=True).start()

    @property
    def gz(self) -> str:
        return f"{self.url}gz/"

    @property
    def npz(self) -> str:
        return f"{self.url}mnist.npz"

    def fail(self, fault: str, *names: str) -> None:
        """Let these paths, or all, fail from now on."""
        self.faults |= dict.fromkeys(names or self.files, fault)

    def __exit__(self, *_: object) -> None:
        self.stopped.set()
        self.shutdown()
        self.server_close()

    def handle_error(self, *_: object) -> None:
        """A client that hangs up is no news."""


class _Handler(BaseHTTPRequestHandler):
    server: Mirror

    def do_GET(self) -> None:
        self.server.asked.append(self.path)
        data = self.server.files.get(self.path)
        fault = self.server.faults.get(self.path, "")
        if data is None or fault.isdigit():
            return self.send_error(int(fault or 404))
        behaviour: Callable[[bytes], None] = getattr(self, f"_{fault}", self._whole)
        return behaviour(data)

    def _start(self, length: int | str | None) -> None:
        self.send_response(200)
        if length is not None:
            self.send_header("Content-Length", str(length))
        self.end_headers()

    def _whole(self, data: bytes) -> None:
        self._start(len(data))
        self.wfile.write(data)

    def _unmeasured(self, data: bytes) -> None:
        self._start(None)
        self.wfile.write(data)

    def _encoded(self, data: bytes) -> None:
        self.send_response(200)
        self.send_header("Content-Encoding", "gzip")  # requests will unpack it
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def _cut(self, data: bytes) -> None:
        self._start(len(data))
        self.wfile.write(data[: len(data) // 2])

    def _wrong(self, data: bytes) -> None:
        self._whole(data[:-20] + bytes([data[-20] ^ 1]) + data[-19:])

    def _page(self, _: bytes) -> None:
        self._whole(b"<html>Please log in to this network</html>")

    def _empty(self, _: bytes) -> None:
        self._start(0)

    def _lying(self, _: bytes) -> None:
        self._start("many")

    def _silent(self, _: bytes) -> None:
        self.server.stopped.wait(30)

    def _stall(self, data: bytes) -> None:
        self._start(len(data))
        self.wfile.write(data[: len(data) // 2])
        self.wfile.flush()
        self.server.stopped.wait(30)

    def _slow(self, data: bytes) -> None:
        self._start(len(data))
        for start in range(0, len(data), 1 + len(data) // 6):
            self.wfile.write(data[start : start + 1 + len(data) // 6])
            self.wfile.flush()
            self.server.stopped.wait(0.15)

    def _endless(self, _: bytes) -> None:
        self._start(None)
        while not self.server.stopped.is_set():
            self.wfile.write(bytes(1 << 16))

    def log_message(self, *_: object) -> None:
        """Keep quiet."""
