"""Recipes: everything that decides a training, as plain data, and the presets."""

import hashlib
import importlib.util
import os
import sys
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, get_args

from mnistry.errors import UsageError
from mnistry.layers import (
    LAYERS,
    BatchNorm,
    Conv,
    Dense,
    Flatten,
    Layer,
    MaxPool,
    describe_layers,
)
from mnistry.shifts import check_shifts

if TYPE_CHECKING:
    from torch import nn

Optimizer = Literal["adam", "rmsprop", "sgd"]
Schedule = Literal["constant", "one-cycle"]
Validation = Literal["none", "split", "test"]

Labels = Literal["sparse", "one-hot"]
Device = Literal["auto", "cpu", "cuda", "mps"]
Precision = Literal["auto", "float32", "bfloat16"]


@dataclass(frozen=True)
class Augment:
    """How far the images of a batch are changed at random while training; 0 leaves them alone.

    Attributes:
        shift: Pixels, across and down.
        rotate: Degrees.
        scale: Share of the size, across and down, each by itself.
        shear: Pixels across for each pixel down.
        elastic: Pixels by which a smooth field moves points, its deviation.
        stroke: How much strokes are thickened or thinned: 1 is by a pixel on each side.
        cutout: Pixels a side of a square that is blanked.
        stretch: The share of images that are stretched to fill a square, some all the way, as
            forms do that scale each digit to its box.
        coarse: The share that are brought to a grid of 9 to 20 pixels a side and back.
        threshold: The share of which only black and white is left.
        tone: How uneven the ink is, and how dark: the deviation of an exponent, and of patches.
        noise: The deviation of each pixel's noise, at most, in shares of full ink.
    """

    shift: float = 0.0
    rotate: float = 0.0
    scale: float = 0.0
    shear: float = 0.0
    elastic: float = 0.0
    stroke: float = 0.0
    cutout: float = 0.0
    stretch: float = 0.0
    coarse: float = 0.0
    threshold: float = 0.0
    tone: float = 0.0
    noise: float = 0.0

    def __post_init__(self) -> None:
        most = {"rotate": 180.0, "scale": 0.9, "shear": 2.0, "shift": 28.0, "elastic": 28.0}
        most["cutout"] = 28.0  # the others are shares
        for field in fields(self):
            _check_number(field.name, getattr(self, field.name), most.get(field.name, 1.0))

    def changes(self) -> dict[str, float]:
        """Those that are not 0."""
        return {name: value for name, value in vars(self).items() if value}


def _check_number(name: str, value: object, most: float) -> None:
    if type(value) not in (int, float) or not 0 <= value <= most:  # type: ignore[operator]
        raise UsageError(f"{name} is {value!r}; expected a number from 0 to {most:g}")


@dataclass(frozen=True)
class Recipe:
    """One training, spelled out: the network, its loss and optimiser, batches and epochs.

    Attributes:
        name: What the run folder is called after.
        network: The layers from image to probabilities, the last one `Dense(classes, "softmax")`;
            or a function without arguments that makes a torch module, which takes float32 images
            (n, 1, 28, 28) in 0..1 and gives logits (n, classes).
        optimizer: "adam", "rmsprop" or "sgd", with Keras's defaults and arithmetic.
        learning_rate: Step size, above 0.
        beta_1: How much of Adam's mean of the gradients stays at each step; others have none.
        beta_2: The same for the mean of their squares.
        batch_size: Images in a step, at least 1.
        epochs: Passes over the training set, at least 1.
        members: Networks that are trained one after the other, with seeds of their own, and whose
            probabilities are averaged.
        schedule: "constant"; or "one-cycle", where the rate rises for a fifth of the steps to
            `learning_rate` and then falls to 0 (Smith, 2018).
        weight_decay: How much of each weight a step takes away, times the rate (decoupled:
            Loshchilov and Hutter, 2017).
        label_smoothing: The share of the label's probability that goes to all classes alike
            (Szegedy and others, 2015).
        averaging: The decay, each step, of an exponential moving average of the weights, which is
            what is validated and kept; 0 for none (Polyak and Juditsky, 1992). Statistics of batch
            normalisation are moving averages themselves, and kept as they are.
        augment: How images are changed at random.
        test_shifts: How an image is read once it is trained, 0..4: moved by up to so many pixels,
            too, across and down, and the mean of all (2 test_shifts + 1)^2 answers is given:
            test-time averaging.
        labels: "sparse" (a digit each) or "one-hot" (ten numbers each). The arithmetic is the
            same; it says which form the tutorial shows.
        validation: What is scored after each epoch: "none", "split" (a tenth of the training set,
            stratified, left out of training) or "test".
        source: The tutorial that it follows, or what it is for.
        reported: The figures that the source gives, or that were measured.
        origin: For a network from a file, its "FILE.py:NAME"; empty for presets.

    Raises:
        UsageError: A value that no training could use.
    """

    name: str
    network: "tuple[Layer, ...] | Callable[[], nn.Module]"
    optimizer: Optimizer = "adam"
    learning_rate: float = 0.001
    beta_1: float = 0.9
    beta_2: float = 0.999
    batch_size: int = 32
    epochs: int = 5
    members: int = 1
    schedule: Schedule = "constant"
    weight_decay: float = 0.0
    label_smoothing: float = 0.0
    averaging: float = 0.0
    augment: Augment = Augment()
    test_shifts: int = 0
    labels: Labels = "sparse"
    validation: Validation = "none"
    source: str = ""
    reported: str = ""
    origin: str = ""

    def __post_init__(self) -> None:
        if not self.name or {"/", "\\", "\0"} & set(self.name) or self.name[0] == ".":
            raise UsageError(f"name is {self.name!r}; expected one that a folder can have")
        kinds = (
            ("optimizer", Optimizer),
            ("schedule", Schedule),
            ("validation", Validation),
            ("labels", Labels),
        )
        for name, choices in ((name, get_args(kind)) for name, kind in kinds):
            found = getattr(self, name)
            if found not in choices:
                raise UsageError(f"{name} is {found!r}; expected one of {', '.join(choices)}")
        rate = self.learning_rate
        if not isinstance(rate, int | float) or not 0 < rate < 1e30:  # float32 ends at 3e38
            raise UsageError(f"learning_rate is {rate!r}; expected a number above 0, below 1e30")
        for name in _SHARES:
            _check_number(name, getattr(self, name), 0.9999)
        if not isinstance(self.augment, Augment):
            raise UsageError(f"augment is {self.augment!r}; expected an Augment")
        for name in ("batch_size", "epochs", "members"):
            found = getattr(self, name)
            if type(found) is not int or not 1 <= found < 10**9:
                raise UsageError(f"{name} is {found!r}; expected a whole number of at least 1")
        check_shifts(self.test_shifts, "test_shifts")
        if not callable(self.network):
            describe_layers(self.network)

    def extras(self) -> dict[str, Any]:
        """What it has that no tutorial has, by field: members, decays, schedule, augment, ..."""
        plain = {f.name: f.default for f in fields(self)}
        values = {
            n: getattr(self, n) for n in ("members", "schedule", *_SHARES, "augment", "test_shifts")
        }
        return {name: value for name, value in values.items() if value != plain[name]}

    def with_classes(self, classes: int) -> "Recipe":
        """The same recipe with as many outputs as there are classes."""
        if callable(self.network):
            return self
        *hidden, last = self.network
        assert isinstance(last, Dense)
        return replace(self, network=(*hidden, replace(last, units=classes)))

    def with_settings(self, settings: Mapping[str, str | int]) -> "Recipe":
        """The same recipe with some of its numbers changed.

        Args:
            settings: Number to value: `{"units": 128}` sets every hidden dense layer, the text
                `{"units": "32,64"}` one by one; so do the other numbers of layers, as filters,
                kernel_size and rate. `{"rotate": 10}` sets a number of `Augment`, and schedule,
                beta_1, beta_2, weight_decay, label_smoothing, averaging and test_shifts the
                recipe's own.

        Raises:
            UsageError: Nothing has such a number, or the values do not fit.
        """
        augment = {f.name for f in fields(Augment)}
        own: dict[str, Any] = {}
        changed: dict[str, float] = {}
        of_layers: dict[str, str | int] = {}
        for name, value in settings.items():
            if name in augment:
                changed[name] = _number(name, value)
            elif name in _SHARES:
                own[name] = _number(name, value)
            elif name == "schedule":
                own[name] = value
            elif name == "test_shifts":
                own[name] = _number(name, value, int)
            else:
                of_layers[name] = value
        if changed:
            own["augment"] = replace(self.augment, **changed)
        return replace(self, **own)._with_layers(of_layers) if settings else self

    def _with_layers(self, settings: Mapping[str, str | int]) -> "Recipe":
        if not settings:
            return self
        if callable(self.network):
            raise UsageError(
                f"{self.name}: its network is a torch module, whose numbers stand in its own "
                f"file; change them there instead of with {', '.join(settings)}"
            )
        hidden = list(self.network[:-1])
        for name, text in settings.items():
            places = [i for i, layer in enumerate(hidden) if name in _numbers(layer)]
            if not places:
                known = sorted({n for layer in hidden for n in _numbers(layer)})
                raise UsageError(
                    f"--set {name}: no hidden layer of {self.name} has it; "
                    f"expected one of {', '.join(known)}; or of the training's "
                    f"{', '.join(sorted(('schedule', 'test_shifts', *_SHARES, *vars(Augment()))))}"
                )
            for place, value in zip(places, _values(name, str(text), len(places)), strict=True):
                hidden[place] = replace(hidden[place], **{name: value})  # type: ignore[arg-type]
        return replace(self, network=(*hidden, self.network[-1]))

    def to_dict(self) -> dict[str, Any]:
        """The recipe as JSON can hold it; `from_dict` reads it back."""
        record = {f.name: getattr(self, f.name) for f in fields(self)}
        record["augment"] = asdict(self.augment)
        if callable(self.network):
            return record | {"network": None, "origin_sha256": _file_sha256(self.origin)}
        layers = [{"layer": type(layer).__name__.lower()} | asdict(layer) for layer in self.network]
        return record | {"network": layers}

    @classmethod
    def from_dict(
        cls, record: Mapping[str, Any], network: "Callable[[], nn.Module] | None" = None
    ) -> "Recipe":
        """Reads what `to_dict` wrote; a network from a file is read again from that file.

        Args:
            record: The recipe as a dictionary.
            network: For a network that came from no file, the function that makes it.

        Raises:
            UsageError: It is no recipe, or the file of the network is gone.
        """
        if not isinstance(record, Mapping):
            raise UsageError(f"a recipe is {type(record).__name__}; expected an object")
        values = dict(record)
        try:
            if values.get("network") is None:
                if not (network or values["origin"]):
                    raise UsageError(
                        "its network is a torch module that came from no file; give the function "
                        "that makes it as `network`"
                    )
                known = values.pop("origin_sha256", "")
                if not network and _file_sha256(values["origin"]) != known:
                    raise UsageError(
                        f"{values['origin']}: is gone or has changed since; bring that file back, "
                        "or give the function that makes the network as `network`"
                    )
                values["network"] = network or load_recipe(values["origin"]).network
            else:
                kinds = {kind.__name__.lower(): kind for kind in LAYERS}
                values["network"] = tuple(
                    kinds[layer["layer"]](**{k: v for k, v in layer.items() if k != "layer"})
                    for layer in values["network"]
                )
            values["augment"] = Augment(**values.get("augment", {}))
            return cls(**values)
        except (KeyError, TypeError, AttributeError) as error:
            raise UsageError(f"a recipe has an unknown or missing part: {error}") from None


_SHARES = ("beta_1", "beta_2", "weight_decay", "label_smoothing", "averaging")


def _number(name: str, value: str | float, kind: type[int] | type[float] = float) -> float:
    if not isinstance(value, str):  # the recipe checks it
        return value
    try:
        return kind(value)
    except ValueError:
        whole = "whole " if kind is int else ""
        raise UsageError(f"--set {name}={value}: expected a {whole}number") from None


def _file_sha256(origin: str) -> str:
    """The hash of the file in "FILE.py:NAME"; empty where there is none."""
    try:
        return hashlib.sha256(Path(origin.rpartition(":")[0]).read_bytes()).hexdigest()
    except OSError:
        return ""


def _numbers(layer: Layer) -> list[str]:
    return [name for name, value in asdict(layer).items() if type(value) in (int, float)]


def _values(name: str, text: str, places: int) -> list[float]:
    """The numbers in "32,64"; the layers themselves check their range."""
    try:
        values = [float(part) if {".", "e"} & set(part) else int(part) for part in text.split(",")]
    except ValueError:
        values = []
    if len(values) not in (1, places):
        raise UsageError(
            f"--set {name}={text}: expected a number, or {places} of them with commas between, "
            f"one for each hidden layer that has {name}"
        )
    return values * (places // len(values))


def _mlp(*units: int) -> tuple[Layer, ...]:
    return (Flatten(), *(Dense(n) for n in units), Dense(10, "softmax"))


def _conv(filters: int, pool: int = 1) -> tuple[Layer, ...]:
    """A convolution and its batch normalisation, between them a pool where there is one."""
    conv = Conv(filters, 3, "linear", "he_uniform", bias=False)
    return (conv, *([MaxPool(pool)] if pool > 1 else []), BatchNorm())


def _head(units: int) -> tuple[Layer, ...]:
    hidden = Dense(units, "linear", "he_uniform", bias=False)
    return (Flatten(), hidden, BatchNorm(), Dense(10, "softmax"))


_FAST = Recipe(
    name="fast",
    network=(
        Conv(8, 5, initializer="he_uniform", stride=2),
        Conv(32, 5, "linear", "he_uniform", stride=2, bias=False),
        BatchNorm(),
        *_head(128),
    ),
    learning_rate=0.03,
    beta_1=0.7,
    beta_2=0.9,
    batch_size=256,
    epochs=1,
    schedule="one-cycle",
    weight_decay=0.01,
    label_smoothing=0.05,
    source="Mnistry's own: 99% in the least time",
    reported="test accuracy 99.04% ± 0.06 (20 seeds) after 2.4 s on two cores",
)
_STRONG = replace(
    _FAST,
    name="strong",
    network=(*_conv(24, pool=2), *_conv(48), *_conv(96, pool=2), *_head(128)),
    learning_rate=0.01,
    batch_size=128,
    epochs=3,
    augment=Augment(shift=1.5, rotate=10, scale=0.1, shear=0.1),
    source="Mnistry's own: 99.6% within two minutes",
    reported="test accuracy 99.65% ± 0.06 (5 seeds) after 93 s on two cores",
)
_BEST = replace(
    _STRONG,
    name="best",
    beta_1=0.9,
    beta_2=0.99,
    epochs=20,
    augment=Augment(shift=2, rotate=12, scale=0.12, shear=0.12),
    test_shifts=1,
    source="Mnistry's own: the most accurate within half an hour",
    reported="test accuracy 99.72% ± 0.02 (5 seeds) after 166 s on two cores with bfloat16",
)
_TUTORIALS = (
    Recipe(
        name="datumo-cnn",
        network=(
            Conv(32, 3, initializer="he_uniform"),
            MaxPool(2),
            Flatten(),
            Dense(100, initializer="he_uniform"),
            Dense(10, "softmax"),
        ),
        epochs=10,
        source='DATUMO, "What is MNIST?"',
        reported="test accuracy 98.78%",
    ),
    Recipe(
        name="nvidia-mlp",
        network=_mlp(512, 512),
        optimizer="rmsprop",
        epochs=5,
        labels="one-hot",
        validation="test",
        source='NVIDIA, "Image Classification with the MNIST Dataset"',
        reported='accuracy and val_accuracy "close to 100%"',
    ),
    Recipe(
        name="devto-mlp",
        network=_mlp(128, 128),
        epochs=3,
        source='DEV, "MNIST Digit Classification"',
        reported="saves, loads, predicts and draws the prediction (no figure given)",
    ),
    Recipe(
        name="vidhya-mlp",
        network=_mlp(32, 64),
        batch_size=100,
        epochs=10,
        source="Analytics Vidhya, an MLP on MNIST",
        reported="training accuracy 97.88%, test accuracy over 96%",
    ),
)
TUTORIALS = tuple(preset.name for preset in _TUTORIALS)
PRESETS: dict[str, Recipe] = {
    preset.name: preset for preset in (_FAST, _STRONG, _BEST, *_TUTORIALS)
}
DEFAULT_PRESET = _FAST.name


def load_recipe(spec: str) -> Recipe:
    """A preset by its name, or what a function in a file returns.

    Args:
        spec: A preset's name, or "FILE.py:NAME": NAME is a function without arguments that
            returns a `Recipe`, or a torch module (which is then trained with the defaults:
            Adam at 0.001, batches of 32, 5 epochs); a class of torch modules will do.

    Raises:
        UsageError: No such preset, file or function, or it returns something else.
    """
    if spec in PRESETS:
        return PRESETS[spec]
    path, colon, name = spec.rpartition(":")
    if not colon or not path.endswith(".py"):
        raise UsageError(
            f"{spec!r} is no preset; expected {', '.join(PRESETS)}, "
            "or FILE.py:NAME for a network of your own"
        )
    make = _function(Path(path), name)
    made = _call(make, spec)
    origin = f"{Path(path).resolve()}:{name}"
    if isinstance(made, Recipe):
        return replace(made, origin=origin)
    torch = sys.modules.get("torch")  # a torch module cannot be made without importing torch
    if torch is None or not isinstance(made, torch.nn.Module):
        raise UsageError(
            f"{spec} returned {type(made).__name__}; expected a mnistry.Recipe or a torch module"
        )
    return Recipe(name=name, network=make, origin=origin, source=Path(path).name)


def _function(path: Path, name: str) -> Callable[[], Any]:
    if not os.path.isfile(path):  # unlike pathlib, it takes a name that is too long
        raise UsageError(f"{path}: no such file; expected FILE.py:NAME")
    spec = importlib.util.spec_from_file_location(f"mnistry_user_{path.stem}", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look their module up by its name
    sys.path.insert(0, str(path.resolve().parent))  # it may import a file beside it
    try:
        _call(lambda: spec.loader.exec_module(module), str(path))  # type: ignore[union-attr]
    finally:
        sys.path.remove(str(path.resolve().parent))
    make = getattr(module, name, None)
    if not callable(make):
        raise UsageError(f"{path} has no function {name}; expected FILE.py:NAME")
    return make  # type: ignore[no-any-return]


def _call(function: Callable[[], Any], what: str) -> Any:
    try:
        return function()
    except (Exception, SystemExit) as error:  # whatever a user's own file raises
        raise UsageError(f"{what} failed: {type(error).__name__}: {error}") from error
