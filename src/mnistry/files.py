"""Files: written so that whoever reads one sees it whole or not at all, opened, told by name."""

import errno
import os
import stat
from pathlib import Path
from typing import BinaryIO

from mnistry.errors import StorageError, UsageError

_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
# What is not read but is an image, as a phone's HEIC, is no reason to be passed over in silence.
_IMAGES = (
    *(".png", ".jpg", ".jpeg", ".jfif", ".webp", ".bmp", ".tif", ".tiff", ".gif", ".pdf"),
    *(".pbm", ".pgm", ".ppm", ".pnm", ".heic", ".heif"),
)


def is_image(path: str | os.PathLike[str]) -> bool:
    """Tell by its name; hidden files are none: some systems put one beside each image."""
    name = os.path.basename(os.fspath(path))
    return name.lower().endswith(_IMAGES) and not name.startswith(".")


def is_named(path: str | os.PathLike[str]) -> bool:
    """Whether it means the same to every process, as /dev/stdin and /dev/fd/63 do not."""
    return not os.fspath(path).startswith("/dev/")


def open_file(path: str | os.PathLike[str]) -> BinaryIO:
    """Opens a file to read its bytes.

    Raises:
        OSError: It cannot be opened, or is a named pipe, which might keep its reader for ever.
    """
    if is_named(path) and stat.S_ISFIFO(os.stat(path).st_mode):
        raise OSError(errno.EINVAL, "it is a pipe and no file", os.fspath(path))
    return open(path, "rb")


def check_free(path: Path) -> None:
    """See that a file can be written where there is none yet.

    Raises:
        UsageError: There is something at that place already.
        StorageError: Its folder is not there.
    """
    if os.path.lexists(path):
        raise UsageError(f"{path}: is there already, and nothing is overwritten; name another file")
    if not path.parent.is_dir():
        raise StorageError(f"{path}: there is no folder {path.parent}; make it, or name another")


def write_file(path: Path, data: bytes) -> None:
    """Writes a file whole or not at all.

    Raises:
        StorageError: The disk is full, or the folder cannot be written to.
    """
    temporary = path.with_name(f".{path.name}.{os.urandom(4).hex()}.part")
    try:
        try:
            with temporary.open("xb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            temporary.replace(path)
        finally:
            temporary.unlink(missing_ok=True)
    except OSError as error:
        advice = "Free some space, or name" if error.errno in _FULL else "Name"
        raise StorageError(
            f"{path}: cannot be written ({error.strerror or error}); what it held before is "
            f"untouched. {advice} another place"
        ) from error
