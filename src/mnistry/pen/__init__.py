"""Digits that the program writes itself: no download, and more handwriting than MNIST has.

A letterform says which strokes make a digit (`letterforms`), a hand bends them as one writer would
(`hand`), ink makes them pixels (`ink`), and `normalise` makes those an image as MNIST's.
"""

from mnistry.pen.settings import CLASSES, PenSet, Style, What
from mnistry.pen.writing import Written, write

__all__ = ["CLASSES", "PenSet", "Style", "What", "Written", "write"]
