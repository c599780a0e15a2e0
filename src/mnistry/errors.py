"""Every error that Mnistry raises on purpose, and the exit code that the command line gives it.

    MnistryError                 1
    ├── UsageError               2  an argument is wrong (also a ValueError)
    │   └── BusyError            2  it can be done later: something else is being done
    ├── DataError                3  a data set, image or table cannot be used
    │   └── LimitError           3  it is larger than what is taken
    ├── ModelError               4  a run, its weights or its network cannot be used
    │   └── MissingError         4  there is none of that name
    ├── NetworkError             5  no way to a download
    ├── DependencyError          6  an optional package is not installed
    └── StorageError             7  a file cannot be written: full disk, no permission, in the way

A message is one line that names the file or argument and says what was found, what was expected,
and what to do next.
"""

from typing import ClassVar


class MnistryError(Exception):
    """The root: catch it to catch everything that Mnistry raises on purpose."""

    exit_code: ClassVar[int] = 1


class UsageError(MnistryError, ValueError):
    """An argument has a value, shape or dtype that cannot be used."""

    exit_code = 2


class BusyError(UsageError):
    """Something else is being done, and there is one at a time."""


class DataError(MnistryError):
    """A data set, an image or a table is missing, damaged or not what it should be."""

    exit_code = 3


class LimitError(DataError):
    """An image or table is larger than what is taken: bytes, pixels, pages or marks."""


class ModelError(MnistryError):
    """A run folder, its weights or its network is missing, damaged or does not fit."""

    exit_code = 4


class MissingError(ModelError):
    """There is no run or network of that name."""


class NetworkError(MnistryError):
    """Something has to be downloaded and no mirror delivered it."""

    exit_code = 5


class DependencyError(MnistryError):
    """An optional package that this needs is not installed."""

    exit_code = 6

    @classmethod
    def missing(cls, package: str | None) -> "DependencyError":
        """The error for a package that could not be imported, with what to do about it."""
        return cls(
            f"{package} is not installed; in the folder of mnistry's source: "
            "pip install -c constraints.txt -e '.[train]'"
        )


class StorageError(MnistryError):
    """A file or folder cannot be written."""

    exit_code = 7
