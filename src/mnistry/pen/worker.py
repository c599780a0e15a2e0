"""One of the processes that write a set: python -m mnistry.pen.worker WHAT SETTINGS NUMBER OF.

It writes the chunks NUMBER, NUMBER + OF, ... of the set, their images to the standard output.
"""

import signal
import sys
from typing import cast

import cv2

from mnistry.pen.settings import PenSet, What
from mnistry.pen.writing import plan


def main() -> None:
    """Writes until all is written, or nobody reads it."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # whoever started it ends it
    cv2.setNumThreads(1)
    what, settings, number, count = sys.argv[1:]
    for chunk in plan(PenSet.parse(settings), cast(What, what))[int(number) :: int(count)]:
        sys.stdout.buffer.write(chunk.write().tobytes())
        sys.stdout.buffer.flush()


if __name__ == "__main__":
    main()
