"""Drawings whose label was told, kept for `mnistry correct`: FOLDER/LABEL/TIME.png."""

import io
import time
from pathlib import Path

from PIL import Image

from mnistry.errors import LimitError, MissingError, StorageError
from mnistry.files import write_file
from mnistry.picture import read_picture

_MOST = 10_000  # kept drawings
_BYTES, _PIXELS = 1_000_000, 1_000_000  # of each


class Drawings:
    """A folder of drawings, by label."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder.absolute()

    def to_dict(self) -> dict[str, object]:
        """Where they are, and how many."""
        return {"folder": str(self._folder), "count": len(self._kept())}

    def keep(self, image: bytes, label: int) -> dict[str, object]:
        """Keep a drawing, as grey PNG.

        Raises:
            DataError: It is no image.
            StorageError: It cannot be written.
            LimitError: There are 10,000 already.
        """
        if len(image) > _BYTES:
            raise LimitError(f"the drawing has {len(image):,} bytes, expected at most {_BYTES:,}")
        grey = read_picture(image)
        count = len(self._kept())
        if grey.size > _PIXELS:
            raise LimitError(f"the drawing has {grey.size:,} pixels, expected at most {_PIXELS:,}")
        if count >= _MOST:
            raise LimitError(f"{self._folder}: has {_MOST:,} drawings, expected fewer; move them")
        content = io.BytesIO()
        Image.fromarray(grey).save(content, "PNG")
        now = time.time_ns()
        stamp = time.strftime("%Y%m%d-%H%M%S", time.localtime(now // 10**9))
        path = self._folder / str(label) / f"{stamp}-{now % 10**9:09}.png"
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise StorageError(
                f"{path.parent}: cannot be made ({error.strerror}); start the server with another "
                "--drawings FOLDER"
            ) from error
        write_file(path, content.getvalue())
        name = f"{label}/{path.name}"
        return {"path": str(path), "name": name, "folder": str(self._folder), "count": count + 1}

    def remove(self, label: int, name: str) -> dict[str, object]:
        """Take a drawing back that was kept with a wrong label.

        Raises:
            MissingError: There is none of that name.
            StorageError: It cannot be removed.
        """
        # a name from elsewhere becomes a path only if a folder's listing has it
        found = [p for p in self._kept() if (p.parent.name, p.name) == (str(label), name)]
        if not found:
            raise MissingError(f"there is no drawing named {name[:60]!r} kept as {label}")
        try:
            found[0].unlink(missing_ok=True)
        except OSError as error:
            raise StorageError(
                f"{found[0]}: cannot be removed ({error.strerror}); remove it by hand"
            ) from error
        return self.to_dict()

    def _kept(self) -> list[Path]:
        return list(self._folder.glob("[0-9]/*.png"))
