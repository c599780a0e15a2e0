"""Tests of mnistry.script: each preset as a script, which runs."""

import ast
import dataclasses
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from torch import nn

from mnistry.errors import UsageError
from mnistry.layers import describe_layers
from mnistry.recipe import PRESETS, Recipe
from mnistry.script import write_script
from networks import EVERYTHING


def recipe_in(script: str) -> Recipe:
    """The recipe that a script builds, read without running the rest of it."""
    tree = ast.parse(script)
    wanted = [
        node
        for node in tree.body
        if isinstance(node, ast.ImportFrom)
        or (isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "recipe")
    ]
    names: dict[str, Any] = {}
    exec(compile(ast.Module(wanted, []), "script", "exec"), names)
    recipe = names["recipe"]
    assert isinstance(recipe, Recipe)
    return recipe


def test_a_script_spells_all_of_a_training_out() -> None:
    found = recipe_in(write_script(EVERYTHING))
    assert found == EVERYTHING
    several = dataclasses.replace(EVERYTHING, members=3, labels="one-hot")
    assert recipe_in(write_script(several)) == several


@pytest.mark.parametrize("name", PRESETS)
def test_a_script_spells_its_preset_out(name: str) -> None:
    script, preset = write_script(PRESETS[name]), PRESETS[name]
    compile(script, f"{name}.py", "exec", dont_inherit=True)
    assert not callable(preset.network)
    found = recipe_in(script)
    for key in ("network", "optimizer", "learning_rate", "batch_size", "epochs", "validation"):
        assert getattr(found, key) == getattr(preset, key), key
    assert preset.source.rstrip(".") in script
    assert f"{sum(row.parameters for row in describe_layers(preset.network)):,} param" in script
    assert ("one_hot(" in script) == (preset.labels == "one-hot")
    assert ("add_channel(" in script) != name.endswith("mlp")
    assert all(len(line) <= 100 for line in script.splitlines())


def test_settings_show_in_the_script() -> None:
    changed = PRESETS["vidhya-mlp"].with_settings({"units": "17,19"})
    assert recipe_in(write_script(changed)).network == changed.network


def test_an_own_module_is_a_script_already() -> None:
    with pytest.raises(UsageError, match="own: is a script of yours already"):
        write_script(Recipe("own", nn.Identity))


@pytest.mark.slow
@pytest.mark.parametrize("name", PRESETS)
def test_a_script_runs(name: str, mnist_dir: Path, tmp_path: Path) -> None:
    script, count = re.subn(r"epochs=\d+", "epochs=1", write_script(PRESETS[name]))
    assert count == 1
    path = tmp_path / "preset.py"
    path.write_text(script)
    done = subprocess.run(
        [sys.executable, "-W", "error", path.name],
        cwd=tmp_path,
        env={**os.environ, "MNISTRY_DATA": str(mnist_dir.resolve())},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    assert not done.stderr
    accuracy = re.search(r"test accuracy (\d+\.\d+)% \(95% interval", done.stdout)
    assert accuracy, done.stdout
    assert float(accuracy[1]) > 88  # after one epoch of them
    assert "x_train (60000, 28, 28) uint8 0 255" in done.stdout
    assert "its label is 5" in done.stdout
    assert "epoch 1: loss 0." in done.stdout
    assert "the first test image is a 7 and its label is 7" in done.stdout
    files = {str(file.relative_to(tmp_path)) for file in tmp_path.rglob("*.*") if file.is_file()}
    assert files - {"preset.py"} == {
        "first-nine.png",
        "prediction.png",
        f"runs/{name}-1/config.json",
        f"runs/{name}-1/history.json",
        f"runs/{name}-1/weights.safetensors",
        f"runs/{name}-1/curves.png",
    }
    for picture in ("first-nine.png", "prediction.png", f"runs/{name}-1/curves.png"):
        assert (tmp_path / picture).read_bytes().startswith(b"\x89PNG")
