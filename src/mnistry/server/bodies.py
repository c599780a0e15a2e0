"""What JSON bodies say: images of 28 x 28 pixels, and the fields of an object."""

import json
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mnistry.errors import LimitError, UsageError
from mnistry.network import OnnxNetwork
from mnistry.normalise import SIZE
from mnistry.reader import Digit, Reader

_TYPES = {
    str: "string",
    int: "integer",
    float: "number",
    bool: "boolean",
    list: "array",
    dict: "object",
    type(None): "null",
}
MOST_BYTES = 4_000_000
"""Of a JSON body."""
MOST_IMAGES = 1000
"""That are classified at a time."""


def classify(network: OnnxNetwork, body: bytes) -> dict[str, Any]:
    """Say what images of 28 x 28 pixels are: {"images": [...]} as JSON, to {"answers": [...]}.

    Raises:
        UsageError: The body is something else.
        LimitError: There are more than `MOST_IMAGES`.
    """
    images = images_of(body, "images", 3)
    if len(images) > MOST_IMAGES:
        raise LimitError(
            f"images: are {len(images):,}, expected at most {MOST_IMAGES:,}; send several requests"
        )
    reader = Reader(network, threads=1)
    answers = []
    for row, image in zip(reader.classify(images), images, strict=True):
        found = Digit.of(row, reader.min_confidence, (0, 0, SIZE, SIZE), 0, 0, image).to_dict()
        answers.append({key: found[key] for key in ("label", "confidence", "probabilities")})
    return {"answers": answers}


def images_of(body: bytes, name: str, axes: int) -> NDArray[np.uint8]:
    """The images of 28 x 28 pixels, 0 to 255, that a JSON body names.

    Raises:
        UsageError: There are none.
    """
    _check_size(body)
    expected = f'expected {{"{name}": ...}}, 28 rows of 28 whole numbers from 0 to 255' + (
        " for each image" if axes == 3 else ""
    )
    try:
        found = json.loads(body)[name]
        images = np.array(found)
    except (ValueError, KeyError, TypeError, RecursionError):
        raise UsageError(f"the body is no JSON that has {name}, {expected}") from None
    if images.ndim != axes or images.shape[-2:] != (SIZE, SIZE):
        raise UsageError(f"{name}: has the shape {images.shape!s:.60}; {expected}")
    if images.dtype.kind != "i" or images.min() < 0 or images.max() > 255:
        raise UsageError(f"{name}: has something else than such numbers; {expected}")
    return images.astype(np.uint8)


def _check_size(body: bytes) -> None:
    """A long body would keep the interpreter, and so the event loop, for a second and more."""
    if len(body) > MOST_BYTES:
        raise LimitError(
            f"the body has {len(body):,} bytes, expected at most {MOST_BYTES:,} of JSON; send "
            "several requests"
        )


def fields_of(body: bytes, fields: Mapping[str, Any]) -> dict[str, Any]:
    """The fields of a JSON body, each with the value that it has, or None.

    Args:
        body: A JSON object.
        fields: JSON schemas by name; the first field has to be there.

    Raises:
        UsageError: It is none, or has other fields or types.
    """
    _check_size(body)
    expected = f"expected a JSON object with {', '.join(fields)}, the first at least"
    try:
        found = json.loads(body)
    except (ValueError, RecursionError):
        raise UsageError(f"the body is no JSON, {expected}") from None
    if not isinstance(found, dict) or next(iter(fields)) not in found or found.keys() - fields:
        raise UsageError(f"the body is another object, {expected}")
    for name, value in found.items():
        kinds = fields[name]["type"]
        if _TYPES[type(value)] not in kinds and not (type(value) is int and "number" in kinds):
            raise UsageError(f"{name}: is {value!r:.60}, expected {' or '.join(kinds)}")
    return {name: found.get(name) for name in fields}
