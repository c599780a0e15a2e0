"""Draws docs/reading.png, a page with what Mnistry reads on it: python docs/make_reading.py.

It also prints what `mnistry predict` says of that page, for the README.
"""

import os
import tempfile
from pathlib import Path

from PIL import Image

from mnistry.cli import run
from mnistry.pen.paper import write_sheet

ROWS = ["3141592653", "2718281828", "1618033988", "0577215664"]


def main() -> None:
    """Writes the page, reads it, and keeps what was drawn."""
    page = write_sheet(ROWS, 64, paper="ruled", tilt=1, light=0.3, noise=1, style="us", seed=11)
    picture = Path(__file__).with_name("reading.png")
    before = Path.cwd()
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        try:
            Image.fromarray(page.image).save("page.png")
            run(["predict", "page.png", "--min-confidence", "0.85", "--draw", "read"])
            with Image.open("read/page-read.png") as drawn:
                drawn.quantize(96).save(picture, optimize=True)
        finally:
            os.chdir(before)


if __name__ == "__main__":
    main()
