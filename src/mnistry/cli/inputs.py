"""The images that the arguments of `mnistry predict` name: files, folders, patterns."""

import os
from collections.abc import Iterator, Sequence
from pathlib import Path

from mnistry.errors import DataError
from mnistry.files import is_image

Found = tuple[str, DataError | None]
"""A file; or what was named, and why there is none."""


def find_images(names: Sequence[str], apart: Sequence[Path]) -> Iterator[Found]:
    """Find the images that names stand for.

    Args:
        names: A file, whatever its suffix; a folder, for all images in it and in its folders; or a
            pattern, as "scans/*.png", for all images and folders that it fits.
        apart: Folders whose images are not looked for: those that are written to.

    Yields:
        What each name stands for, in the order of the alphabet.
    """
    places = {real_path(place) for place in apart}
    for name in names:
        if os.path.isdir(name):
            yield from _in_folder(name, places)
        elif os.path.lexists(name) or not any(letter in name for letter in "*?["):
            yield name, None
        else:
            yield from _fitting(name, places)


def real_path(path: str | Path) -> str:
    """Where a path leads, links followed; itself where it can lead nowhere."""
    try:
        return os.path.realpath(path)
    except ValueError:  # it holds a null character
        return str(path)


def _in_folder(name: str, places: set[str]) -> Iterator[Found]:
    found = list(_walk(name, places))
    yield from found
    if not found:
        expected = f"expected files such as .png, .jpg or .pdf in it{_but(places)}"
        yield name, DataError(f"{name}: is a folder without images, {expected}")


def _fitting(name: str, places: set[str]) -> Iterator[Found]:
    import glob

    found: dict[str, DataError | None] = {}
    for path in sorted(glob.glob(name, recursive=True)):
        if os.path.isdir(path):
            found.update(_walk(path, places))
        elif is_image(path) and real_path(os.path.dirname(path)) not in places:
            found[path] = None
    yield from found.items()
    if not found:
        expected = f"expected at least one{_but(places)}"
        yield name, DataError(f"{name}: fits the name of no image, {expected}")


def _but(places: set[str]) -> str:
    return "; where --draw and --show write is not searched" if places else ""


def _walk(folder: str, places: set[str]) -> Iterator[Found]:
    errors: list[OSError] = []
    for place, folders, files in os.walk(folder, onerror=errors.append):
        folders[:] = sorted(f for f in folders if not f.startswith("."))
        if real_path(place) in places:
            folders.clear()
            continue
        yield from ((os.path.join(place, file), None) for file in sorted(files) if is_image(file))
    for error in errors:
        name, advice = str(error.filename), "change its permissions, or name others"
        reason = f"cannot be looked into ({error.strerror}), expected a folder that can be read"
        yield name, DataError(f"{name}: {reason}; {advice}")
