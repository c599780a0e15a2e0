"""The command line: what each command prints, where, and the exit code of every way to fail."""

import importlib.util
import json
import os
import pty
import random
import re
import select
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from PIL import Image

from digits import make_digits, write_digits
from mnistry.cli import COMMANDS, run
from mnistry.cli.look import describe_network
from mnistry.pen import PenSet
from mnistry.recipe import PRESETS
from networks import EVERYTHING

Mnistry = Callable[..., tuple[int, str, str]]
"""Runs a command in this process; gives its exit code, standard output and standard error."""

ROOT = Path(__file__).parents[1]
COMMAND = [sys.executable, "-c", "from mnistry.cli import main; main()"]


# -------------------------------------------------------------------- a small data set, and a run


@pytest.fixture(scope="session")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a data set as IDX files and as npz, image files, and a finished run, done/."""
    home = tmp_path_factory.mktemp("home")
    (x_train, y_train), (x_test, y_test) = splits = make_digits(200, 50)
    write_digits(home / "digits", splits)
    np.savez(home / "digits.npz", x_train=x_train, y_train=y_train, x_test=x_test, y_test=y_test)
    light = x_test[7].copy()
    light[[0, -1]] = light[:, [0, -1]] = 0  # as MNIST's
    Image.fromarray(light).save(home / "light.png")
    Image.fromarray(255 - light).save(home / "dark.png")
    Image.fromarray(np.zeros((28, 30), np.uint8)).save(home / "wide.png")
    (home / "empty.png").write_bytes(b"")
    (home / "text.png").write_text("hello")
    (home / "cut.png").write_bytes((home / "light.png").read_bytes()[:60])
    (home / "net.py").write_text(_NETWORKS)
    before = Path.cwd()
    os.chdir(home)
    try:
        options = ["--data", "digits", "--epochs", "2", "--learning-rate", "0.01", "--out", "done"]
        assert run(["train", "devto-mlp", *options, "--threads", "1", "--quiet"]) == 0
    finally:
        os.chdir(before)
    return home


_NETWORKS = """
import mnistry
from torch import nn

def network():
    return nn.Sequential(nn.Flatten(), nn.Linear(784, 10))

def recipe():
    return mnistry.PRESETS["vidhya-mlp"]

def number():
    return 5

def fails():
    raise ValueError("two\\nlines")

def exits():
    raise SystemExit(9)

def unfit():
    return nn.Linear(3, 4)
"""


@pytest.fixture
def place(home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of `home` to work in, with no public data set to be had."""
    folder = tmp_path / "work"
    shutil.copytree(home, folder)
    config = folder / "done" / "config.json"  # it names the data's place
    config.write_text(config.read_text().replace(str(home), str(folder)))
    monkeypatch.chdir(folder)
    monkeypatch.delenv("MNISTRY_DATA", raising=False)
    return folder


def _start(*arguments: str, **options: object) -> "subprocess.Popen[str]":
    pipe = subprocess.PIPE
    options = {"stdout": pipe, "stderr": pipe} | options
    return subprocess.Popen(  # type: ignore[call-overload]
        [*COMMAND, *arguments],
        text=True,
        # pytest's own workers, like a shell's background jobs, pass on that Ctrl-C is ignored
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
        **options,
    )


def _finish(*arguments: str, **options: object) -> tuple[int, str, str]:
    process = _start(*arguments, **options)
    out, err = process.communicate(timeout=120)
    assert "Traceback" not in (out or "") + (err or "")
    return process.returncode, out, err


# ----------------------------------------------------------------------------------- the help texts


def _page_maker() -> ModuleType:
    spec = importlib.util.spec_from_file_location("make_cli", ROOT / "docs" / "make_cli.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


MAKER = _page_maker()


def test_the_commands_are_those_of_the_design():
    assert list(COMMANDS) == [
        *("data", "cache", "presets", "summary", "train"),
        *("evaluate", "predict", "correct", "serve", "export", "fit-line", "recipe", "demo"),
    ]


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_help_with_an_example(name: str, mnistry: Mnistry):
    code, out, err = mnistry(name, "--help")
    assert (code, err) == (0, "")
    examples = [line for line in out.splitlines() if line.startswith(f"  mnistry {name}")]
    assert examples, "no example in its docstring"
    assert mnistry(name, "-h") == (0, out, "")


def test_the_reference_page_is_what_the_help_says():
    written = (ROOT / "docs" / "cli.md").read_text(encoding="utf-8")
    assert written == MAKER.page(), "out of date: python docs/make_cli.py"
    assert max(map(len, written.splitlines())) <= 100


def test_every_example_names_options_that_exist():
    for name in COMMANDS:
        text = MAKER.help_of(name)
        examples = [line for line in text.splitlines() if line.startswith(f"  mnistry {name}")]
        options = text.partition("Options:")[2]
        for word in " ".join(examples).split():
            assert not word.startswith("--") or word in options


def test_without_arguments_it_helps(mnistry: Mnistry):
    assert mnistry() == mnistry("--help")
    assert mnistry()[0] == 0


def test_version(mnistry: Mnistry):
    from mnistry import __version__

    assert mnistry("--version") == (0, f"mnistry {__version__}\n", "")


# -------------------------------------------------------------------------------------- data, cache


def test_data_shows_what_the_tutorials_show(place: Path, mnistry: Mnistry):
    code, out, err = mnistry("data", "digits")
    assert (code, err) == (0, "")
    lines = [line.split() for line in out.splitlines()]
    assert ["x_train", "(200,", "28,", "28)", "uint8", "0"] in [line[:-1] for line in lines]
    assert ["y_test", "(50,)", "uint8", "0", "9"] in lines
    assert ["7", "20", "5"] in lines
    assert "its label, y_train[0], is " in out
    assert len([line for line in lines if len(line) == 28]) == 28


def test_data_of_another_form_has_the_same_contents(place: Path, mnistry: Mnistry):
    first, second = (json.loads(mnistry("data", d, "--json")[1]) for d in ("digits", "digits.npz"))
    assert first["sha256"] == second["sha256"]
    described = first["arrays"]["x_train"]
    assert (described["shape"], described["dtype"], described["min"]) == ([200, 28, 28], "uint8", 0)
    assert first["count_per_class"]["test"] == [5] * 10
    assert first["grid"] is None


@pytest.mark.parametrize("count", [9, 40])
def test_data_draws_the_first_images(place: Path, mnistry: Mnistry, count: int):
    code, out, _ = mnistry("data", "digits", "--grid", count)
    assert code == 0
    assert out.endswith(f"Drawn: digits-first-{count}.png\n")
    with Image.open(f"digits-first-{count}.png") as picture:
        assert picture.size[0] > 300


@pytest.mark.parametrize("preset", PRESETS)
def test_data_shows_the_preparation(place: Path, mnistry: Mnistry, preset: str):
    steps = json.loads(mnistry("data", "digits", "--prepare", preset, "--json")[1])["prepare"]
    shape = [200, 784] if preset.endswith("mlp") else [200, 28, 28, 1]
    assert [step["shape"] for step in steps[:2]] == [shape, shape]
    assert [step["dtype"] for step in steps[:2]] == ["uint8", "float32"]
    assert steps[1]["max"] <= 1
    assert np.allclose(np.array(steps[0]["values"]) / 255, steps[1]["values"])
    assert steps[0]["values"][0] > 0
    rows = np.array(steps[-1]["values"])
    assert rows.shape == (9, 10)
    assert np.array_equal(rows.sum(1), np.ones(9))
    out = mnistry("data", "digits", "--prepare", preset)[1]
    assert "scaled by 255" in out
    assert "one-hot" in out


def test_data_crops_the_numbers_where_a_terminal_is_narrow(place: Path):
    images = np.zeros((4, 28, 28), np.uint8)
    images[:, 4:24, 5:10] = 200
    np.savez("few.npz", x_train=images, y_train=[0, 1] * 2, x_test=images, y_test=[0, 1] * 2)
    out = _in_terminal(80, "data", "few.npz")
    assert "(rows 4 to 23 and columns 5 to 9: all that is not 0)" in out
    assert out.count(" 200 200 200 200 200\r\n") == 20
    assert max(map(len, out.splitlines())) <= 80
    assert "rows 4 to 23" not in _in_terminal(120, "data", "few.npz")


def test_cache_is_empty_at_first(place: Path, mnistry: Mnistry):
    assert mnistry("cache")[1].startswith("0 files, 0.0 MB, kept in")
    assert json.loads(mnistry("cache", "--json")[1])["files"] == []
    assert mnistry("cache", "--clear")[1].startswith("0 files, 0.0 MB, deleted from")


def test_cache_shows_and_clears(place: Path, mnistry: Mnistry):
    from mnistry.sources import cache_dir

    cache_dir().joinpath("mnist").mkdir(parents=True)
    (cache_dir() / "mnist" / "x_train.npy").write_bytes(b"12345")
    listed = json.loads(mnistry("cache", "--json")[1])
    if listed["files"]:  # the cache may know its own files only
        assert listed["bytes"] == 5
        assert mnistry("cache", "--clear")[0] == 0
        assert json.loads(mnistry("cache", "--json")[1])["bytes"] == 0


def test_real_mnist(mnist_dir: Path, tmp_path: Path, mnistry: Mnistry, monkeypatch):
    monkeypatch.chdir(tmp_path)
    code, out, err = mnistry("data", "--grid", 9, "--prepare", "nvidia-mlp")
    assert (code, err) == (0, "")
    for text in ("(60000, 28, 28)", "(10000,)", "6,742  1,135", "is 5:", "(60000, 784)", "0 to 1"):
        assert text in out
    assert Path("mnist-first-9.png").exists()
    assert mnistry("data", "mnist", "--data-dir", mnist_dir)[0] == 0


# ----------------------------------------------------------------------- presets, summary, recipe


def test_presets(mnistry: Mnistry):
    _, out, _ = mnistry("presets")
    for text in (*PRESETS, "542,230", "669,706", "118,282", "27,882", "98.78%"):
        assert text in out
    assert max(map(len, out.splitlines())) <= 80
    presets = json.loads(mnistry("presets", "--json")[1])
    assert {p["name"]: p["parameters"] for p in presets}["nvidia-mlp"] == 669_706


@pytest.mark.parametrize(
    ("arguments", "parameters"),
    [
        (["nvidia-mlp"], 669_706),
        (["datumo-cnn"], 542_230),
        (["devto-mlp", "--set", "units=32,64"], 785 * 32 + 33 * 64 + 65 * 10),
        (["datumo-cnn", "--set", "filters=8", "--set", "units=20"], 80 + 1353 * 20 + 210),
        (["net.py:network"], 7850),
        (["net.py:recipe"], 27_882),
    ],
)
def test_summary(place: Path, mnistry: Mnistry, arguments: list[str], parameters: int):
    code, out, err = mnistry("summary", *arguments)
    assert (code, err) == (0, "")
    assert out.splitlines()[-1].startswith(f"{parameters:,} parameters")
    record = json.loads(mnistry("summary", *arguments, "--json")[1])
    assert record["parameters"] == parameters == sum(r["parameters"] for r in record["layers"])


def test_a_network_in_one_line() -> None:
    assert describe_network(EVERYTHING) == (
        "conv 8 5x5/2, batch norm, conv 16 3x3, max-pool 2x2, batch norm, flatten, dropout 0.1, "
        "dense 32, batch norm, dense 10"
    )


@pytest.mark.parametrize("preset", PRESETS)
def test_recipe_prints_a_script(mnistry: Mnistry, preset: str):
    code, out, _ = mnistry("recipe", preset)
    assert code == 0
    compile(out, preset, "exec")


# ------------------------------------------------------------------ train, evaluate, predict, demo


def _train(mnistry: Mnistry, *options: str | Path) -> tuple[int, str, str]:
    return mnistry("train", "vidhya-mlp", "--data", "digits", "--epochs", 2, *options)


def test_train_evaluate_predict(place: Path, mnistry: Mnistry):
    code, out, err = _train(mnistry)
    assert code == 0
    few = "4 steps of 100 images are few for a network to learn in; --epochs 125 gives more"
    assert err.splitlines()[2] == few
    assert [line.split()[:2] for line in err.splitlines()[3:]] == [
        ["epoch", "1/2"],
        ["epoch", "2/2"],
    ]
    assert "accuracy" in err
    assert "are few" not in mnistry("train", "vidhya-mlp", "--data", "digits", "--epochs", 50)[2]
    shutil.rmtree("runs")
    assert _train(mnistry)[0] == 0
    assert "kept in runs/vidhya-mlp-1; next: mnistry evaluate runs/vidhya-mlp-1" in out
    assert _train(mnistry, "--quiet")[2] == ""
    assert sorted(os.listdir("runs")) == ["vidhya-mlp-1", "vidhya-mlp-2"]
    assert "curves.png" in os.listdir("runs/vidhya-mlp-1")

    code, out, err = mnistry("evaluate", "runs/vidhya-mlp-1")
    assert (code, err) == (0, "")
    assert "digits test: 50 images" in out
    assert "95% interval" in out
    assert Path("runs/vidhya-mlp-1/mistakes.png").exists()
    code, shifted, _ = mnistry("evaluate", "runs/vidhya-mlp-1", "--shifts", 1)
    assert code == 0
    assert re.search(r"loss +[\d.]+", shifted)[0] != re.search(r"loss +[\d.]+", out)[0]
    assert "read wrong; each read 9 times, moved about\n" in shifted
    assert "moved about" not in out
    assert (
        json.loads(mnistry("evaluate", "runs/vidhya-mlp-1", "--shifts", 1, "--json")[1])["shifts"]
        == 1
    )
    assert mnistry("evaluate", "runs/vidhya-mlp-1", "--shifts", 5)[0] == 2


def test_train_members(place: Path, mnistry: Mnistry):
    code, out, err = _train(mnistry, "--members", 3)
    assert code == 0
    assert "epoch 6/6" in err
    assert re.match(r"trained in [\d.]+ s; the last of its 3 networks: accuracy ", out)
    assert mnistry("train", "--members", 0)[0] == 2
    assert json.loads(mnistry("evaluate", "runs/vidhya-mlp-1", "--json")[1])["accuracy"] > 0.1


def test_train_json(place: Path, mnistry: Mnistry):
    code, out, err = _train(mnistry, "--json", "--quiet", "--seed", 3, "--batch-size", 20)
    assert (code, err) == (0, "")
    record = json.loads(out)
    assert len(record["history"]) == 2
    assert record["config"]["seed"] == 3
    assert record["config"]["recipe"]["batch_size"] == 20
    assert Path(record["run"]).is_dir()


def test_train_takes_every_option(place: Path, mnistry: Mnistry):
    options = ["--learning-rate", "0.02", "--optimizer", "sgd", "--validation", "split"]
    options += ["--set", "units=16,8", "--threads", "1", "--device", "cpu"]
    code, out, _ = _train(mnistry, *options, "--precision", "float32", "--out", "a b")
    assert code == 0
    assert "held out of the training set" in out
    assert out.endswith("mnistry evaluate 'a b'\n")
    recipe = json.loads(Path("a b/config.json").read_text())["recipe"]
    assert [layer.get("units") for layer in recipe["network"]] == [None, 16, 8, 10]
    assert (recipe["optimizer"], recipe["learning_rate"]) == ("sgd", 0.02)


def test_train_says_what_the_validation_is(place: Path, mnistry: Mnistry):
    _, out, _ = _train(mnistry, "--validation", "test")
    assert "on the test images\n" in out
    options = ["--data", "digits", "--epochs", 1, "--set", "units=8"]
    _, out, _ = mnistry("train", "nvidia-mlp", *options)
    assert "on the test images, as its tutorial does\n" in out


def test_train_a_network_from_a_file(place: Path, mnistry: Mnistry):
    code, out, _ = mnistry("train", "net.py:network", "--data", "digits.npz", "--epochs", 1)
    assert code == 0
    assert "kept in runs/network-1" in out


def test_evaluate_json(place: Path, mnistry: Mnistry):
    code, out, err = mnistry("evaluate", "done", "--json", "--out", "pictures")
    assert (code, err) == (0, "")
    report = json.loads(out)
    assert report["images"] == 50
    assert np.sum(report["confusion"]) == 50
    assert all(Path(picture).parent == Path("pictures") for picture in report["pictures"])
    assert mnistry("evaluate", "done", "--data", "digits.npz")[0] == 0


def test_predict_reads_both_polarities(place: Path, mnistry: Mnistry):
    code, out, err = mnistry("predict", "light.png", "dark.png", "--run", "done", "--json")
    assert (code, err) == (0, "")
    light, dark = map(json.loads, out.splitlines())
    assert light["probabilities"] == dark["probabilities"]
    assert len(light["probabilities"]) == 10
    assert sum(light["probabilities"]) == pytest.approx(1, abs=1e-5)
    assert light["label"] == str(np.argmax(light["probabilities"]))


def test_predict_answers_the_good_ones_and_fails_at_the_end(place: Path, mnistry: Mnistry):
    bad = ["cut.png", "empty.png", "text.png", "none.png", "digits"]
    files = ["light.png", *bad, "dark.png"]
    code, out, err = mnistry("predict", *files, "--run", "done")
    assert code == 3
    assert [line.split(":")[0] for line in out.splitlines() if line[0] != " "] == [
        "light.png",
        "dark.png",
    ]
    lines = err.splitlines()
    assert [line.split(":")[:2] for line in lines] == [["mnistry", f" {name}"] for name in bad]
    assert all("expected" in line for line in lines)
    code, out, err = mnistry("predict", *files, "--run", "done", "--json")
    assert (code, err) == (3, "")
    assert ["error" in json.loads(line) for line in out.splitlines()] == [
        *(False, *[True] * 5, False)
    ]


def test_predict_test_images_and_draw(place: Path, mnistry: Mnistry):
    arguments = ["--index", 7, "--index", 8, "--run", "done", "--draw", "drawn", "--show", "drawn"]
    code, out, _ = mnistry("predict", "light.png", *arguments)
    assert code == 0
    assert "digits test 7: " in out
    assert out.count("(labelled ") == 2
    assert out.endswith("drawn: 3 pictures in drawn\nwhat the network saw: drawn/seen.png\n")
    assert sorted(os.listdir("drawn")) == [
        "digits-test-7-prediction.png",
        "digits-test-8-prediction.png",
        "light-prediction.png",
        "seen.png",
    ]


def test_predict_draws_namesakes_side_by_side(place: Path, mnistry: Mnistry):
    Path("other").mkdir()
    shutil.copy("light.png", "other/light.png")
    mnistry("predict", "light.png", "other/light.png", "--run", "done", "--draw", "drawn")
    assert sorted(os.listdir("drawn")) == ["light-prediction-2.png", "light-prediction.png"]


@pytest.mark.parametrize(
    "name", ["a b.png", "é ü.png", "$x^{.png", "new\nline.png", "\x1b[31m.png", "bad\udcff.png"]
)
def test_predict_takes_odd_names(place: Path, mnistry: Mnistry, name: str):
    shutil.copy("light.png", name)
    code, out, _ = mnistry("predict", name, "--run", "done", "--draw", ".", "--json")
    assert code == 0
    record = json.loads(out)
    assert record["image"] == name
    assert all(Path(picture).exists() for picture in record["pictures"])
    if "\udcff" not in name:  # pytest's own capture is strict
        out = mnistry("predict", name, "--run", "done")[1]
        assert len(out.splitlines()) == 3
        assert "\x1b" not in out


def test_predict_with_a_run_is_as_sure_as_asked(place: Path, mnistry: Mnistry):
    call = ("predict", "light.png", "--run", "done", "--min-confidence")
    record = json.loads(mnistry(*call, 1, "--json")[1])
    assert (record["label"], record["text"]) == (None, "?")
    assert mnistry(*call, 1)[1].startswith("light.png: ?\n")
    assert mnistry(*call, 0, "--csv")[1].splitlines()[1].startswith("light.png,0,0,0,")


def test_predict_with_a_run_reads_pages(place: Path, mnistry: Mnistry):
    pages = np.full((60, 90), 255, np.uint8)
    pages[20:40, 30:33] = pages[20:40, 50:53] = 0  # 11
    Image.fromarray(pages).save("page.png")
    code, out, err = mnistry("predict", "page.png", "light.png", "--run", "done", "--json")
    assert code == 0
    assert err.startswith("mnistry: this network knows nothing but digits")
    page, taken = map(json.loads, out.splitlines())
    assert [round(digit["box"][0], -1) for digit in page["digits"]] == [30, 50]
    assert [digit["label"] for digit in taken["digits"]] == [int(taken["label"])]
    code, out, err = mnistry("predict", "wide.png", "light.png", "--run", "done")
    assert code == 0
    assert err.startswith("mnistry: this network knows nothing but digits")
    assert "no digits found" in out.splitlines()[-1]


def test_a_run_of_other_classes_reads_no_pages(place: Path, mnistry: Mnistry):
    for split, label, kind in (("train", 0, "a"), ("train", 1, "b"), ("test", 0, "a")):
        folder = Path("letters", split, kind)
        folder.mkdir(parents=True)
        for number in range(10):
            Image.new("L", (28, 28), 9 * (number + 20 * label)).save(folder / f"{number}.png")
    assert mnistry("train", "vidhya-mlp", "--data", "letters", "--epochs", 1, "--out", "ab")[0] == 0
    several = [Image.open("light.png")] * 2
    several[0].save("several.tif", save_all=True, append_images=several[1:])
    code, out, err = mnistry("predict", "wide.png", "light.png", "several.tif", "--run", "ab")
    assert code == 3
    assert re.match(r"light.png: [ab]\n +a: ", out)
    assert err == (
        "mnistry: wide.png: is 30 x 28 pixels, expected one page of 28 x 28: on others only digits "
        "are found, and ab reads a, b; scale it, or leave out --run\n"
        "mnistry: several.tif: has several pages, the first of 28 x 28 pixels, expected one page "
        "of 28 x 28: on others only digits are found, and ab reads a, b; scale it, or leave out "
        "--run\n"
    )


def test_export(place: Path, mnistry: Mnistry):
    code, out, err = _finish("export", "done", "a b.onnx", "--quiet")  # PyTorch logs past capsys
    assert (code, err) == (0, "")
    first, images, probabilities, checked = out.splitlines()
    assert first == f"written: a b.onnx, {os.path.getsize('a b.onnx'):,} bytes of ONNX"
    assert images.split(maxsplit=1) == ["images", "(n, 28, 28) uint8, 0 ground to 255 ink"]
    assert probabilities.split(maxsplit=1) == ["probabilities", "(n, 10) float32"]
    assert checked.startswith("checked on 50 images of digits test: 0 answers differ from the run")
    options = ["--data", "digits.npz", "--json", "--quiet"]
    code, out, err = mnistry("export", "done", "c.onnx", *options)
    assert (code, err) == (0, "")
    record = json.loads(out)
    assert record.pop("largest_difference") < 1e-5
    assert record == {
        "path": "c.onnx",
        "size": os.path.getsize("c.onnx"),
        "classes": 10,
        "data": "digits.npz test",
        "images": 50,
        "answers_differ": 0,
    }
    assert Path("c.onnx").read_bytes() == Path("a b.onnx").read_bytes()


def test_export_takes_a_finished_run(place: Path, mnistry: Mnistry):
    weights = Path("done/weights.safetensors")
    whole = weights.read_bytes()
    weights.write_bytes(whole[:-9])
    code, out, err = mnistry("export", "done", "o.onnx")
    assert (code, out) == (4, "")
    assert err.startswith("mnistry: done/weights.safetensors: is damaged")
    assert err.count("\n") == 1
    weights.unlink()
    code, out, err = mnistry("export", "done", "o.onnx")
    assert (code, out) == (4, "")
    assert err == (
        "mnistry: done: its training did not finish; finish it with: mnistry train --resume done\n"
    )
    assert not Path("o.onnx").exists()


def test_demo(mnist_dir: Path, place: Path, mnistry: Mnistry, monkeypatch):
    """A finished run is taken as it is, so that no test has to train on all of MNIST."""
    monkeypatch.setenv("MNISTRY_DATA", str(mnist_dir))
    monkeypatch.setattr("mnistry.cli.tour.DEFAULT_PRESET", "vidhya-mlp")
    monkeypatch.setattr("mnistry.cli.tour.shutil.which", lambda _: None)
    monkeypatch.setattr("mnistry.cli.tour.sys.prefix", str(place / ".venv"))
    Path(".venv/bin").mkdir(parents=True)
    Path(".venv/bin/activate").touch()
    Path("show").mkdir()
    shutil.copytree("done", "show/run")
    code, out, err = mnistry("demo", "--out", "show")
    assert code == 0
    assert "\n  . .venv/bin/activate\n  mnistry predict" in out
    assert "of 50 others right" in " ".join(out.split())  # it is scored on what it was trained on
    assert err.splitlines()[0] == "getting the data ..."
    assert max(map(len, out.splitlines())) <= 80
    assert sorted(os.listdir("show")) == [
        *("confusion.png", "first-40.png", "mistakes.png", "predictions.png", "run"),
    ]


# ----------------------------------------------------------------------------------------- fit-line


def test_fit_line(place: Path, mnistry: Mnistry):
    code, out, err = mnistry("fit-line")
    assert (code, err) == (0, "")
    assert "475.5000" in out
    assert out.count("m 5.1212  b 14.4545  loss 14.8788") == 2
    assert Path("line.png").exists()
    record = json.loads(mnistry("fit-line", "--json", "--out", "a.png")[1])
    assert record["closed_form"]["m"] == pytest.approx(5.1212, abs=1e-4)
    assert record["descent"]["converged"]
    assert Path("a.png").exists()


def test_fit_line_by_hand_and_with_own_points(place: Path, mnistry: Mnistry):
    assert "loss 475.5000" in mnistry("fit-line", "--m", "-2", "--b", "40")[1]
    Path("points.csv").write_text("0,1\n1,3\n2,5\n")
    record = json.loads(mnistry("fit-line", "--points", "points.csv", "--json")[1])
    assert record["closed_form"]["m"] == pytest.approx(2)
    record = json.loads(
        mnistry("fit-line", "--points", "points.csv", "--m", 2, "--b", 1, "--json")[1]
    )
    assert record["loss"] == 0


# ---------------------------------------------------------------------------- everything that fails

LONG = "a" * 5000

BAD = [  # the arguments, the exit code, and a part of the one line that says what is wrong
    ("frobnicate", 2, "no such command 'frobnicate'"),
    ("--frobnicate", 2, "no such option: --frobnicate"),
    ("data digits --grd 9", 2, "--grid"),
    ("data digits --grid x", 2, "--grid x: should be a valid integer. See: mnistry data --help"),
    ("data digits --grid 0", 2, "--grid 0: should be greater than or equal to 1"),
    ("data digits --grid 201", 2, "expected 1 to 200"),
    ("data digits --grid 9 --out no/where.png", 7, "no/where.png"),
    ("data digits --grid 9 --out pic.jpg", 2, ".png"),
    ("data digits --index 200", 2, "expected 0 to 199"),
    ("data digits --index -1", 2, "--index -1"),
    ("data digits --prepare nope", 2, "'nope' is no preset"),
    ("data nope", 3, "nope: does not exist"),
    ("data text.png", 3, "text.png: is a file of another kind"),
    ("data .", 3, ""),
    (f"data {LONG}", 3, ""),
    ("data mnist --data-dir nope", 3, "nope: no such folder"),
    ("data digits --data-dir digits", 2, "leave it out"),
    ("presets extra", 2, "unexpected extra argument"),
    ("summary", 2, "missing argument 'recipe'. See: mnistry summary --help"),
    ("summary nope", 2, "'nope' is no preset"),
    ("summary nvidia-mlp --set units", 2, "expected NAME=VALUE"),
    ("summary nvidia-mlp --set =3", 2, "expected NAME=VALUE"),
    ("summary nvidia-mlp --set rows=3", 2, "expected one of units"),
    ("summary nvidia-mlp --set units=1,2,3", 2, "expected a number, or 2 of them"),
    ("summary datumo-cnn --set kernel_size=40", 2, "leaves nothing of the image"),
    ("summary net.py:number", 2, "returned int"),
    ("summary net.py:fails", 2, "ValueError: two lines"),
    ("summary net.py:exits", 2, "exit"),
    ("summary net.py:unfit", 4, "the network fails on images"),
    ("summary net.py:nope", 2, "has no function nope"),
    ("summary text.py:f", 2, "no such file"),
    ("summary net.py:network --set units=3", 2, "change them there"),
    ("recipe nope", 2, "'nope' is no preset"),
    ("recipe net.py:network", 2, "is a script of yours already"),
    ("fit-line --m 3", 2, "--m and --b go together"),
    ("fit-line --m nan --b 3", 2, "finite"),
    ("fit-line --points nope.csv", 3, "nope.csv"),
    ("fit-line --points digits", 3, "digits"),
    ("fit-line --points light.png", 3, "light.png"),
    ("fit-line --out no/where.png", 7, "no/where.png"),
    (f"fit-line --out {LONG}.png", 7, ""),
    ("train nope", 2, "'nope' is no preset"),
    (f"train {LONG}.py:f", None, ""),
    ("train devto-mlp --data digits --epochs 0", 2, "--epochs 0"),
    ("train devto-mlp --data digits --epochs 99999999999999999999", 2, "--epochs 999"),
    ("train devto-mlp --data digits --batch-size 0", 2, "--batch-size 0"),
    ("train devto-mlp --data digits --learning-rate nan", 2, "expected a number above 0"),
    ("train devto-mlp --data digits --learning-rate -1", 2, "expected a number above 0"),
    ("train devto-mlp --data digits --optimizer foo", 2, "'adam', 'rmsprop', 'sgd'"),
    ("train devto-mlp --data digits --validation foo", 2, "'none', 'split', 'test'"),
    ("train devto-mlp --data digits --seed -1", 2, "--seed -1"),
    ("train devto-mlp --data digits --threads 0", 2, "--threads 0"),
    ("train devto-mlp --data digits --device tpu", 2, "'tpu' is not one of"),
    ("train devto-mlp --data digits --device mps", 2, "is not to be had here"),
    ("train devto-mlp --data digits --precision half", 2, "'half' is not one of"),
    ("train devto-mlp --data nope", 3, "nope: does not exist"),
    ("train devto-mlp --data digits --out done", 2, "is there already"),
    ("train devto-mlp --data digits --out net.py", 2, "is there already"),
    ("train devto-mlp --data digits --out net.py/run", 7, "net.py/run"),
    (f"train devto-mlp --data digits --out {LONG}", None, ""),
    ("train --resume nope", 4, "nope: no such folder"),
    ("train --resume net.py", 4, "net.py: is no folder"),
    ("train --resume digits", 4, "expected a run folder"),
    ("train --resume done", 2, "its training is finished"),
    ("train --resume done --epochs 3 --seed 4", 2, "leave out --epochs, --seed"),
    ("train nvidia-mlp --resume done", 2, "leave out the preset"),
    ("evaluate", 2, "missing argument 'RUN'"),
    ("evaluate nope", 4, "nope: no such folder"),
    ("evaluate done --data nope", 3, "nope: does not exist"),
    ("evaluate done --out net.py", 7, "name another place with --out"),
    ("predict", 2, "nothing to predict"),
    ("predict --run done", 2, "nothing to predict"),
    ("predict --index 7", 2, "name the run with --run RUN"),
    ("predict light.png --json --csv", 2, "expected one of them"),
    ("predict light.png --run done --reader o.onnx", 2, "expected one of them"),
    ("predict light.png --reader o.onnx", 4, "o.onnx: cannot be read"),
    ("predict light.png --reader net.py", 4, "net.py: "),
    ("predict light.png --min-confidence 1.1", 2, "--min-confidence 1.1: should be less"),
    ("predict light.png --min-confidence nan", 2, "min"),
    ("predict digits", 3, "digits: is a folder without images, expected files such as .png"),
    ("predict *.jpg", 3, "*.jpg: fits the name of no image, expected at least one"),
    ("predict light.png --draw net.py", 7, "name another place with --draw"),
    ("predict light.png --show net.py/on", 7, "name another place with --show"),
    ("predict light.png --run nope", 4, "nope: no such folder"),
    ("predict light.png --index 50 --run done", 2, "expected 0 to 49"),
    ("predict --index -1 --run done", 2, "--index -1"),
    ("predict light.png --run done --draw net.py", 7, "name another place with --draw"),
    ("export done", 2, "missing argument 'OUT'. See: mnistry export --help"),
    ("export nope o.onnx", 4, "nope: no such folder"),
    ("export digits o.onnx", 4, "expected a run folder"),
    ("export done o.onnx --data nope", 3, "nope: does not exist"),
    ("export done net.py", 2, "net.py: is there already, and nothing is overwritten"),
    ("export done digits", 2, "digits: is there already, and nothing is overwritten"),
    ("demo --data-dir nope", 3, "nope: no such folder"),
    ("demo extra", 2, "unexpected extra argument"),
]


@pytest.mark.parametrize(("line", "expected", "part"), BAD, ids=[f"{b[0][:60]}" for b in BAD])
def test_a_failure_is_one_line_and_a_code(
    place: Path, mnistry: Mnistry, line: str, expected: int | None, part: str
):
    before = sorted(os.listdir())
    code, out, err = mnistry(*line.split())
    assert code == expected or (expected is None and code in (2, 4, 7))
    assert out == ""
    problem = [text for text in err.splitlines() if text.startswith("mnistry: ")]
    assert len(problem) == 1
    assert err.rstrip().endswith(problem[0])
    assert part in problem[0]
    assert set(os.listdir()) - set(before) <= {"__pycache__"}


def test_a_failure_with_json_leaves_the_standard_output_empty(place: Path, mnistry: Mnistry):
    lines = ["data nope --json", "evaluate nope --json", "train --resume nope --json"]
    for line in [*lines, "export nope o.onnx --json"]:
        code, out, err = mnistry(*line.split())
        assert code != 0
        assert out == ""
        assert len(err.splitlines()) == 1


def test_an_empty_name_is_no_crash(place: Path, mnistry: Mnistry):
    commands = (
        ["data", ""],
        ["summary", ""],
        ["train", ""],
        ["evaluate", ""],
        ["predict", "", "--run", "done"],
        ["export", "", "o.onnx"],
        ["export", "done", ""],
        ["fit-line", "--out", ""],
        ["train", "--resume", ""],
    )
    assert all(mnistry(*command)[0] in (2, 3, 4) for command in commands)


def test_no_way_to_the_data(place: Path, mnistry: Mnistry, monkeypatch):
    from mnistry.errors import NetworkError

    def refuse(*_: object, **__: object) -> None:
        raise NetworkError("mnist: no mirror delivered it; name a folder with --data-dir")

    monkeypatch.setattr("mnistry.dataset.load_source", refuse)
    for command in (["data"], ["train", "--data", "mnist"], ["data", "--json"]):
        code, out, err = mnistry(*command)
        assert (code, out) == (5, "")
        assert "--data-dir" in err
    # MNIST was not asked for by name: pen takes its place
    small = PenSet(train=300, test=60, writers=12)
    monkeypatch.setattr("mnistry.pen.PenSet.parse", lambda _: small)
    monkeypatch.setattr("mnistry.cli.tour.DEFAULT_PRESET", "vidhya-mlp")
    notice = "MNIST could not be reached"
    code, out, err = mnistry("train", "vidhya-mlp", "--epochs", 1)
    assert (code, err.count(notice), out.count("mnist ")) == (0, 1, 0)
    assert (
        "using pen, 60,000 digits written by this program: the figures below are not MNIST's" in err
    )
    code, out, err = mnistry("demo")
    assert (code, err.count(notice)) == (0, 1)
    assert "on 300 images of pen" in " ".join(out.split())
    code, out, err = mnistry("demo")  # a second time on what the run was trained on
    assert (code, err.count(notice)) == (0, 0)
    code, out, err = mnistry("evaluate", "demo/run", "--quiet")
    assert (code, err) == (0, "")
    assert out.startswith("pen test: 60 images")


@pytest.mark.parametrize("package", ["torch", "matplotlib"])
def test_a_package_that_is_missing_is_named(place: Path, package: str):
    code = f"import sys; sys.modules[{package!r}] = None; from mnistry.cli import main; main()"
    command = ["train", "--data", "digits"] if package == "torch" else ["fit-line"]
    done = subprocess.run([sys.executable, "-c", code, *command], capture_output=True, text=True)
    assert done.returncode == 6
    assert done.stderr.count("\n") == 1
    assert package in done.stderr
    assert "pip install -c constraints.txt -e '.[train]'" in done.stderr


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_folder_without_permission(place: Path, mnistry: Mnistry):
    place.chmod(0o500)
    try:
        assert mnistry("fit-line")[0] == 7
        assert _train(mnistry)[0] == 7
    finally:
        place.chmod(0o700)


def test_an_unforeseen_error_is_one_line_that_says_so(capsys, monkeypatch):
    monkeypatch.setattr("mnistry.cli.look.PRESETS", None)
    assert run(["presets"]) == 1
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("mnistry: this is a bug in mnistry, please report it: AttributeError at")
    assert len(err.splitlines()) == 1


@pytest.mark.parametrize(
    ("error", "code", "part"),
    [
        (MemoryError(), 1, "the memory is full"),
        (RuntimeError("can't allocate memory: you tried"), 1, "the memory is full"),
        (PermissionError(13, "Permission denied", "x.png"), 7, "x.png: Permission denied"),
        (KeyboardInterrupt(), 130, ""),
    ],
)
def test_what_a_command_may_run_into(monkeypatch, capsys, error, code: int, part: str):
    def fail(*_: object) -> None:
        raise error

    monkeypatch.setattr("mnistry.cli.look.describe_layers", fail)
    assert run(["presets"]) == code
    assert part in capsys.readouterr().err


def test_odd_argument_lists(place: Path, mnistry: Mnistry):
    """Random words after a random command: always one of the exit codes, never a traceback."""
    rng = random.Random(0)
    commands = [*(name for name in COMMANDS if name not in ("demo", "serve", "train")), "nope", ""]
    words = ["digits", "done", "light.png", "nope", "", " ", "-", "--", "-x", "=", "é", "\x00"]
    words += ["--json", "-q", "--grid", "--index", "--set", "units=0", "--out", "o.png", "--run"]
    words += ["--data", "--prepare", "nvidia-mlp", "9" * 30, "-1", "1e999", "nan", "--m", "--b"]
    words += ["--points", "net.py:network", "net.py:", ":", "--draw", "--show", "--version", "\n"]
    words += ["--clear", "--csv", "--single"]
    for _ in range(150):
        arguments = [rng.choice(commands), *rng.choices(words, k=rng.randrange(6))]
        code, out, err = mnistry(*arguments)
        assert code in (0, 1, 2, 3, 4, 5, 6, 7), arguments
        assert code == 0 or out == "" or arguments[0] == "predict" or "--json" in arguments
        told = "mnistry: " in err or (arguments[0] == "predict" and '"error": ' in out)
        assert (code == 0) != told, arguments


@pytest.mark.slow
def test_more_odd_argument_lists(place: Path, mnistry: Mnistry):
    rng = random.Random(1)
    words = ["vidhya-mlp", "--data", "digits", "--epochs", "1", "--batch-size", "--seed", "--set"]
    words += ["units=3", "--out", "run", "--resume", "done", "--learning-rate", "1e-3", "--json"]
    words += ["--validation", "test", "split", "--threads", "2", "--precision", "bfloat16", "-q"]
    for _ in range(300):
        arguments = ["train", *rng.sample(words, k=rng.randrange(10)), "--data", "digits"]
        assert mnistry(*arguments)[0] in (0, 2, 3, 4, 7), arguments


# ------------------------------------------------------------------ processes: pipes, signals, ttys


def _in_terminal(columns: int, *arguments: str) -> str:
    """What a command prints to a terminal so wide; it must succeed."""
    import fcntl
    import struct
    import termios

    controller, terminal = pty.openpty()
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    environment = {k: v for k, v in os.environ.items() if k not in ("COLUMNS", "LINES")}
    streams = {"stdin": terminal, "stdout": terminal, "stderr": terminal}
    process = _start(*arguments, env=environment | {"TERM": "xterm"}, **streams)
    os.close(terminal)
    pieces, deadline = [], time.monotonic() + 60
    while time.monotonic() < deadline and select.select([controller], [], [], 60)[0]:
        try:
            piece = os.read(controller, 1 << 16)
        except OSError:  # how Linux says that the other end is closed
            break
        if not piece:
            break
        pieces.append(piece)
    os.close(controller)
    assert process.wait(30) == 0
    return b"".join(pieces).decode()


def test_a_terminal_gets_a_bar_and_whole_lines(place: Path):
    out = _in_terminal(80, "train", "vidhya-mlp", "--data", "digits", "--epochs", "3")
    assert "━" in out
    for line in out.replace("\x1b[2K", "\n").splitlines():
        assert not ("━" in line and "epoch" in line), "an epoch's line runs into the bar"
    assert "epoch 3/3" in out
    assert "\x1b" not in _in_terminal(80, "data", "digits", "--quiet")


def test_a_reader_that_leaves_is_no_error(place: Path):
    for arguments in (["recipe", "nvidia-mlp"], ["data", "digits", "--json"], ["train", "--help"]):
        read, write = os.pipe()
        os.close(read)
        process = _start(*arguments, stdout=write)
        os.close(write)
        assert process.communicate(timeout=60)[1] == ""
        assert process.returncode == 0


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no /dev/full")
def test_a_full_disk_behind_the_standard_output(place: Path):
    for arguments in (["presets"], ["--help"]):
        with open("/dev/full", "w") as full:
            code, _, err = _finish(*arguments, stdout=full)
        assert code == 7
        assert len(err.splitlines()) == 1
        assert "No space left" in err
    with open("/dev/full", "w") as full:
        assert _finish("nope", stderr=full)[0] == 2


def test_closed_streams(place: Path):
    for end in (">&-", "2>&-"):
        for arguments, code in (("data digits", 0), ("nope", 2)):
            command = ["sh", "-c", f'exec "$@" {end}', "sh", *COMMAND, *arguments.split()]
            done = subprocess.run(command, capture_output=True, text=True, timeout=60)
            assert done.returncode == code
            assert "Traceback" not in done.stderr


def test_names_that_the_terminal_cannot_show(place: Path):
    shutil.copytree("digits", "é\udcff")
    for encoding in ("ascii", "utf-8:strict"):
        environment = os.environ | {"PYTHONIOENCODING": encoding}
        code, out, _ = _finish("data", "é\udcff", env=environment)
        assert code == 0
        assert ", from " in out


def test_an_interrupt_stops_and_says_how_to_go_on(place: Path):
    long = ["train", "vidhya-mlp", "--data", "digits", "--epochs", "100000", "--out", "my run"]
    process = _start(*long)
    assert process.stderr is not None
    while "epoch 2/" not in process.stderr.readline():
        assert process.poll() is None
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert out == ""
    assert "Traceback" not in err
    assert err.splitlines()[-1] == "stopped; finish it with: mnistry train --resume 'my run'"
    assert not Path("my run/weights.safetensors").exists()


def test_a_killed_run_is_resumed(place: Path, mnistry: Mnistry):
    arguments = ["train", "vidhya-mlp", "--data", "digits", "--epochs", "100", "--out", "killed"]
    process = _start(*arguments)
    assert process.stderr is not None
    while "epoch 2/" not in process.stderr.readline():
        assert process.poll() is None
    process.kill()
    process.communicate(timeout=60)
    code, out, _ = mnistry("train", "--resume", "killed", "--json", "--quiet")
    assert code == 0
    assert len(json.loads(out)["history"]) == 100
    assert mnistry("train", "--resume", "killed")[0] == 2


def test_a_name_that_the_font_lacks(place: Path, mnistry: Mnistry):
    shutil.copy("light.png", "七.png")
    code, _, err = mnistry("predict", "七.png", "--run", "done", "--draw", ".")
    assert (code, err) == (0, "")
    assert Path("七-prediction.png").exists()


@pytest.mark.parametrize("grey", [0, 80, 255])
def test_an_empty_image_is_no_digit(place: Path, mnistry: Mnistry, grey: int):
    Image.new("L", (28, 28), grey).save("blank.png")
    code, out, err = mnistry("predict", "blank.png", "light.png", "--run", "done")
    assert code == 3
    assert out.startswith("light.png: ")
    assert err == "mnistry: blank.png: is empty, all of one grey; expected a digit\n"


def test_as_a_module(place: Path):
    done = subprocess.run([sys.executable, "-m", "mnistry", "--version"], capture_output=True)
    assert done.returncode == 0
    assert done.stdout.startswith(b"mnistry ")


def test_two_trainings_at_once_take_two_folders(place: Path):
    options = ("train", "vidhya-mlp", "--data", "digits", "--epochs", "1", "--quiet")
    for process in [_start(*options) for _ in range(2)]:
        assert process.communicate(timeout=120)[1] == ""
        assert process.returncode == 0
    assert sorted(os.listdir("runs")) == ["vidhya-mlp-1", "vidhya-mlp-2"]


def test_a_training_that_fails_leaves_no_empty_folder(place: Path, mnistry: Mnistry):
    assert _train(mnistry, "--learning-rate", "-1")[0] == 2
    assert not Path("runs").exists() or not os.listdir("runs")


def test_data_that_is_written_here(place: Path, mnistry: Mnistry):
    options = ("--train", 200, "--test", 50, "--writers", 9, "--seed", 4, "--style", "eu")
    code, out, _ = mnistry("data", "pen", *options, "--grid", 9)
    assert code == 0
    assert "(200, 28, 28)" in out
    assert Path("pen-first-9.png").exists()
    first = json.loads(mnistry("data", "pen", *options, "--json")[1])
    assert first["count_per_class"]["test"] == [5] * 10
    assert mnistry("cache")[1].count("pen/") == 1
    spec = "pen:train=200,test=50,writers=9,seed=4,style=eu"
    code, out, _ = mnistry("train", "vidhya-mlp", "--data", spec, "--epochs", 1, "--json")
    assert json.loads(out)["config"]["data"]["sha256"] == first["sha256"]


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["pen", "--train", "0"], "train is 0, expected 1 to"),
        (["pen", "--test", "-5"], "test is -5, expected 1 to"),
        (["pen", "--train", "1000000000000"], "expected 1 to"),
        (["pen", "--style", "fr"], "style is 'fr', expected one of us, eu, mixed"),
        (["pen:style=fr"], "style is 'fr'"),
        (["pen", "--style", "us,seed=3"], "style is 'us,seed=3'"),
        (["pen-others", "--style", "us"], "pen-others: has no style"),
        (["pen:letters=3"], "is no setting"),
        (["digits", "--train", "5"], "--train: goes with pen or pen-others, not with digits"),
        (["pen", "--data-dir", "digits"], "pen is written here"),
    ],
)
def test_pen_sets_that_cannot_be(place: Path, mnistry: Mnistry, options: list[str], words: str):
    code, out, err = mnistry("data", *options)
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert words in err


def test_other_data_for_a_run_whose_own_lay_in_a_folder(place: Path, mnistry: Mnistry):
    config = json.loads(Path("done/config.json").read_text())
    config["data"]["data_dir"] = str(place)  # as of a run on MNIST with --data-dir
    Path("done/config.json").write_text(json.dumps(config))
    code, out, _ = mnistry("evaluate", "done", "--data", "digits.npz")
    assert code == 0
    assert out.startswith("digits.npz test: 50 images")
