"""The four tutorials as data: what every peer builds its network and its training from."""

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class Tutorial:
    """One tutorial's network and training; whatever is not here is at Keras's default.

    The network is an optional 3x3 ReLU convolution with a 2x2 max-pooling, then dense ReLU layers,
    then ten softmax outputs, which are always Glorot-uniform.
    """

    input_shape: tuple[int, ...]  # of one image, as the tutorial's Keras code shapes it
    filters: int | None  # of the convolution, if there is one
    hidden_units: tuple[int, ...]
    initialiser: Literal["he_uniform", "glorot_uniform"]  # of every layer before the last
    labels: Literal["sparse", "one-hot"]
    optimizer: Literal["adam", "rmsprop"]
    batch_size: int
    epochs: int
    validates: bool  # on the 10,000 test images, after each epoch
    parameters: int


TUTORIALS = {
    "datumo-cnn": Tutorial(
        input_shape=(28, 28, 1),
        filters=32,
        hidden_units=(100,),
        initialiser="he_uniform",
        labels="sparse",
        optimizer="adam",
        batch_size=32,
        epochs=10,
        validates=False,
        parameters=542_230,
    ),
    "nvidia-mlp": Tutorial(
        input_shape=(784,),
        filters=None,
        hidden_units=(512, 512),
        initialiser="glorot_uniform",
        labels="one-hot",
        optimizer="rmsprop",
        batch_size=32,
        epochs=5,
        validates=True,
        parameters=669_706,
    ),
    "devto-mlp": Tutorial(
        input_shape=(28, 28),
        filters=None,
        hidden_units=(128, 128),
        initialiser="glorot_uniform",
        labels="sparse",
        optimizer="adam",
        batch_size=32,
        epochs=3,
        validates=False,
        parameters=118_282,
    ),
    "vidhya-mlp": Tutorial(
        input_shape=(784,),
        filters=None,
        hidden_units=(32, 64),
        initialiser="glorot_uniform",
        labels="sparse",
        optimizer="adam",
        batch_size=100,
        epochs=10,
        validates=False,
        parameters=27_882,
    ),
}


def check_parameters(preset: str, found: int) -> None:
    """Stops a peer whose network is not the tutorial's.

    Raises:
        RuntimeError: the network has another number of parameters than the tutorial's.
    """
    expected = TUTORIALS[preset].parameters
    if found != expected:
        raise RuntimeError(f"{preset}: the network has {found} parameters, not {expected}")
