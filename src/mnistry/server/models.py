"""The networks that a server reads with: the shipped one, or another; and those trained here."""

import threading
from collections import OrderedDict
from pathlib import Path
from typing import Any

from mnistry.errors import MissingError, ModelError
from mnistry.network import OnnxNetwork, reads_digits

_KEPT = 8  # networks in memory
DEFAULT = "reader"
"""The name of the network that reads where none is asked for."""


class Models:
    """Networks by their names; each is loaded when it is first asked for."""

    def __init__(self, reader: str | None, runs: Path) -> None:
        """Loads the one that reads where none is asked for.

        Args:
            reader: Its ONNX file, or None for the one that comes with Mnistry.
            runs: The folder of those that were trained here: NAME.onnx each.

        Raises:
            ModelError: It cannot be used.
        """
        self._runs = runs
        self._default = _reader(reader)
        self._lock = threading.Lock()
        self._loaded: OrderedDict[tuple[str, int], OnnxNetwork] = OrderedDict()

    def network(self, name: str = DEFAULT) -> OnnxNetwork:
        """The network of a name.

        Raises:
            MissingError: There is none.
            ModelError: It cannot be used.
        """
        if name == DEFAULT:
            return self._default
        path = self._trained().get(name)
        if path is None:
            known = ", ".join([DEFAULT, *self._trained()])
            raise MissingError(f"model: there is none named {name!r:.60}, expected one of {known}")
        key = str(path), path.stat().st_mtime_ns
        with self._lock:
            if key not in self._loaded:
                self._loaded[key] = _reader(str(path))
                while len(self._loaded) > _KEPT:
                    self._loaded.popitem(last=False)
            self._loaded.move_to_end(key)
            return self._loaded[key]

    def describe(self) -> list[dict[str, Any]]:
        """What there is, for JSON; the default first. What cannot be used is left out."""
        default = self._default
        note = "comes with Mnistry" if default.path is None else Path(default.path).name
        kind = "shipped" if default.path is None else "own"
        found = [_described(DEFAULT, kind, default, note)]
        for name in self._trained():
            try:
                network = self.network(name)
            except (ModelError, OSError):
                continue
            found.append(_described(name, "trained", network, "trained here"))
        return found

    def _trained(self) -> dict[str, Path]:
        """The files of the networks that were trained here, the newest first."""
        files = sorted(self._runs.glob("*.onnx"), key=_age)
        return {p.stem: p for p in files if p.stem != DEFAULT and p.stem.isprintable()}


def _reader(path: str | None) -> OnnxNetwork:
    network = OnnxNetwork(path, 1)
    if not reads_digits(network):
        raise ModelError(f"{path}: does not read the digits 0 to 9 first, as it has to here")
    return network


def _age(path: Path) -> float:
    try:
        return -path.stat().st_mtime
    except OSError:  # it has just gone
        return 0.0


def _described(name: str, kind: str, network: OnnxNetwork, note: str) -> dict[str, Any]:
    return {
        "name": name,
        "kind": kind,
        "classes": list(network.classes),
        "min_confidence": network.min_confidence,
        "note": note,
    }
