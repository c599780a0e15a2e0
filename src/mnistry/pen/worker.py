"""One of the processes that write a set: it is given what and its settings, and tells images."""

from collections.abc import Callable
from typing import cast

import cv2

from mnistry.pen.settings import PenSet, What
from mnistry.pen.writing import plan
from mnistry.workers import answer


def _write(given: str) -> Callable[[int], bytes]:
    cv2.setNumThreads(1)
    what, _, settings = given.partition(" ")
    chunks = plan(PenSet.parse(settings), cast(What, what))
    return lambda number: chunks[number].write().tobytes()


if __name__ == "__main__":
    answer(_write)
