"""Sets of digits to look at, class by class, with what a network says of each image."""

import base64
import os
import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Generic, Literal, TypeVar, get_args

import numpy as np
from numpy.typing import NDArray

from mnistry.catalogue import MNIST
from mnistry.dataset import PEN, Dataset, DataSplits, load_dataset
from mnistry.errors import DataError, UsageError
from mnistry.formats import DIGITS
from mnistry.network import OnnxNetwork
from mnistry.normalise import SIZE
from mnistry.reader import Digit
from mnistry.sources import cache_dir
from mnistry.workers import cores

Order = Literal["as-is", "mistakes", "doubtful"]
"""As they lie in the set; those that are answered wrongly, the surest first; all, the least sure
first."""

_PEN = f"{PEN}:train=2000,test=1000"  # written within a second or two
_MOST = 200  # images that are given at a time
_CHUNK = 2000  # images that a thread reads at a time
_KEPT_SETS, _KEPT_ORDERS = 4, 16  # MNIST has 55 MB, and the orders of 60,000 images half of one

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")
Indices = NDArray[np.intp]
UInt8s = NDArray[np.uint8]


class Browser:
    """Gives excerpts of sets. Threads may share it."""

    def __init__(self, more: Mapping[str, str] | None = None) -> None:
        """Loads nothing yet.

        Args:
            more: Sets by their names, besides "mnist" and "pen": what `load_dataset` loads them by.
        """
        self._places = {MNIST.name: MNIST.name, PEN: _PEN} | dict(more or {})
        self._sets: _Kept[str, DataSplits] = _Kept(_KEPT_SETS)
        self._orders: _Kept[tuple[OnnxNetwork, str, str], _Orders] = _Kept(_KEPT_ORDERS)

    def sets(self) -> list[dict[str, Any]]:
        """The sets that can be had without a download, for JSON: name, parts, classes, counts."""
        found = []
        for name in self._places:
            try:
                splits = self._load(name)
            except DataError:
                continue
            counts = {"train": len(splits.train), "test": len(splits.test)}
            found.append({"name": name, "parts": [*counts], "classes": [*DIGITS], "counts": counts})
        return found

    def browse(
        self,
        network: OnnxNetwork,
        name: str,
        part: str,
        order: Order = "as-is",
        label: int | None = None,
        offset: int = 0,
        limit: int = 40,
    ) -> dict[str, Any]:
        """Some images of a set, and a network's answers to them.

        Other orders than "as-is" need its answers to the whole part, which take some seconds. One
        thread works them out while others that ask for the same wait; the last few are kept.

        Args:
            network: Its first ten classes are the digits.
            name: Of a set, as `sets` gives it.
            part: "train" or "test".
            order: See `Order`.
            label: 0 to 9: images of this digit alone.
            offset: How many to pass over, at least 0.
            limit: How many to give at most, 1 to 200.

        Returns:
            For JSON: "total", how many there are of what is asked for; "offset"; and "images", each
            with its "index" in the part, "label", "pixels" (base64 of 784 uint8, row by row, 0
            ground to 255 ink), "answer" (0 to 9; None where no answer is sure enough), "confidence"
            and "probabilities".

        Raises:
            UsageError: There is no such set, part, order or label, or a number is out of range.
            DataError: The set cannot be had without a download, or is of something else.
            ModelError: The network's answers are no numbers.
        """
        _check("part", part, ("train", "test"))
        _check("order", order, get_args(Order))
        _check("label", label, (None, *range(len(DIGITS))))
        if offset < 0 or not 1 <= limit <= _MOST:
            raise UsageError(
                f"offset, limit: are {offset}, {limit}; expected at least 0, and 1 to {_MOST}"
            )
        splits = self._load(name)
        data = splits.train if part == "train" else splits.test
        if order == "as-is":
            chosen = np.arange(len(data))
        else:
            orders = self._orders.get((network, name, part), lambda: _Orders.of(network, data))
            chosen = orders.mistakes if order == "mistakes" else orders.doubtful
        if label is not None:
            chosen = chosen[data.labels[chosen] == label]
        shown = chosen[offset : offset + limit]
        digits = _read(network, data.images[shown])
        images = [
            _to_dict(int(index), int(data.labels[index]), digit)
            for index, digit in zip(shown, digits, strict=True)
        ]
        return {"total": len(chosen), "offset": offset, "images": images}

    def _load(self, name: str) -> DataSplits:
        _check("set", name, tuple(self._places))
        return self._sets.get(name, lambda: _load(self._places[name]))


def _check(what: str, value: object, known: tuple[object, ...]) -> None:
    if value not in known:
        raise UsageError(f"{what}: is {value!r:.60}, expected one of {', '.join(map(str, known))}")


def _load(place: str) -> DataSplits:
    """A set from this machine."""
    # what names its folder downloads nothing
    folder = os.environ.get("MNISTRY_DATA") or cache_dir() / place if place == MNIST.name else None
    splits = load_dataset(place, folder)
    if splits.train.classes != DIGITS:
        found = ", ".join(splits.train.classes)
        raise DataError(f"{place}: has the classes {found:.60}, expected the digits 0 to 9")
    return splits


def _read(network: OnnxNetwork, images: UInt8s) -> list[Digit]:
    """A network's answers to images, (n, 28, 28) uint8."""
    found, whole = network.predict(images)[:, : len(DIGITS)], (0, 0, SIZE, SIZE)
    pairs = zip(found, images, strict=True)
    return [Digit.of(p, network.min_confidence, whole, 0, 0, image) for p, image in pairs]


def _to_dict(index: int, label: int, digit: Digit) -> dict[str, Any]:
    answer = digit.to_dict()
    return {
        "index": index,
        "label": label,
        "pixels": base64.b64encode(digit.image.tobytes()).decode(),
        "answer": answer["label"],
        "confidence": answer["confidence"],
        "probabilities": answer["probabilities"],
    }


@dataclass(frozen=True, eq=False)
class _Orders:
    """Indices of a part's images: see `Order`."""

    mistakes: Indices
    doubtful: Indices

    @classmethod
    def of(cls, network: OnnxNetwork, data: Dataset) -> "_Orders":
        """By a network's answers to all, which all cores compute."""

        def answers(images: UInt8s) -> list[tuple[float, float]]:
            digits = _read(network, images)
            return [(-1 if d.label is None else d.label, d.confidence) for d in digits]

        chunks = np.split(data.images, range(_CHUNK, len(data), _CHUNK))
        with ThreadPoolExecutor(cores()) as threads:
            found = np.concatenate([*threads.map(answers, chunks)])
        answered, confidence = found.T
        doubtful = confidence.argsort(kind="stable")
        is_mistake = (answered >= 0) & (answered != data.labels)
        surest = (-confidence).argsort(kind="stable")
        return cls(surest[is_mistake[surest]], doubtful)


class _Kept(Generic[K, V]):
    """The last few values that were asked for; one thread makes each, and others wait for it."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._lock = threading.Lock()
        self._futures: OrderedDict[K, Future[V]] = OrderedDict()

    def get(self, key: K, make: Callable[[], V]) -> V:
        """The value of a key: kept, or made. What fails is not kept: it is raised to all who wait.

        Raises:
            Exception: Whatever `make` raises.
        """
        with self._lock:
            is_new = key not in self._futures
            future = self._futures.setdefault(key, Future())
            self._futures.move_to_end(key)
            if len(self._futures) > self._most:
                self._futures.popitem(last=False)
        if is_new:
            try:
                future.set_result(make())
            except BaseException as error:
                with self._lock:
                    if self._futures.get(key) is future:
                        del self._futures[key]
                future.set_exception(error)
        return future.result()
