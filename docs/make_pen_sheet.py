"""Draws docs/pen.png, ten digits by twenty writers: python docs/make_pen_sheet.py.

With --beside FILE.png it draws another sheet, that has as many of MNIST's digits beside them, to
compare. MNIST's images are not part of this repository, so that one stays with you.
"""

import argparse
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

import mnistry
from mnistry.pen import PenSet, write

WRITERS, SCALE, GAP = 20, 2, 4
PAPER, INK = (252, 252, 250), (31, 35, 40)


def pen() -> NDArray[np.uint8]:
    """Each of twenty writers' first 0 to 9: (20, 10, 28, 28)."""
    written, _ = write(PenSet(train=150 * WRITERS, test=10, writers=WRITERS + 1, seed=1))
    digits = [(written.writers == w) for w in range(WRITERS)]
    first = [[np.flatnonzero(own & (written.labels == d))[0] for d in range(10)] for own in digits]
    return written.images[np.array(first)]


def mnist() -> NDArray[np.uint8]:
    """MNIST's first twenty 0s to 9s: (20, 10, 28, 28)."""
    (images, labels), _ = mnistry.load_data()
    return np.stack([images[labels == d][:WRITERS] for d in range(10)], axis=1)


def sheet(digits: NDArray[np.uint8]) -> Image.Image:
    """Writers in columns, digits in rows, as ink on paper."""
    tiles = np.pad(digits, ((0, 0), (0, 0), (GAP, GAP), (GAP, GAP)))
    ink = tiles.transpose(1, 2, 0, 3).reshape(10 * tiles.shape[2], WRITERS * tiles.shape[3])
    cover = ink[..., None] / 255
    picture = np.array(PAPER) * (1 - cover) + np.array(INK) * cover
    image = Image.fromarray(picture.round().astype(np.uint8))
    return image.resize((image.width * SCALE, image.height * SCALE), Image.Resampling.BICUBIC)


def main() -> None:
    """Draws the sheet."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--beside", type=Path, metavar="FILE.png")
    options = parser.parse_args()
    if options.beside:
        parts = [sheet(pen()), sheet(mnist())]
        both = Image.new("RGB", (parts[0].width, 2 * parts[0].height + 20), "grey")
        for number, part in enumerate(parts):
            both.paste(part, (0, number * (part.height + 20)))
        both.save(options.beside)
    else:
        sheet(pen()).quantize(32).save(Path(__file__).with_name("pen.png"), optimize=True)


if __name__ == "__main__":
    main()
