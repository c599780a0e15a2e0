"""Writing a file so that whoever reads it sees it whole or not at all."""

import os
import secrets
from pathlib import Path

from mnistry.errors import StorageError


def write_file(path: Path, data: bytes) -> None:
    """Writes a file whole or not at all.

    Raises:
        StorageError: The disk is full, or the folder cannot be written to.
    """
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}.part")
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
        raise StorageError(
            f"{path}: cannot be written ({error.strerror or error}); what it held before is "
            "untouched. Free some space, or name another place"
        ) from error
