"""Digits on a sheet of paper, as a camera or scanner sees it: what the reader is tested on.

A pen writes the digits (`pens`), each gets its place (`layout`), and lines, dirt, light and the
camera do the rest (`photo`).
"""

from mnistry.pen.paper.layout import Paper
from mnistry.pen.paper.pens import Pen
from mnistry.pen.paper.sheet import Sheet, write_sheet

__all__ = ["Paper", "Pen", "Sheet", "write_sheet"]
