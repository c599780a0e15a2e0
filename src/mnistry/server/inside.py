"""What goes on inside a network that reads one digit, from its ONNX file alone.

Two ways to look: what its first two layers make of the image (activations, or feature maps), and
which ink its answer rests on (occlusion: Zeiler and Fergus, "Visualizing and Understanding
Convolutional Networks", 2014).
"""

import base64
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mnistry.errors import ModelError, UsageError
from mnistry.network import READER, OnnxNetwork, open_session, shipped
from mnistry.normalise import SIZE
from mnistry.reader import Digit

_KEPT = 8  # networks that are open to be looked into
_WHITE = 99  # per cent of a layer's activations above 0 are shown as less than white
_PATCH, _STEP = 5, 2  # pixels: a patch's side, some two strokes, and from one patch to the next
_LEAST = 1.0  # of log-odds: where the answer depends less on any ink, the evidence is pale
_LOWEST = 1e-12  # a probability that has an own logarithm

Floats = NDArray[np.float32]
UInt8s = NDArray[np.uint8]
Bools = NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class Activations:
    """What a layer makes of one image.

    Attributes:
        name: Which layer it is, as "1st convolution" or "2nd dense layer".
        values: (channels, h, w) float32: after batch normalisation and activation function, before
            pooling. Each of a dense layer's units is one number: (units, 1, 1).
    """

    name: str
    values: Floats

    @property
    def maps(self) -> UInt8s:
        """(channels, h, w) uint8: 0 for 0 and below, 255 for the same number in all maps."""
        above = self.values[self.values > 0]
        white = np.percentile(above, _WHITE) if above.size else 1.0
        return np.asarray((self.values / white).clip(0, 1) * 255, np.uint8)

    def to_dict(self) -> dict[str, Any]:
        """What JSON can hold: the maps as base64, row by row."""
        maps = [base64.b64encode(each.tobytes()).decode() for each in self.maps]
        return {"name": self.name, "shape": list(self.values.shape), "maps": maps}


@dataclass(frozen=True, eq=False)
class Inspection:
    """How a network read one image.

    Attributes:
        digit: The answer.
        layers: The first two before the last; fewer where there are no more.
        evidence: (28, 28) float32, -1..1: above 0 for ink that spoke for the most probable digit,
            below 0 for ink that spoke against it; 0 where there is none.
    """

    digit: Digit
    layers: tuple[Activations, ...]
    evidence: Floats

    def to_dict(self) -> dict[str, Any]:
        """What JSON can hold."""
        answer = self.digit.to_dict()
        return {
            "label": answer["label"],
            "probabilities": answer["probabilities"],
            "layers": [layer.to_dict() for layer in self.layers],
            "evidence": {
                "label": int(self.digit.probabilities.argmax()),
                "values": self.evidence.astype(float).round(3).tolist(),
            },
        }


def look_inside(network: OnnxNetwork, image: UInt8s) -> Inspection:
    """Read an image, and tell how it was read. Threads may share a network.

    Args:
        network: Its first ten classes are the digits. Of an ensemble, the layers of the first
            member are shown.
        image: (28, 28) uint8, 0 ground to 255 ink, normalised as MNIST's are.

    Raises:
        UsageError: The image has another shape or dtype.
        ModelError: The network's file cannot be read any more, its layers cannot be shown, or its
            answers are no numbers.
    """
    image = np.asarray(image)
    if image.dtype != np.uint8 or image.shape != (SIZE, SIZE):
        raise UsageError(f"image: is {image.dtype} of {image.shape}, expected uint8 of (28, 28)")
    patches = _patches()
    patches = patches[(patches & (image > 0)).any((1, 2))]  # what has no ink changes nothing
    found = network.predict(np.concatenate([image[None], image * ~patches]))  # (1 + n, classes)
    chances = found[0, :10]
    digit = Digit.of(chances, network.min_confidence, (0, 0, SIZE, SIZE), 0, 0, image)
    evidence = _evidence(image, patches, found, int(chances.argmax()))
    return Inspection(digit, _layers(network).activations(image), evidence)


# ------------------------------------------------------------------------------------ the evidence


@lru_cache(1)
def _patches() -> Bools:
    """(n, 28, 28): the pixels of each patch; those at the rim are cut off, so that all count."""
    starts, pixels = np.arange(1 - _PATCH, SIZE, _STEP)[:, None], np.arange(SIZE)
    along = (starts <= pixels) & (pixels < starts + _PATCH)
    return (along[:, None, :, None] & along[None, :, None, :]).reshape(-1, SIZE, SIZE)


def _evidence(image: UInt8s, patches: Bools, found: Floats, label: int) -> Floats:
    """What an answer owes to each pixel of ink.

    The ink of one patch after another is taken away, and the log-odds of the answer fall: a pixel
    counts as the mean fall by the patches that it lies in, times its share of ink. Log-odds,
    because the probability of a sure answer hardly changes. Blank patches, because grey ones, as in
    the paper, and black ones make nearly anything less of a digit, wherever they lie.

    Args:
        image: (28, 28) uint8.
        patches: (n, 28, 28): the pixels of each.
        found: (1 + n, classes): the probabilities of the image, and of it without each patch.
        label: The answer.

    Returns:
        (28, 28) float32, -1..1.
    """
    chances = np.maximum(found, _LOWEST, dtype=np.float64)
    log_odds = np.log(chances[:, label] / np.delete(chances, label, axis=1).sum(1))
    falls = log_odds[0] - log_odds[1:]
    mean = np.tensordot(falls, patches, 1) / np.maximum(patches.sum(0), 1)
    counts = mean * image / 255
    return np.asarray(counts / max(_LEAST, np.abs(counts).max()), np.float32)


# -------------------------------------------------------------------------------------- the layers


class _Layers:
    """The first hidden layers of a network, in a session that gives what they make of an image."""

    def __init__(self, content: bytes) -> None:
        """Opens an ONNX file.

        Raises:
            Exception: It is none; ONNX Runtime has kinds of its own.
        """
        self._outputs: dict[str, str] = {}  # by the layers' names
        for kind, output in _hidden_layers(content)[:2]:
            first = f"1st {kind}"
            self._outputs[f"2nd {kind}" if first in self._outputs else first] = output
        self._session = open_session(content + _as_outputs(self._outputs.values()), threads=1)

    def activations(self, image: UInt8s) -> tuple[Activations, ...]:
        """What they make of an image, (28, 28) uint8; first as it is, if it is moved, too."""
        if not self._outputs:
            return ()
        found = self._session.run(list(self._outputs.values()), {"images": image[None]})
        return tuple(
            Activations(name, values[0].reshape(*values.shape[1:], *(1,) * (4 - values.ndim)))
            for name, values in zip(self._outputs, found, strict=True)
        )


@lru_cache(_KEPT)
def _layers(network: OnnxNetwork) -> _Layers:
    try:
        return _Layers(shipped() if network.path is None else Path(network.path).read_bytes())
    except Exception as error:  # onnxruntime has kinds of its own
        raise ModelError(
            f"{network.path or READER}: its layers cannot be shown ({str(error)[:100]!r}); "
            "expected a file as `mnistry export` writes it"
        ) from error


# ----------------------------------------------------------------------------------- the ONNX file
#
# An ONNX file is a protobuf message, and a message after another adds to what that one says
# (https://protobuf.dev/programming-guides/encoding/#last-one-wins). So a graph gets more outputs by
# a few bytes at the end of its file; the numbers are those of the fields in onnx.proto.

_GRAPH, _NODE, _OUTPUT = 7, 1, 12
_NODE_INPUT, _NODE_OUTPUT, _NODE_KIND = 1, 2, 4
_OUTPUT_NAME = 1

_WEIGHTED = {"Conv": "convolution", "Gemm": "dense layer", "MatMul": "dense layer"}
_AFTER = {  # what follows a layer, and is not part of it
    *("MaxPool", "AveragePool", "GlobalAveragePool", "GlobalMaxPool", "ReduceMean", "Dropout"),
    *("Reshape", "Flatten", "Squeeze", "Unsqueeze", "Transpose", "Identity", "Cast", "Pad"),
}


@dataclass(frozen=True)
class _Node:
    """An operation, and the names of what it takes and gives."""

    kind: str
    takes: tuple[str, ...]
    gives: tuple[str, ...]


def _hidden_layers(content: bytes) -> list[tuple[str, str]]:
    """The kind of each layer but the last, and the name of what it gives, along the first path.

    A layer goes from what has weights to the next that has, but for pooling and the like at its
    end.
    """
    found: list[tuple[str, str]] = []
    for node in _path(_nodes(content), "images"):
        if node.kind in _WEIGHTED:
            found.append((_WEIGHTED[node.kind], node.gives[0]))
        elif found and node.kind not in _AFTER:
            found[-1] = found[-1][0], node.gives[0]
    return found[:-1]


def _path(nodes: Iterable[_Node], name: str) -> Iterator[_Node]:
    """The first operation that takes what has a name, the first that takes what it gives, ..."""
    for node in nodes:  # none takes what is made after it
        if name in node.takes and node.kind != "Shape":
            yield node
            name = node.gives[0]


def _nodes(content: bytes) -> Iterator[_Node]:
    """The operations of an ONNX file, in their order."""
    for graph in _fields(content, _GRAPH):
        for node in _fields(graph, _NODE):
            takes, gives, kind = (
                tuple(bytes(name).decode() for name in _fields(node, number))
                for number in (_NODE_INPUT, _NODE_OUTPUT, _NODE_KIND)
            )
            yield _Node(kind[0], takes, gives)


def _fields(message: bytes | memoryview, wanted: int) -> Iterator[memoryview]:
    """What a protobuf message has in a field of texts or messages.

    Raises:
        IndexError, KeyError: It is no such message.
    """
    message, at = memoryview(message), 0
    while at < len(message):
        key, at = _varint(message, at)
        kind = key & 7
        if kind == 0:
            _, at = _varint(message, at)
            continue
        size, at = _varint(message, at) if kind == 2 else ({1: 8, 5: 4}[kind], at)
        if key == wanted << 3 | 2:
            yield message[at : at + size]
        at += size


def _varint(message: memoryview, at: int) -> tuple[int, int]:
    """A number of seven bits a byte, the lowest first, and where it ends."""
    value = shift = 0
    while message[at] & 128:
        value, shift, at = value | (message[at] & 127) << shift, shift + 7, at + 1
    return value | message[at] << shift, at + 1


def _as_outputs(names: Iterable[str]) -> bytes:
    """What makes outputs of what has these names, at the end of an ONNX file."""
    outputs = (_field(_OUTPUT, _field(_OUTPUT_NAME, name.encode())) for name in names)
    return _field(_GRAPH, b"".join(outputs))


def _field(number: int, value: bytes) -> bytes:
    """A field of a protobuf message, with a text or a message."""
    size, rest = bytearray(), len(value)
    while rest > 127:
        size.append(rest & 127 | 128)
        rest >>= 7
    return bytes([number << 3 | 2, *size, rest]) + value
