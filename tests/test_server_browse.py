"""Tests of mnistry.server.browse: what is shown, in which order, and who works it out."""

import base64
import json
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from digits import write_digits
from mnistry.errors import DataError, UsageError
from mnistry.network import OnnxNetwork
from mnistry.server import browse
from mnistry.server.browse import Browser

UInt8s = NDArray[np.uint8]


class Told:
    """A network whose images tell it what to answer, and how surely: see `images_of`."""

    min_confidence = 0.6

    def __init__(self) -> None:
        self.read: list[int] = []  # images at a time

    def predict(self, images: UInt8s) -> NDArray[np.float32]:
        self.read.append(len(images))
        found = np.zeros((len(images), 11), np.float32)
        found[:, 10] = 1 - images[:, 0, 1] / 100
        found[np.arange(len(images)), images[:, 0, 0]] = images[:, 0, 1] / 100
        return found


def images_of(answers: list[tuple[int, int]]) -> UInt8s:
    """Images that are to be answered with a digit, with a confidence in per cent."""
    images = np.zeros((len(answers), 28, 28), np.uint8)
    images[:, 0, :2] = answers
    images[:, 20, 20] = np.arange(len(answers)) % 256
    return images


#        answer, %     label  index
TEST = [
    *(((1, 90), 1),  # 0
      ((2, 80), 1),  # 1: wrong
      ((3, 70), 3),  # 2
      ((1, 55), 4),  # 3: wrong, but not sure enough to be answered
      ((7, 99), 1),  # 4: wrong, the surest
      ((1, 70), 1),  # 5: as sure as 2
      ((9, 80), 3),  # 6: wrong, as sure as 1
      ((1, 10), 1))  # 7: not sure
]  # fmt: skip
LABELS = np.array([label for _, label in TEST], np.uint8)
IMAGES = images_of([answer for answer, _ in TEST])
MANY = images_of([(5, 99 - i % 90) for i in range(300)])


@pytest.fixture(autouse=True)
def _no_mnist(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """No test but one knows where MNIST is, and none downloads it."""
    if "mnist_dir" in request.fixturenames:
        request.getfixturevalue("mnist_dir")
    monkeypatch.delenv("MNISTRY_DATA", raising=False)
    monkeypatch.setattr("mnistry.sources._download", lambda *_: pytest.fail("a download"))


@pytest.fixture
def browser(tmp_path: Path) -> Browser:
    own = write_digits(
        tmp_path / "own", ((MANY, np.full(len(MANY), 5, np.uint8)), (IMAGES, LABELS))
    )
    return Browser({"pen": "pen:train=30,test=20,writers=4", "own": str(own)})


@pytest.fixture
def network() -> Any:
    return Told()


def indices(found: dict[str, Any]) -> list[int]:
    return [image["index"] for image in found["images"]]


# ---------------------------------------------------------------------------------- what is shown


def test_as_they_are(browser: Browser, network: Any) -> None:
    found = browser.browse(network, "own", "test")
    assert json.loads(json.dumps(found)) == found
    assert (found["total"], found["offset"]) == (8, 0)
    assert indices(found) == list(range(8))
    assert [image["label"] for image in found["images"]] == LABELS.tolist()
    assert [image["answer"] for image in found["images"]] == [1, 2, 3, None, 7, 1, 9, None]
    first = found["images"][0]
    assert [*base64.b64decode(first["pixels"])] == IMAGES[0].ravel().tolist()
    assert first["confidence"] == pytest.approx(0.9, abs=1e-4)
    assert first["probabilities"] == [0, first["confidence"], *[0] * 8]
    assert set(first) == {"index", "label", "pixels", "answer", "confidence", "probabilities"}
    assert network.read == [8]  # no more than is shown


def test_mistakes_are_what_is_answered_wrongly(browser: Browser, network: Any) -> None:
    found = browser.browse(network, "own", "test", "mistakes")
    assert indices(found) == [4, 1, 6]
    assert found["total"] == 3
    assert indices(browser.browse(network, "own", "test", "mistakes", label=1)) == [4, 1]
    assert browser.browse(network, "own", "train", "mistakes")["images"] == []


def test_the_doubtful_first(browser: Browser, network: Any) -> None:
    assert indices(browser.browse(network, "own", "test", "doubtful")) == [7, 3, 2, 5, 1, 6, 0, 4]
    found = browser.browse(network, "own", "test", "doubtful", label=3)
    assert (found["total"], indices(found)) == (2, [2, 6])


def test_excerpts(browser: Browser, network: Any) -> None:
    assert len(browser.browse(network, "own", "train")["images"]) == 40
    found = browser.browse(network, "own", "train", offset=290, limit=200)
    assert (found["total"], found["offset"], indices(found)) == (300, 290, [*range(290, 300)])
    found = browser.browse(network, "own", "train", "doubtful", offset=1, limit=3)
    assert indices(found) == [179, 269, 88]
    assert browser.browse(network, "own", "test", offset=8)["images"] == []
    found = browser.browse(network, "own", "test", label=0)
    assert (found["total"], found["images"]) == (0, [])


def test_what_pen_writes_and_the_reader_reads(browser: Browser) -> None:
    network = OnnxNetwork(None, threads=1)
    found = browser.browse(network, "pen", "train")
    assert found["total"] == 30
    assert sum(image["answer"] == image["label"] for image in found["images"]) > 20
    confidences = [
        image["confidence"]
        for image in browser.browse(network, "pen", "test", "doubtful")["images"]
    ]
    assert confidences == sorted(confidences)


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ({"name": "nist"}, "set: is 'nist', expected one of mnist, pen, own"),
        ({"name": "../own"}, "set: is '../own', expected one of mnist, pen, own"),
        ({"part": "validation"}, "part: is 'validation', expected one of train, test"),
        ({"order": "worst"}, "order: is 'worst', expected one of as-is, mistakes, doubtful"),
        ({"label": 10}, "label: is 10, expected one of None, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9"),
        ({"offset": -1}, "offset, limit: are -1, 40; expected at least 0, and 1 to 200"),
        ({"limit": 0}, "offset, limit: are 0, 0; expected at least 0, and 1 to 200"),
        ({"limit": 201}, "offset, limit: are 0, 201; expected at least 0, and 1 to 200"),
    ],
    ids=str,
)
def test_what_there_is_not(
    asked: dict[str, Any], message: str, browser: Browser, network: Any
) -> None:
    with pytest.raises(UsageError) as caught:
        browser.browse(network, **{"name": "own", "part": "test"} | asked)
    assert str(caught.value) == message


# ----------------------------------------------------------------------------------- which sets


def test_sets(browser: Browser) -> None:
    classes = list("0123456789")
    expected = [("pen", {"train": 30, "test": 20}), ("own", {"train": 300, "test": 8})]
    assert browser.sets() == [
        {"name": name, "parts": ["train", "test"], "classes": classes, "counts": counts}
        for name, counts in expected
    ]


def test_pen_is_small_and_always_there() -> None:
    (pen,) = Browser().sets()
    assert pen["name"] == "pen"
    assert 1000 <= sum(pen["counts"].values()) <= 5000


def test_mnist_is_never_downloaded(tmp_path: Path, network: Any, monkeypatch) -> None:
    with pytest.raises(DataError, match=r"cache/mnist: no such folder; put .*MNISTRY_DATA"):
        Browser().browse(network, "mnist", "test")
    write_digits(tmp_path / "cache" / "mnist", ((IMAGES, LABELS), (IMAGES, LABELS)))
    with pytest.raises(DataError, match="is not mnist's"):
        Browser().browse(network, "mnist", "test")
    monkeypatch.setenv("MNISTRY_DATA", str(tmp_path / "nowhere"))
    with pytest.raises(DataError, match="nowhere: no such folder"):
        Browser().browse(network, "mnist", "test")


def test_mnist(mnist_dir: Path, network: Any, monkeypatch) -> None:
    monkeypatch.setenv("MNISTRY_DATA", str(mnist_dir))
    browser = Browser({"pen": "pen:train=30,test=20,writers=4"})
    first, _ = browser.sets()
    assert (first["name"], first["counts"]) == ("mnist", {"train": 60000, "test": 10000})
    network.predict = lambda images: np.eye(11, dtype=np.float32)[[7] * len(images)]
    found = browser.browse(network, "mnist", "test", label=7)
    assert (found["total"], found["images"][0]["index"]) == (1028, 0)
    assert browser.browse(network, "mnist", "test", "mistakes")["total"] == 10000 - 1028


def test_a_set_of_something_else(tmp_path: Path, network: Any) -> None:
    browser = Browser({"letters": "pen-others:train=20,test=10,writers=4"})
    with pytest.raises(DataError, match=r"has the classes letter, .*expected the digits 0 to 9"):
        browser.browse(network, "letters", "test")


# ------------------------------------------------------------------------- what is worked out once


def test_orders_are_worked_out_once(browser: Browser, network: Any) -> None:
    for order in ("mistakes", "doubtful", "mistakes"):
        browser.browse(network, "own", "train", order, limit=2)
    assert sum(network.read) == 300 + 0 + 2 + 0
    other: Any = Told()
    browser.browse(other, "own", "train", "doubtful", limit=2)
    assert sum(other.read) == 300 + 2
    browser.browse(other, "own", "test", "doubtful", limit=2)
    assert sum(other.read) == 300 + 2 + 8 + 2


def test_chunks_are_put_together_in_order(browser: Browser, network: Any, monkeypatch) -> None:
    whole = indices(browser.browse(network, "own", "train", "doubtful", limit=200))
    monkeypatch.setattr(browse, "_CHUNK", 7)
    other: Any = Told()
    assert indices(browser.browse(other, "own", "train", "doubtful", limit=200)) == whole
    assert sorted(other.read)[:-1] == [6, *[7] * 42]


def test_others_wait_for_who_works_it_out(browser: Browser, network: Any) -> None:
    predict = network.predict

    def slow(images: UInt8s) -> NDArray[np.float32]:
        time.sleep(0.1)
        found: NDArray[np.float32] = predict(images)
        return found

    network.predict = slow
    with ThreadPoolExecutor(8) as threads:
        asked = [
            threads.submit(browser.browse, network, "own", "train", "doubtful", limit=1)
            for _ in range(8)
        ]
        assert len({json.dumps(future.result()) for future in asked}) == 1
    assert sorted(network.read) == [*[1] * 8, 300]


def test_a_failure_is_told_to_all_and_not_kept() -> None:
    kept: browse._Kept[str, int] = browse._Kept(2)
    begun, go_on = threading.Event(), threading.Event()

    def fail() -> int:
        begun.set()
        go_on.wait(10)
        raise DataError("broken")

    with ThreadPoolExecutor(3) as threads:
        asked = [threads.submit(kept.get, "a", fail)]
        begun.wait(10)
        asked += [threads.submit(kept.get, "a", lambda: 2) for _ in range(2)]
        assert kept.get("b", lambda: 3) == 3  # who asks for something else does not wait
        time.sleep(0.1)
        go_on.set()
        for future in asked:
            with pytest.raises(DataError, match="broken"):
                future.result()
    assert kept.get("a", lambda: 1) == 1


def test_only_the_last_few_are_kept() -> None:
    kept: browse._Kept[int, int] = browse._Kept(2)
    made: list[int] = []

    def make(key: int) -> Callable[[], int]:
        def make() -> int:
            made.append(key)
            return key

        return make

    for key in (1, 2, 1, 3, 1, 2, 1):
        assert kept.get(key, make(key)) == key
    assert made == [1, 2, 3, 2]
