"""A preset as a short Python script that spells out every step with the library's own API."""

from dataclasses import fields
from textwrap import fill
from typing import Any

from mnistry.errors import UsageError
from mnistry.layers import Conv, Layer, describe_layers
from mnistry.recipe import Augment, Recipe

_TEMPLATE = '''\
"""{title}

Every step of it, to take and change. Run it with: python FILE.py
"""

import mnistry
from mnistry import {names}

# 1. Load: images as uint8 0..255, labels as digits.
(x_train, y_train), (x_test, y_test) = mnistry.load_data()

# 2. Look.
print("x_train", x_train.shape, x_train.dtype, x_train.min(), x_train.max())
print("x_test ", x_test.shape, x_test.dtype, x_test.min(), x_test.max())
print(x_train[0])
print("its label is", y_train[0])
mnistry.draw_grid(x_train[:9], y_train[:9], "first-nine.png")

# 3. Prepare. `train` does this by itself; here it is, to see what the network is fed.
{prepare}

# 4. Build: the layers from an image to the probabilities of ten digits.
recipe = Recipe(
    name="{name}",
    network=(
{layers}
    ),
    optimizer="{optimizer}",
    learning_rate={learning_rate!r},
    batch_size={batch_size},
    epochs={epochs},
    validation="{validation}",
    labels="{labels}",
{more})
for row in mnistry.describe_layers(recipe.network):
    print(f"{{row.name:12}} {{row.output_shape!s:16}} {{row.parameters:9,}} parameters")
# {parameters:,} parameters in all

# 5. Train.
run = mnistry.train(recipe, data=((x_train, y_train), (x_test, y_test)), seed=0)
for record in run.history:
    print("epoch {{epoch}}: loss {{loss:.4f}}, accuracy {{accuracy:.4f}}".format(**record))

# 6. Evaluate, on images that it has not seen.
report = run.evaluate(((x_train, y_train), (x_test, y_test)))
low, high = report.interval
print(f"test accuracy {{report.accuracy:.2%}} (95% interval {{low:.2%}} to {{high:.2%}})")

# 7. Predict.
probabilities = run.predict(x_test[:1])  # (1, 10) float32
print("the first test image is a", probabilities[0].argmax(), "and its label is", y_test[0])
mnistry.draw_prediction(x_test[0], probabilities[0], "prediction.png")

# 8. Save, and load again.
folder = run.save()  # to runs/{name}-1, or the next number that is free
print("saved in", folder)
assert (mnistry.load_run(folder).predict(x_test[:1]) == probabilities).all()
'''

_FLAT = "x = mnistry.flatten(x_train)  # (60000, 784) uint8"
_IMAGE = "x = mnistry.add_channel(x_train)  # (60000, 28, 28, 1) uint8"
_SCALE = "x = mnistry.scale(x)  # the same shape, float32 0..1"
_SPARSE = "y = y_train  # digits as they are: sparse labels"
_ONE_HOT = "y = mnistry.one_hot(y_train)  # (60000, 10) float32, a one at the digit"
_SHOW = 'print("prepared", x.shape, x.dtype, x.min(), x.max(), y[:3].tolist())'


_SELDOM = {"stride": 1, "padding": 0, "bias": True}  # numbers of layers that are left out
_WIDTH = 88  # characters in a line


def write_script(recipe: Recipe) -> str:
    """The Python script of a preset: load, look, prepare, build, train, evaluate, predict, save.

    Raises:
        UsageError: The recipe's network is a torch module, whose code is its own script already.
    """
    if callable(recipe.network):
        raise UsageError(f"{recipe.name}: is a script of yours already; expected a preset's name")
    extras = recipe.extras()
    kinds = {type(layer).__name__ for layer in recipe.network} | {"Recipe"}
    if "augment" in extras:
        kinds.add("Augment")
    is_image = isinstance(recipe.network[0], Conv)
    steps = (
        _IMAGE if is_image else _FLAT,
        _SCALE,
        _ONE_HOT if recipe.labels == "one-hot" else _SPARSE,
        _SHOW,
    )
    return _TEMPLATE.format(
        title=f"{recipe.name}: {recipe.source}.".replace("..", "."),
        names=", ".join(sorted(kinds)),
        prepare="\n".join(steps),
        layers="\n".join(_call(layer) for layer in recipe.network),
        more="".join(f"    {name}={_value(value)},\n" for name, value in extras.items()),
        parameters=sum(row.parameters for row in describe_layers(recipe.network)),
        **{f.name: getattr(recipe, f.name) for f in fields(recipe) if f.name != "network"},
    )


def _value(value: Any) -> str:
    if not isinstance(value, Augment):
        return repr(value).replace("'", '"')
    changed = (f"{name}={by!r}" for name, by in value.changes().items())
    return f"Augment({', '.join(changed)})"


def _call(layer: Layer) -> str:
    """A layer on a line, or on several where one would be too long."""
    shown = (f for f in fields(layer) if getattr(layer, f.name) != _SELDOM.get(f.name))
    values = ", ".join(f"{f.name}={_value(getattr(layer, f.name))}" for f in shown)
    name, indent = type(layer).__name__, " " * 8
    line = f"{indent}{name}({values}),"
    if len(line) <= _WIDTH:
        return line
    more = indent + " " * 4
    inside = fill(f"{values},", _WIDTH, initial_indent=more, subsequent_indent=more)
    return f"{indent}{name}(\n{inside}\n{indent}),"
