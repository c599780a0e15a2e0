"""Tests of mnistry.recipe: recipes as data, their settings, and where they are loaded from."""

import dataclasses
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from mnistry.errors import MnistryError, UsageError
from mnistry.layers import Conv, Dense, Flatten, MaxPool
from mnistry.recipe import DEFAULT_PRESET, PRESETS, TUTORIALS, Augment, Recipe, load_recipe
from networks import EVERYTHING

SOFTMAX = Dense(10, "softmax")
MLP = (Flatten(), Dense(32), Dense(64), SOFTMAX)

# What the tutorials' table in docs/design.md says.
EXPECTED: dict[str, dict[str, Any]] = {
    "datumo-cnn": {
        "network": (
            Conv(32, 3, "relu", "he_uniform"),
            MaxPool(2),
            Flatten(),
            Dense(100, "relu", "he_uniform"),
            SOFTMAX,
        ),
        "optimizer": "adam",
        "batch_size": 32,
        "epochs": 10,
        "validation": "none",
        "labels": "sparse",
    },
    "nvidia-mlp": {
        "network": (Flatten(), Dense(512), Dense(512), SOFTMAX),
        "optimizer": "rmsprop",
        "batch_size": 32,
        "epochs": 5,
        "validation": "test",
        "labels": "one-hot",
    },
    "devto-mlp": {
        "network": (Flatten(), Dense(128), Dense(128), SOFTMAX),
        "optimizer": "adam",
        "batch_size": 32,
        "epochs": 3,
        "validation": "none",
        "labels": "sparse",
    },
    "vidhya-mlp": {
        "network": MLP,
        "optimizer": "adam",
        "batch_size": 100,
        "epochs": 10,
        "validation": "none",
        "labels": "sparse",
    },
}


def test_the_presets() -> None:
    assert tuple(EXPECTED) == TUTORIALS
    assert tuple(PRESETS) == ("fast", "strong", "best", *TUTORIALS)
    assert DEFAULT_PRESET == "fast"
    assert all(preset.source and preset.reported for preset in PRESETS.values())


def test_the_tutorials() -> None:
    for name, values in EXPECTED.items():
        preset = load_recipe(name)
        assert preset is PRESETS[name]
        assert preset.name == name
        assert preset.learning_rate == 0.001
        assert {key: getattr(preset, key) for key in values} == values
    assert SOFTMAX.initializer == "glorot_uniform"


# ------------------------------------------------------------------------------ bad values


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"optimizer": "lion"}, "optimizer is 'lion'; expected one of adam, rmsprop, sgd"),
        ({"optimizer": None}, "optimizer is None"),
        ({"validation": "train"}, "validation is 'train'; expected one of none, split, test"),
        ({"learning_rate": 0}, "learning_rate is 0; expected a number above 0"),
        ({"learning_rate": -0.1}, "learning_rate is -0.1"),
        ({"learning_rate": float("inf")}, "learning_rate is inf"),
        ({"learning_rate": float("nan")}, "learning_rate is nan"),
        ({"learning_rate": 1e39}, r"learning_rate is 1e\+39; expected a number above 0, below"),
        ({"learning_rate": "0.1"}, "learning_rate is '0.1'"),
        ({"schedule": "cosine"}, "schedule is 'cosine'; expected one of constant, one-cycle"),
        ({"weight_decay": -1}, "weight_decay is -1; expected a number from 0 to"),
        ({"label_smoothing": 1.0}, "label_smoothing is 1.0"),
        ({"averaging": "0.9"}, "averaging is '0.9'"),
        ({"augment": 3}, "augment is 3; expected an Augment"),
        ({"batch_size": 0}, "batch_size is 0; expected a whole number of at least 1"),
        ({"batch_size": 32.0}, "batch_size is 32.0"),
        ({"epochs": 0}, "epochs is 0"),
        ({"epochs": -3}, "epochs is -3"),
        ({"epochs": "5"}, "epochs is '5'"),
    ],
)
def test_bad_values(values: dict[str, Any], words: str) -> None:
    with pytest.raises(UsageError, match=words):
        Recipe("bad", **{"network": MLP, **values})
    with pytest.raises(UsageError, match=words):
        dataclasses.replace(PRESETS["vidhya-mlp"], **values)


# --------------------------------------------------------------------------------- settings


def test_the_settings_of_a_training() -> None:
    given = {"rotate": "10", "cutout": 4, "averaging": "0.9", "schedule": "one-cycle", "units": "5"}
    changed = PRESETS["vidhya-mlp"].with_settings(given | {"test_shifts": "2"})
    assert changed.augment == Augment(rotate=10.0, cutout=4.0)
    assert (changed.averaging, changed.schedule, changed.test_shifts) == (0.9, "one-cycle", 2)
    assert changed.network == (Flatten(), Dense(5), Dense(5), SOFTMAX)
    assert EVERYTHING.with_settings({"rate": "0.3", "padding": "0,1"}).network[2].padding == 1  # type: ignore[index]
    bad = [("rotate", "181"), ("rotate", "ten"), ("averaging", "1"), ("rate", "1")]
    for name, value in (*bad, ("test_shifts", "5"), ("test_shifts", "one"), ("test_shifts", "0.5")):
        with pytest.raises(UsageError, match=name):
            EVERYTHING.with_settings({name: value})
    for name in ("test_shifts", "averaging", "rotate"):
        for odd in (None, True, [1]):
            with pytest.raises(UsageError, match=f"{name} is {re.escape(repr(odd))}; expected"):
                EVERYTHING.with_settings({name: odd})  # type: ignore[dict-item]
    with pytest.raises(UsageError, match=r"test_shifts is 1\.9; expected a whole number"):
        EVERYTHING.with_settings({"test_shifts": 1.9})  # type: ignore[dict-item]


@pytest.mark.parametrize("name", vars(Augment()))
def test_no_image_is_changed_by_less_than_nothing(name: str) -> None:
    for value in (-0.1, 1000.0, "1", None, True, float("nan")):
        with pytest.raises(UsageError, match=f"{name} is "):
            Augment(**{name: value})  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("settings", "hidden"),
    [
        ({}, (32, 64)),
        ({"units": "128"}, (128, 128)),
        ({"units": "16,8"}, (16, 8)),
        ({"units": " 16 , 8 "}, (16, 8)),
    ],
)
def test_the_units_of_the_hidden_layers(settings: dict[str, str], hidden: tuple[int, ...]) -> None:
    changed = PRESETS["vidhya-mlp"].with_settings(settings)
    assert changed.network == (Flatten(), *(Dense(n) for n in hidden), SOFTMAX)
    unchanged = dataclasses.replace(changed, network=MLP)
    assert unchanged == PRESETS["vidhya-mlp"]


def test_the_settings_of_a_convolution() -> None:
    changed = PRESETS["datumo-cnn"].with_settings(
        {"filters": "8", "kernel_size": "5", "pool_size": "3", "units": "20"}
    )
    assert changed.network == (
        Conv(8, 5, initializer="he_uniform"),
        MaxPool(3),
        Flatten(),
        Dense(20, initializer="he_uniform"),
        SOFTMAX,
    )


@pytest.mark.parametrize(
    ("preset", "settings", "words"),
    [
        ("vidhya-mlp", {"filters": "3"}, "--set filters: no hidden layer of vidhya-mlp has it; ex"),
        ("vidhya-mlp", {"activation": "3"}, "expected one of units"),
        (
            "datumo-cnn",
            {"depth": "3"},
            "expected one of filters, kernel_size, padding, pool_size, stride, units; or of the",
        ),
        ("vidhya-mlp", {"units": ""}, "--set units=: expected a number, or 2 of them"),
        ("vidhya-mlp", {"units": "many"}, "--set units=many"),
        ("vidhya-mlp", {"units": "1.5"}, "units is 1.5; expected a whole number, 1 to"),
        ("vidhya-mlp", {"units": "0"}, "units is 0; expected a whole number, 1 to"),
        ("vidhya-mlp", {"units": "32,-1"}, "units is -1; expected a whole number, 1 to"),
        ("vidhya-mlp", {"units": "32,"}, "--set units=32,"),
        ("vidhya-mlp", {"units": "1,2,3"}, "--set units=1,2,3"),
        ("datumo-cnn", {"units": "1,2"}, "1 of them"),
        ("datumo-cnn", {"kernel_size": "40"}, "leaves nothing of the image"),
        ("datumo-cnn", {"pool_size": "27"}, "leaves nothing of the image"),
    ],
)
def test_settings_that_do_not_fit(preset: str, settings: dict[str, str], words: str) -> None:
    with pytest.raises(UsageError, match=words):
        PRESETS[preset].with_settings(settings)


def test_a_network_without_hidden_layers_has_no_settings() -> None:
    with pytest.raises(UsageError, match="--set units: no hidden layer of line has it"):
        Recipe("line", (Flatten(), SOFTMAX)).with_settings({"units": "3"})


def test_an_own_module_has_no_settings() -> None:
    own = Recipe("own", nn.Identity)
    assert own.with_settings({}) is own
    with pytest.raises(UsageError, match=r"own: its network is a torch module.*units"):
        own.with_settings({"units": "3"})


def test_as_many_outputs_as_classes() -> None:
    wider = PRESETS["datumo-cnn"].with_classes(26)
    assert wider.network == (*PRESETS["datumo-cnn"].network[:-1], Dense(26, "softmax"))  # type: ignore[index]
    assert PRESETS["datumo-cnn"].with_classes(10) == PRESETS["datumo-cnn"]
    own = Recipe("own", nn.Identity)
    assert own.with_classes(26) is own


# ------------------------------------------------------------------------- as a JSON record


@pytest.mark.parametrize("name", PRESETS)
def test_a_recipe_survives_json(name: str) -> None:
    changed = dataclasses.replace(
        PRESETS[name], learning_rate=0.0123, validation="split", origin="somewhere.py:it"
    )
    for recipe in (PRESETS[name], changed, EVERYTHING):
        record = recipe.to_dict()
        assert Recipe.from_dict(record) == recipe
        assert Recipe.from_dict(json.loads(json.dumps(record))) == recipe


def _without(key: str) -> Callable[[dict[str, Any]], object]:
    return lambda record: record.pop(key)


@pytest.mark.parametrize(
    "spoil",
    [
        _without("name"),
        lambda record: record.update(color="red"),
        lambda record: record.update(epochs=0),
        lambda record: record.update(epochs=None),
        lambda record: record.update(learning_rate="fast"),
        lambda record: record.update(learning_rate=[0.1]),
        lambda record: record.update(optimizer=["adam"]),
        lambda record: record.update(network=None),
        lambda record: record.update(network=None, origin=None),
        lambda record: record.update(network=None, origin=[]),
        lambda record: record.update(network=None, origin="gone.py:make"),
        lambda record: record.update(network=7),
        lambda record: record.update(network="mlp"),
        lambda record: record.update(network={}),
        lambda record: record.update(network=[]),
        lambda record: record["network"].pop(),
        lambda record: record["network"].insert(1, None),
        lambda record: record["network"].insert(1, {"layer": "dense"}),
        lambda record: record["network"].insert(1, {"layer": "lstm", "units": 3}),
        lambda record: record["network"].insert(1, {"layer": ["dense"], "units": 3}),
        lambda record: record["network"].insert(1, {"units": 3}),
        lambda record: record["network"][1].update(units=None),
        lambda record: record["network"][1].update(units="9"),
        lambda record: record["network"][1].update(units=9.5),
        lambda record: record["network"][1].update(units=[9]),
        lambda record: record["network"][1].update(activation="swish"),
        lambda record: record["network"][1].update(initializer={}),
        lambda record: record["network"][1].update(bias="no"),
    ],
)
def test_a_spoilt_record(spoil: Callable[[dict[str, Any]], object]) -> None:
    record = json.loads(json.dumps(PRESETS["vidhya-mlp"].to_dict()))
    spoil(record)
    with pytest.raises(UsageError):
        Recipe.from_dict(record)


@pytest.mark.parametrize("record", [None, [], "vidhya-mlp", 3])
def test_no_record_at_all(record: Any) -> None:
    with pytest.raises(UsageError, match="expected an object"):
        Recipe.from_dict(record)


# ---------------------------------------------------------------------- from a user's file

NETS = """\
import dataclasses
import torch
from torch import nn
import mnistry

class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.line = nn.Linear(784, 10)

    def forward(self, x):
        return self.line(x.flatten(1))

@dataclasses.dataclass
class Size:
    units: int = 12

def module():
    return nn.Sequential(nn.Flatten(), nn.Linear(784, 10))

def layers():
    return mnistry.Recipe(
        "small", (mnistry.Flatten(), mnistry.Dense(Size().units), mnistry.Dense(10, "softmax")),
        optimizer="sgd", learning_rate=0.1, epochs=2,
    )

def recipe_of_module():
    return mnistry.Recipe("mine", Net, batch_size=16)

def bad_recipe():
    return mnistry.Recipe("small", (mnistry.Dense(10),))

def raises():
    return 1 / 0

def number():
    return 10

def takes(size):
    return module()

some_number = 3
"""


@pytest.fixture
def nets(tmp_path: Path) -> Path:
    path = tmp_path / "nets_of_a_test.py"
    path.write_text(NETS)
    return path


@pytest.mark.parametrize("name", ["module", "Net"])
def test_a_torch_module_from_a_file(nets: Path, name: str) -> None:
    recipe = load_recipe(f"{nets}:{name}")
    assert recipe.name == name
    assert recipe.origin == f"{nets}:{name}"
    assert (recipe.optimizer, recipe.learning_rate) == ("adam", 0.001)
    assert (recipe.batch_size, recipe.epochs, recipe.validation) == (32, 5, "none")
    assert callable(recipe.network)
    made = recipe.network()
    assert made(torch.zeros(2, 1, 28, 28)).shape == (2, 10)
    assert recipe.network() is not made


def test_a_recipe_from_a_file(nets: Path) -> None:
    recipe = load_recipe(f"{nets}:layers")
    assert recipe == Recipe(
        "small",
        (Flatten(), Dense(12), SOFTMAX),
        optimizer="sgd",
        learning_rate=0.1,
        epochs=2,
        origin=f"{nets}:layers",
    )
    assert Recipe.from_dict(json.loads(json.dumps(recipe.to_dict()))) == recipe


def test_a_path_beside_the_working_folder(nets: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(nets.parent)
    recipe = load_recipe(f"{nets.name}:Net")
    assert recipe.origin == f"{nets}:Net"  # it is found from anywhere


@pytest.mark.parametrize("name", ["Net", "recipe_of_module"])
def test_a_record_of_an_own_module_reads_its_file_again(nets: Path, name: str) -> None:
    recipe = dataclasses.replace(load_recipe(f"{nets}:{name}"), epochs=7, optimizer="rmsprop")
    record = json.loads(json.dumps(recipe.to_dict()))
    assert record["network"] is None
    again = Recipe.from_dict(record)
    assert callable(again.network)
    assert again.network()(torch.zeros(2, 1, 28, 28)).shape == (2, 10)
    assert dataclasses.replace(again, network=recipe.network) == recipe
    nets.unlink()
    with pytest.raises(UsageError, match=f"{nets}.*: is gone or has changed since"):
        Recipe.from_dict(record)


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("missing", "has no function missing; expected FILE.py:NAME"),
        ("some_number", "has no function some_number"),
        ("", "has no function ;"),
        ("number", "number returned int; expected a mnistry.Recipe or a torch module"),
        ("raises", "raises failed: ZeroDivisionError: division by zero"),
        ("takes", r"takes failed: TypeError: takes\(\) missing 1 required positional argument"),
        ("bad_recipe", "bad_recipe failed: UsageError: layer 1"),
    ],
)
def test_names_that_make_no_recipe(nets: Path, name: str, words: str) -> None:
    with pytest.raises(UsageError, match=words):
        load_recipe(f"{nets}:{name}")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("def make(:\n", "broken.py failed: SyntaxError"),
        ("import no_such_package_of_ours\n", "broken.py failed: ModuleNotFoundError"),
        ("raise RuntimeError('not today')\n", "broken.py failed: RuntimeError: not today"),
        ("\0", "broken.py failed: "),
        ("", "broken.py has no function make"),
    ],
)
def test_broken_files(tmp_path: Path, text: str, words: str) -> None:
    path = tmp_path / "broken.py"
    path.write_text(text)
    with pytest.raises(UsageError, match=words):
        load_recipe(f"{path}:make")


def test_a_file_that_is_mended_is_read_again(tmp_path: Path) -> None:
    path = tmp_path / "mended_by_a_test.py"
    path.write_text("import nothing_of_the_kind\n")
    with pytest.raises(UsageError):
        load_recipe(f"{path}:make")
    path.write_text("from torch import nn\ndef make():\n    return nn.Linear(3, 4)\n")
    assert isinstance(load_recipe(f"{path}:make").network(), nn.Linear)  # type: ignore[operator]


@pytest.mark.parametrize(
    ("spec", "words"),
    [
        (
            "",
            "'' is no preset; expected fast, strong, best, datumo-cnn, nvidia-mlp, devto-mlp, "
            "vidhya-mlp, or FILE",
        ),
        ("nvidia", "'nvidia' is no preset"),
        ("NVIDIA-MLP", "'NVIDIA-MLP' is no preset"),
        ("nets.py", "'nets.py' is no preset"),
        ("nets.txt:make", "'nets.txt:make' is no preset"),
        ("nowhere/nets.py:make", "nowhere/nets.py: no such file; expected FILE.py:NAME"),
        (".py:make", "no such file"),
        (":make", "is no preset"),
    ],
)
def test_what_is_no_recipe(spec: str, words: str) -> None:
    with pytest.raises(UsageError, match=words) as caught:
        load_recipe(spec)
    assert isinstance(caught.value, MnistryError)
    assert caught.value.exit_code == 2
