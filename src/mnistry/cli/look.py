"""`mnistry presets`, `summary` and `recipe`: what there is to train."""

from textwrap import fill
from typing import Annotated

import typer

from mnistry.cli.console import Json, say, say_json, table
from mnistry.errors import UsageError
from mnistry.layers import LayerRow, describe_layers
from mnistry.recipe import DEFAULT_PRESET, PRESETS, Recipe, load_recipe

Spec = Annotated[str, typer.Argument(help="A preset, or FILE.py:NAME for one of your own.")]


def presets(json: Json = False) -> None:
    """List the presets, their sources and networks.

    \b
    mnistry presets
    """
    if json:
        say_json(
            [
                recipe.to_dict() | {"parameters": sum(row.parameters for row in _rows(recipe))}
                for recipe in PRESETS.values()
            ]
        )
        return
    for recipe in PRESETS.values():
        parameters = sum(row.parameters for row in _rows(recipe))
        say(recipe.name)
        _say_field("source", recipe.source)
        _say_field("network", describe_network(recipe))
        _say_field("size", f"{parameters:,} parameters")
        extras = {n: v for n, v in recipe.extras().items() if n != "augment"}
        own = "".join(
            f", {name} {value if isinstance(value, str) else f'{value:g}'}"
            for name, value in (extras | recipe.augment.changes()).items()
        )
        _say_field(
            "training",
            f"{recipe.optimizer}, learning rate {recipe.learning_rate:g}, batches of "
            f"{recipe.batch_size}, {recipe.epochs} epoch{'s' * (recipe.epochs > 1)}{own}",
        )
        _say_field("labels", f"{recipe.labels}; validation: {recipe.validation}")
        _say_field("reported", recipe.reported)
        say("")
    say(f"Train one with: mnistry train {DEFAULT_PRESET}")


def _say_field(name: str, text: str) -> None:
    """A line of at most 80 characters, or several."""
    say(fill(text, 80, initial_indent=f"  {name:10}", subsequent_indent=" " * 12))


def describe_network(recipe: Recipe) -> str:
    """The network in one line: conv 32 5x5/2, batch norm, flatten, dense 100, dense 10."""
    if callable(recipe.network):
        return recipe.origin
    words = {
        "Conv": "conv {filters} {kernel_size}x{kernel_size}",
        "MaxPool": "max-pool {pool_size}x{pool_size}",
        "Flatten": "flatten",
        "Dense": "dense {units}",
        "BatchNorm": "batch norm",
        "Dropout": "dropout {rate:g}",
    }
    layers = []
    for layer in recipe.network:
        stride = getattr(layer, "stride", 1)
        word = words[type(layer).__name__].format(**vars(layer))
        layers.append(f"{word}/{stride}" if stride > 1 else word)
    return ", ".join(layers)


def summary(
    recipe: Spec,
    set_: Annotated[
        list[str] | None,
        typer.Option("--set", help="A number of the network, as for train: units=128."),
    ] = None,
    json: Json = False,
) -> None:
    """Show a network's layers and numbers of parameters.

    \b
    mnistry summary nvidia-mlp
    mnistry summary datumo-cnn --set filters=64
    """
    chosen = load_recipe(recipe).with_settings(parse_settings(set_))
    rows = _rows(chosen)
    total = sum(row.parameters for row in rows)
    if json:
        say_json({"name": chosen.name, "parameters": total, "layers": [vars(row) for row in rows]})
        return
    say(f"{chosen.name}, for images of 28 x 28 pixels\n")
    cells = [
        [row.name, row.kind, str((None, *row.output_shape)), f"{row.parameters:,}"] for row in rows
    ]
    say(table(["layer", "kind", "output shape", "parameters"], cells, "lllr"))
    say(f"\n{total:,} parameters ({total * 4 / 1e6:.2f} MB as float32)")


def recipe(preset: Annotated[str, typer.Argument(help="A preset's name.")]) -> None:
    """Print a preset as a Python script to take and change.

    It spells out every step: load, look, prepare, build, train, evaluate, predict, save.

    \b
    mnistry recipe nvidia-mlp > mine.py
    python mine.py
    """
    from mnistry.script import write_script

    say(write_script(load_recipe(preset)).rstrip())


def parse_settings(pairs: list[str] | None) -> dict[str, str]:
    """["units=32,64"] as {"units": "32,64"}."""
    settings = {}
    for pair in pairs or []:
        name, equals, value = pair.partition("=")
        if not equals or not name:
            raise UsageError(f"--set {pair}: expected NAME=VALUE, such as units=128")
        settings[name.strip()] = value.strip()
    return settings


def _rows(recipe: Recipe) -> list[LayerRow]:
    if not callable(recipe.network):
        return describe_layers(recipe.network)
    from mnistry.model import build, summarise

    return summarise(build(recipe))
