"""Networks and recipes that several test files train, and how to compare what came out."""

import dataclasses
import json
from pathlib import Path

import numpy as np
import onnx
import torch
from onnx import TensorProto, helper
from torch import Tensor, nn

import mnistry
from mnistry.layers import BatchNorm, Conv, Dense, Dropout, Flatten, MaxPool
from mnistry.recipe import PRESETS, Augment, Recipe


def bits_of(run: mnistry.Run) -> dict[str, bytes]:
    return {name: t.numpy().tobytes() for name, t in run.network.state_dict().items()}


def figures_of(run: mnistry.Run) -> list[dict[str, float]]:
    return [{k: v for k, v in record.items() if k != "seconds"} for record in run.history]


class Own(nn.Module):
    """A network of the user's own, with everything that could break repeatability."""

    def __init__(self) -> None:
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv2d(1, 4, 5, stride=2), nn.BatchNorm2d(4), nn.ReLU(), nn.Dropout2d(0.1)
        )
        self.frozen = nn.Linear(576, 48)
        self.frozen.requires_grad_(False)
        self.head = nn.Sequential(nn.ReLU(), nn.Dropout(0.2), nn.Linear(48, 10))
        self.unused = nn.Parameter(torch.ones(3))

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.head(self.frozen(self.features(x).flatten(1)))
        return logits


OWN = Recipe("own", Own, learning_rate=0.01)
EVERYTHING = Recipe(
    "everything",
    (
        Conv(8, 5, "linear", stride=2, padding=2, bias=False),
        BatchNorm(),
        Conv(16, activation="linear", bias=False),
        MaxPool(),
        BatchNorm(),
        Flatten(),
        Dropout(0.1),
        Dense(32, "linear", bias=False),
        BatchNorm("relu"),
        Dense(10, "softmax"),
    ),
    learning_rate=0.01,
    schedule="one-cycle",
    weight_decay=0.01,
    label_smoothing=0.1,
    averaging=0.9,
    augment=Augment(1, 5, 0.05, 0.05, 0.5, 0.2, 3),
)
NORMALISED = Recipe(  # the same, with a step that is written out
    "normalised",
    (
        *(Conv(4, 5, "linear", stride=2, bias=False), BatchNorm()),
        *(Conv(6, 4, "linear", stride=2, bias=False), BatchNorm(), Flatten()),
        *(Dense(12, "linear", bias=False), BatchNorm(), Dense(10, "softmax")),
    ),
    learning_rate=0.01,
    beta_1=0.7,
    beta_2=0.9,
    schedule="one-cycle",
    weight_decay=0.01,
    label_smoothing=0.1,
    averaging=0.9,
    augment=Augment(shift=1),
)
NETWORKS: dict[str, Recipe] = {
    "cnn": PRESETS["datumo-cnn"].with_settings({"filters": "4", "units": "20"}),
    "rmsprop": PRESETS["nvidia-mlp"].with_settings({"units": "32"}),
    "sgd": dataclasses.replace(PRESETS["vidhya-mlp"], optimizer="sgd", learning_rate=0.1),
    "own": OWN,
    "everything": EVERYTHING,
    "normalised": NORMALISED,
    "members": dataclasses.replace(NORMALISED, members=2, test_shifts=1),
}


class Stop(Exception):  # noqa: N818
    pass


def write_onnx(
    path: Path,
    notes: dict[str, str] | None = None,
    *,
    sides: tuple[int, int] = (28, 28),
    takes: tuple[str, int] = ("images", TensorProto.UINT8),
    gives: str = "probabilities",
    zero: float = 0.9,
) -> Path:
    """Writes a network that finds every image to be a 0 to 90%, and a 3 to 10%."""
    answer = np.zeros(10, np.float32)
    answer[[0, 3]] = zero, 0.1
    nodes = [
        helper.make_node("Cast", [takes[0]], ["float"], to=TensorProto.FLOAT),
        helper.make_node("Flatten", ["float"], ["flat"]),
        helper.make_node("MatMul", ["flat", "nothing"], ["none"]),
        helper.make_node("Add", ["none", "answer"], [gives]),
    ]
    graph = helper.make_graph(
        nodes,
        "fixed",
        [helper.make_tensor_value_info(*takes, ["n", *sides])],
        [helper.make_tensor_value_info(gives, TensorProto.FLOAT, ["n", 10])],
        [
            onnx.numpy_helper.from_array(
                np.zeros((sides[0] * sides[1], 10), np.float32), "nothing"
            ),
            onnx.numpy_helper.from_array(answer, "answer"),
        ],
    )
    opset = [helper.make_opsetid("", 17)]
    model = helper.make_model(graph, opset_imports=opset, ir_version=8)
    helper.set_model_props(
        model, {"classes": json.dumps(list("0123456789"))} if notes is None else notes
    )
    path.write_bytes(model.SerializeToString())
    return path
