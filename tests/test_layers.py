"""Tests of mnistry.layers: the table of a network, and layers that do not fit."""

import dataclasses

import pytest

from mnistry.errors import UsageError
from mnistry.layers import BatchNorm, Conv, Dense, Dropout, Flatten, Layer, MaxPool, describe_layers
from mnistry.recipe import PRESETS, Recipe

SOFTMAX = Dense(10, "softmax")


@pytest.mark.parametrize(
    ("network", "words"),
    [
        ((), 'the last layer, and no other, must be Dense.classes, "softmax"'),
        ((Flatten(),), "the last layer"),
        ((Flatten(), Dense(10)), "the last layer"),
        ((Flatten(), SOFTMAX, SOFTMAX), "the last layer"),
        ((Flatten(), Dense(5, "softmax"), Dense(10)), "the last layer"),
        ((Conv(3, activation="softmax"),), "the last layer"),
        ((SOFTMAX,), r"layer 1 \(Dense\) gets \(1, 28, 28\), and takes a vector: put Flatten"),
        ((Flatten(), Conv(3), SOFTMAX), r"layer 2 \(Conv\) gets \(784,\), and takes an image"),
        ((Flatten(), MaxPool(), SOFTMAX), r"layer 2 \(MaxPool\)"),
        ((Flatten(), Flatten(), SOFTMAX), r"layer 2 \(Flatten\)"),
        ((Conv(3, 29), Flatten(), SOFTMAX), r"layer 1 \(Conv\) leaves nothing of the image"),
        ((MaxPool(29), Flatten(), SOFTMAX), r"layer 1 \(MaxPool\) leaves nothing"),
        ((Conv(3, 20), MaxPool(10), Flatten(), SOFTMAX), r"layer 2 \(MaxPool\) leaves nothing"),
        ((Flatten(), "dense", SOFTMAX), "layer 2 is 'dense'; expected one of Conv, MaxPool"),
        ((Flatten, SOFTMAX), "layer 1 is <class"),
        ((Flatten(), Dense(0), SOFTMAX), r"layer 2"),
        ((Flatten(), Dense(-4), SOFTMAX), r"layer 2"),
        ((Flatten(), Dense(1.5), SOFTMAX), r"layer 2"),  # type: ignore[arg-type]
        ((Flatten(), Dense("64"), SOFTMAX), r"layer 2"),  # type: ignore[arg-type]
        ((Flatten(), Dense(True), SOFTMAX), r"layer 2"),
        ((Flatten(), Dense(8, "tanh"), SOFTMAX), r"layer 2"),  # type: ignore[arg-type]
        ((Flatten(), Dense(8, initializer="ones"), SOFTMAX), r"layer 2"),  # type: ignore[arg-type]
        ((Conv(0), Flatten(), SOFTMAX), r"layer 1"),
        ((Conv(3, 0), Flatten(), SOFTMAX), r"layer 1"),
        ((Conv(3, -3), Flatten(), SOFTMAX), r"layer 1"),
        ((Conv(3, 2.5), Flatten(), SOFTMAX), r"layer 1"),  # type: ignore[arg-type]
        ((MaxPool(0), Flatten(), SOFTMAX), r"layer 1"),
        ((MaxPool(-2), Flatten(), SOFTMAX), r"layer 1"),
        ((Conv(3, stride=0), Flatten(), SOFTMAX), "stride is 0; expected a whole number, 1 to"),
        ((Conv(3, padding=-1), Flatten(), SOFTMAX), "padding is -1; expected a whole number, 0"),
        ((Conv(3, bias=1), Flatten(), SOFTMAX), "bias is 1; expected True or False"),  # type: ignore[arg-type]
        ((Flatten(), Dropout(1.0), SOFTMAX), "rate is 1.0; expected a number from 0 to below 1"),
        ((Flatten(), Dropout(True), SOFTMAX), "rate is True"),
        ((Flatten(), SOFTMAX, BatchNorm()), "the last layer"),
    ],
)
def test_layers_that_do_not_fit(network: tuple[Layer, ...], words: str) -> None:
    with pytest.raises(UsageError, match=words):
        describe_layers(network)
    with pytest.raises(UsageError, match=words):
        Recipe("bad", network)


def test_the_table_of_layers() -> None:
    rows = describe_layers(PRESETS["datumo-cnn"].network)  # type: ignore[arg-type]
    assert [dataclasses.astuple(row) for row in rows] == [
        ("conv_1", "Conv", (32, 26, 26), 320),
        ("maxpool_1", "MaxPool", (32, 13, 13), 0),
        ("flatten_1", "Flatten", (5408,), 0),
        ("dense_1", "Dense", (100,), 540_900),
        ("dense_2", "Dense", (10,), 1010),
    ]
    rows = describe_layers((Conv(4, 5), MaxPool(5), Conv(2, 2), Flatten(), SOFTMAX))
    assert [row.output_shape for row in rows] == [(4, 24, 24), (4, 4, 4), (2, 3, 3), (18,), (10,)]
    assert [row.parameters for row in rows] == [104, 0, 34, 0, 190]


def test_strides_paddings_and_what_has_no_bias() -> None:
    network = (
        Conv(4, 5, stride=2, padding=2, bias=False),
        BatchNorm(),
        Conv(6, 3, stride=3),
        Flatten(),
        Dropout(),
        Dense(7, bias=False),
        BatchNorm(),
        SOFTMAX,
    )
    rows = describe_layers(network)
    assert [row.output_shape for row in rows] == [
        (4, 14, 14), (4, 14, 14), (6, 4, 4), (96,), (96,), (7,), (7,), (10,),
    ]  # fmt: skip
    assert [row.parameters for row in rows] == [100, 8, 222, 0, 0, 672, 14, 80]
