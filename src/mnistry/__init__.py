"""Mnistry reads handwritten digits: the whole MNIST workflow as one small program."""

from mnistry.version import __version__

__all__ = ["__version__"]
