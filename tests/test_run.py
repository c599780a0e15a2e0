"""Tests of mnistry.run: predicting, saving and loading, and damaged run folders."""

import json
import shutil
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import mnistry
from digits import make_digits, write_digits
from mnistry.errors import DataError, MnistryError, ModelError, UsageError
from mnistry.recipe import Recipe
from mnistry.run import Run, load_run
from mnistry.runfolder import (
    CHECKPOINT,
    CONFIG,
    CURVES,
    HISTORY,
    SCHEMA,
    WEIGHTS,
    read_arrays,
    write_arrays,
)
from mnistry.trainer import Progress
from mnistry.training import resume, train

DATA = make_digits(120, 40)
IMAGES = DATA[1][0]


class Stop(Exception):  # noqa: N818
    pass


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run and a stopped one, of a small network; do not write here."""
    root = tmp_path_factory.mktemp("runs")
    arguments: dict[str, Any] = {
        "data": write_digits(root / "data", DATA),
        "settings": {"units": "4"},
        "epochs": 3,
        "threads": 1,
        "validation": "test",
    }
    train("nvidia-mlp", out=root / "finished", **arguments)

    def stop(told: Progress) -> None:
        if told.epoch > 1:
            raise Stop

    with pytest.raises(Stop):
        train("nvidia-mlp", out=root / "stopped", progress=stop, **arguments)
    return root


@pytest.fixture(scope="module")
def run(folders: Path) -> Run:
    return load_run(folders / "finished")


# --------------------------------------------------------------------------------- predicting


@pytest.mark.parametrize("shape", [(-1, 28, 28), (-1, 784), (-1, 1, 28, 28), (-1, 28, 28, 1)])
def test_every_shape_and_dtype_gives_the_same(run: Run, shape: tuple[int, ...]) -> None:
    expected = run.predict(IMAGES)
    assert expected.shape == (40, 10)
    assert expected.dtype == np.float32
    np.testing.assert_allclose(expected.sum(axis=1), 1, atol=1e-6)
    assert (expected >= 0).all()
    images = IMAGES.reshape(shape)
    for form in (images, images.astype(np.float32) / np.float32(255), images / 255.0):
        np.testing.assert_array_equal(run.predict(form), expected, strict=True)
    np.testing.assert_array_equal(run.predict((images / 255.0).tolist()), expected)
    np.testing.assert_allclose(run.predict((images / 255).astype(np.float16)), expected, atol=5e-3)


@pytest.mark.parametrize("shape", [(28, 28), (784,), (1, 28, 28), (1, 784)])
def test_one_image_gives_one_row(run: Run, shape: tuple[int, ...]) -> None:
    found = run.predict(IMAGES[3].reshape(shape))
    assert found.shape == (1, 10)
    np.testing.assert_allclose(found[0], run.predict(IMAGES)[3], atol=1e-6)


def test_no_images_give_no_rows(run: Run) -> None:
    found = run.predict(IMAGES[:0])
    assert found.shape == (0, 10)
    assert found.dtype == np.float32


def test_more_images_than_go_at_a_time(run: Run) -> None:
    many = np.concatenate([IMAGES] * 51)[:2001]
    expected = np.concatenate([run.predict(IMAGES)] * 51)[:2001]
    np.testing.assert_allclose(run.predict(many), expected, atol=1e-6)


@pytest.mark.parametrize(
    "images",
    [
        IMAGES.astype(np.int64),
        IMAGES.astype(np.float32),  # 0..255
        np.full((28, 28), np.nan),
        np.zeros((28, 27), np.uint8),
        np.zeros((2, 3, 28, 28), np.uint8),
        [["a"]],
    ],
    ids=str,
)
def test_what_is_no_image(run: Run, images: Any) -> None:
    with pytest.raises(UsageError, match="images: "):
        run.predict(images)


def test_the_probabilities_are_the_networks(run: Run) -> None:
    with torch.no_grad():
        x = torch.from_numpy(IMAGES.astype(np.float32) / np.float32(255)).unsqueeze(1)
        expected = run.network(x).softmax(1).numpy()
    np.testing.assert_array_equal(run.predict(IMAGES), expected)


# ----------------------------------------------------------------------------- saving, loading


def same(a: Run, b: Run) -> None:
    np.testing.assert_array_equal(a.predict(IMAGES), b.predict(IMAGES), strict=True)
    assert (a.recipe, a.history, a.config["data"]) == (b.recipe, b.history, b.config["data"])
    assert a.config["seed"] == b.config["seed"]


@pytest.mark.parametrize("name", ["datumo-cnn", "nvidia-mlp", "vidhya-mlp"])
def test_a_run_is_saved_and_loaded(name: str, tmp_path: Path) -> None:
    run = train(name, data=DATA, epochs=1, settings={"units": "8"}, seed=12)
    assert run.path is None
    folder = run.save(tmp_path / "deep" / "run")
    assert run.path == folder == tmp_path / "deep" / "run"
    assert {path.name for path in folder.iterdir()} == {CONFIG, HISTORY, WEIGHTS, CURVES}
    assert (folder / CURVES).read_bytes().startswith(b"\x89PNG")
    loaded = load_run(folder)
    same(loaded, run)
    assert not loaded.network.training
    assert loaded.path == folder
    assert loaded.classes == tuple("0123456789")
    again = loaded.save(tmp_path / "copy")
    same(load_run(again), run)
    assert (again / WEIGHTS).read_bytes() == (folder / WEIGHTS).read_bytes()
    assert [path.name for path in tmp_path.iterdir()].count("copy") == 1


NET = """
from torch import nn
def Net():
    return nn.Sequential(nn.Conv2d(1, 3, 5), nn.BatchNorm2d(3), nn.Flatten(), nn.Dropout(),
                         nn.Linear(3 * 24 * 24, 10))
"""


def test_a_run_of_an_own_module_needs_its_file(tmp_path: Path) -> None:
    path = tmp_path / "net_of_a_run.py"
    path.write_text(NET)
    run = train(f"{path}:Net", data=DATA, epochs=1, out=tmp_path / "run")
    loaded = load_run(tmp_path / "run")
    np.testing.assert_array_equal(loaded.predict(IMAGES), run.predict(IMAGES))
    assert loaded.network[1].num_batches_tracked == 4  # type: ignore[index]
    for other in (NET.replace("1, 3, 5", "1, 4, 5"), "nothing", None):
        if other is None:
            path.unlink()
        else:
            path.write_text(other)
        with pytest.raises(ModelError, match=r"has no usable recipe \(.* is gone or has changed"):
            load_run(tmp_path / "run")

    def make() -> torch.nn.Module:
        return torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(784, 10))

    with pytest.raises(ModelError, match=r"weights.safetensors: its weights are another network's"):
        load_run(tmp_path / "run", network=make)


def test_nothing_is_overwritten(run: Run, folders: Path, tmp_path: Path) -> None:
    before = {path: path.read_bytes() for path in (folders / "finished").iterdir()}
    for place in (folders / "finished", folders / "stopped", folders / "data"):
        with pytest.raises(UsageError, match="is there already, and nothing is overwritten"):
            run.save(place)
        with pytest.raises(UsageError, match="is there already, and nothing is overwritten"):
            train("vidhya-mlp", data=DATA, epochs=1, out=place)
    assert {path: path.read_bytes() for path in (folders / "finished").iterdir()} == before
    assert (folders / "stopped" / CHECKPOINT).exists()


def test_a_run_is_scored_on_its_own_data_or_others(run: Run) -> None:
    report = run.evaluate()
    assert report.data == "data test"
    assert report.accuracy == run.history[-1]["val_accuracy"]
    assert run.evaluate(make_digits(10, 30, seed=5)).data == "arrays test"
    assert len(run.evaluate(make_digits(10, 30, seed=5)).y_true) == 30
    with pytest.raises(ModelError, match="expected those that the run was trained on"):
        run.evaluate(make_digits(52, 52, classes=26))


def test_a_run_on_arrays_cannot_find_them_again() -> None:
    run = train("vidhya-mlp", data=DATA, epochs=1)
    with pytest.raises(UsageError, match="was trained on arrays, which are not kept"):
        run.evaluate()


def test_the_config_says_how_to_do_it_again(folders: Path, run: Run) -> None:
    config = json.loads((folders / "finished" / CONFIG).read_text())
    assert Recipe.from_dict(config["recipe"]) == run.recipe
    assert config["schema"] == SCHEMA
    assert config["data"]["place"] == str(folders / "data")
    assert config["data"]["sha256"] == mnistry.load_dataset(folders / "data").sha256
    assert config["versions"]["mnistry"] == mnistry.__version__
    again = train(run.recipe, data=folders / "data", seed=config["seed"], threads=1)
    np.testing.assert_array_equal(again.predict(IMAGES), run.predict(IMAGES))


# ------------------------------------------------------------------------------ damaged folders


@pytest.fixture
def copy(folders: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(folders, tmp_path / "runs"))


def test_folders_that_are_no_finished_run(copy: Path) -> None:
    with pytest.raises(ModelError, match="no such folder"):
        load_run(copy / "nowhere")
    with pytest.raises(ModelError, match=r"config.json: cannot be read"):
        load_run(copy / "data")
    with pytest.raises(ModelError, match="did not finish; finish it with: mnistry train --resume"):
        load_run(copy / "stopped")
    with pytest.raises(ModelError, match="no such folder"):
        load_run(copy / ("x" * 300))


def rewrite(path: Path, change: Callable[[Any], Any]) -> None:
    content = json.loads(path.read_text())
    changed = change(content)
    path.write_text(json.dumps(content if changed is None else changed))


@pytest.mark.parametrize("name", [CONFIG, HISTORY, WEIGHTS])
@pytest.mark.parametrize("how", ["missing", "empty", "half", "other", "folder"])
def test_a_file_that_is_damaged(copy: Path, name: str, how: str) -> None:
    path = copy / "finished" / name
    data = path.read_bytes()
    path.unlink()
    if how == "folder":
        path.mkdir()
    elif how != "missing":
        contents = {"empty": b"", "half": data[: len(data) // 2], "other": b"\x89PNG\r\n"}
        path.write_bytes(contents[how])
    with pytest.raises(ModelError, match=name if how != "missing" or name != WEIGHTS else "finish"):
        load_run(copy / "finished")


RECORD = {"epoch": 1, "loss": 0.5, "accuracy": 0.5, "seconds": 1.0}


@pytest.mark.parametrize(
    "history",
    [
        *(None, {}, 3, "loss", [3], [{}], [{"epoch": 1}], [None]),
        *([RECORD | {"course": course}] for course in (3, [3], [[1]], [[1, "2"]], {"1": 2})),
    ],
)
def test_a_history_that_is_none(copy: Path, history: Any) -> None:
    for kept in (history or {"was": history}, {"data": "mnist", "epochs": history}):
        (copy / "finished" / HISTORY).write_text(json.dumps(kept))
        with pytest.raises(ModelError, match=r"history.json: holds no history"):
            load_run(copy / "finished")


@pytest.mark.parametrize(
    "change",
    [
        lambda config: config.pop("recipe"),
        lambda config: config.pop("data"),
        lambda config: config["data"].pop("place"),
        lambda config: config["data"].pop("classes"),
        lambda config: config.update(data=[]),
        lambda config: config.update(recipe=[]),
        lambda config: config["recipe"].update(epochs="many"),
        lambda config: config["recipe"]["network"][1].update(units=5),
        lambda config: config["recipe"]["network"][1].update(units=5.0),
        lambda config: config["recipe"]["network"].pop(1),
    ],
)
def test_a_config_that_does_not_fit(copy: Path, change: Callable[[Any], Any]) -> None:
    for name in ("finished", "stopped"):
        rewrite(copy / name / CONFIG, lambda config: [change(config), config][1])
    with pytest.raises(ModelError):
        load_run(copy / "finished")
    with pytest.raises(MnistryError):
        resume(copy / "stopped", progress=_stop)


@pytest.mark.parametrize(
    "change",
    [
        lambda config: config.pop("seed"),
        lambda config: config.update(seed=-1),
        lambda config: config.update(seed=10**30),
        lambda config: config.update(seed="0"),
        lambda config: config.update(threads=None) or config.pop("threads"),
        lambda config: config.update(threads=10**30),
        lambda config: config.update(device="tpu"),
        lambda config: config.update(device=[]),
        lambda config: config.update(precision="float8"),
        lambda config: config["data"].update(sha256=3),
        lambda config: config["data"].update(place=3),
    ],
)
def test_a_config_that_cannot_be_resumed(copy: Path, change: Callable[[Any], Any]) -> None:
    rewrite(copy / "stopped" / CONFIG, lambda config: [change(config), config][1])
    with pytest.raises(ModelError, match=r"config.json: (is damaged|cannot be used) \("):
        resume(copy / "stopped", progress=_stop)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b'"steps":"4"', b'"steps":"5"'),
        (b'"steps":"4"', b'"steps":"x"'),
        (b'"steps":"4"', b'"stops":"4"'),
        (b'"history":"[', b'"history":"{'),
        (b'"history"', b'"histery"'),
        (b'\\"epoch\\": 1', b'\\"epoch\\": 2'),
        (b"optimizer.square", b"optimizer.squire"),
        (b"network.dense_1", b"network.dense_7"),
        (b'"F32"', b'"I32"'),
    ],
)
def test_a_checkpoint_that_does_not_fit(copy: Path, old: bytes, new: bytes) -> None:
    path = copy / "stopped" / CHECKPOINT
    data = path.read_bytes()
    assert old in data
    assert len(old) == len(new)
    path.write_bytes(data.replace(old, new, 1))
    with pytest.raises(ModelError, match=r"checkpoint.safetensors: "):
        resume(copy / "stopped", progress=_stop)


def test_weights_that_are_no_numbers(copy: Path, folders: Path) -> None:
    for name, path in (("stopped", CHECKPOINT), ("finished", WEIGHTS)):
        arrays, notes = read_arrays(copy / name / path)
        last = sorted(arrays)[-1]
        arrays[last] = arrays[last].copy()
        arrays[last].flat[-1] = np.nan
        write_arrays(copy / name / path, arrays, notes)
    with pytest.raises(ModelError, match=r"weights.safetensors: .* not finite"):
        load_run(copy / "finished")
    with pytest.raises(ModelError, match=r"checkpoint.safetensors: .* not finite"):
        resume(copy / "stopped", progress=_stop)


def _stop(_: Progress) -> None:
    raise Stop


@st.composite
def mutations(draw: st.DrawFn) -> Callable[[bytes], bytes]:
    """A change to a file's bytes; the places are shares of its length."""
    kind = draw(st.sampled_from(["replace", "insert", "delete", "cut", "swap"]))
    # Most places of a safetensors file are numbers: the header and the edges are as interesting.
    share = draw(st.floats(0, 0.9999) | st.floats(0, 0.1))
    some = draw(st.binary(min_size=1, max_size=2) | st.sampled_from([b"0", b"-", b'"', b"}", b"["]))
    length = draw(st.integers(1, 40))

    def mutate(data: bytes) -> bytes:
        place = int(share * len(data))
        rest = {
            "replace": some + data[place + len(some) :],
            "insert": some + data[place:],
            "delete": data[place + length :],
            "cut": b"",
            "swap": data[place : place + length][::-1] + data[place + length :],
        }
        return data[:place] + rest[kind]

    return mutate


@pytest.fixture(scope="module")
def fuzzed(folders: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    place = tmp_path_factory.mktemp("fuzz") / "runs"
    return shutil.copytree(folders, place)


def _fuzz(fuzzed: Path, name: str, mutate: Callable[[bytes], bytes]) -> None:
    """Only an answer or an error of ours comes of a changed file, and the file stays."""
    folder = fuzzed / ("stopped" if name == CHECKPOINT else "finished")
    path = folder / name
    whole = path.read_bytes()
    path.write_bytes(mutate(whole))
    try:
        try:
            if name == CHECKPOINT:
                resume(folder, progress=_stop)
            else:
                found = load_run(folder).predict(IMAGES)
                assert found.shape == (40, 10)
        except (MnistryError, Stop):
            pass
        assert path.read_bytes() == mutate(whole)
        if name == CONFIG:
            stopped = fuzzed / "stopped" / CONFIG
            kept = stopped.read_bytes()
            try:
                stopped.write_bytes(mutate(kept))
                resume(stopped.parent, progress=_stop)
            except (MnistryError, Stop):
                pass
            finally:
                stopped.write_bytes(kept)
    finally:
        path.write_bytes(whole)


_SETTINGS: dict[str, Any] = {
    "suppress_health_check": [HealthCheck.function_scoped_fixture],
}


@pytest.mark.parametrize("name", [CONFIG, HISTORY, WEIGHTS, CHECKPOINT])
@settings(max_examples=30, derandomize=True, **_SETTINGS)
@given(mutate=mutations())
def test_any_change_of_a_file(name: str, fuzzed: Path, mutate: Callable[[bytes], bytes]) -> None:
    _fuzz(fuzzed, name, mutate)


@pytest.mark.slow
@pytest.mark.parametrize("name", [CONFIG, HISTORY, WEIGHTS, CHECKPOINT])
@settings(max_examples=500, **_SETTINGS)
@given(mutate=mutations())
def test_very_many_changes_of_a_file(
    name: str, fuzzed: Path, mutate: Callable[[bytes], bytes]
) -> None:
    _fuzz(fuzzed, name, mutate)


def test_one_changed_bit_is_noticed(copy: Path) -> None:
    for name, path in (("stopped", CHECKPOINT), ("finished", WEIGHTS)):
        file = copy / name / path
        data = bytearray(file.read_bytes())
        data[-6] ^= 1  # still a number
        file.write_bytes(data)
    with pytest.raises(ModelError, match=r"weights.safetensors: is damaged .*CRC-32"):
        load_run(copy / "finished")
    with pytest.raises(ModelError, match=r"checkpoint.safetensors: is damaged .*CRC-32"):
        resume(copy / "stopped", progress=_stop)


# ------------------------------------------------------------------------- odd, and not trusted


def test_turned_and_read_only_images(run: Run) -> None:
    scaled = (IMAGES / 255).astype(np.float32)
    turned = scaled[:, ::-1, ::-1]
    np.testing.assert_array_equal(run.predict(turned), run.predict(turned.copy()))
    scaled.setflags(write=False)
    np.testing.assert_array_equal(run.predict(scaled), run.predict(scaled.copy()))


def test_data_of_other_classes_is_refused(run: Run) -> None:
    with pytest.raises(ModelError, match=r"has the classes 0, 1, .* 10; expected those"):
        run.evaluate(make_digits(classes=11))


def test_a_module_of_no_file_is_given_again(tmp_path: Path) -> None:
    def make() -> torch.nn.Module:
        return torch.nn.Sequential(torch.nn.Flatten(), torch.nn.LazyLinear(10))

    data = write_digits(tmp_path / "data", make_digits(60, 20))
    trained = train(Recipe("lazy", make), data=data, epochs=1, seed=3, out=tmp_path / "run")
    again = train(Recipe("lazy", make), data=data, epochs=1, seed=3)
    np.testing.assert_array_equal(trained.predict(IMAGES), again.predict(IMAGES))
    with pytest.raises(ModelError, match="give the function that makes it as `network`"):
        load_run(tmp_path / "run")
    loaded = load_run(tmp_path / "run", network=make)
    np.testing.assert_array_equal(loaded.predict(IMAGES), trained.predict(IMAGES))


def test_a_run_folder_brings_no_code_of_its_own(tmp_path: Path) -> None:
    source = (
        "from torch import nn\n\n"
        "def net():\n    return nn.Sequential(nn.Flatten(), nn.Linear(784, 10))\n"
    )
    (tmp_path / "net.py").write_text(source)
    train(f"{tmp_path / 'net.py'}:net", data=make_digits(60, 20), epochs=1, out=tmp_path / "run")
    load_run(tmp_path / "run")
    inside = tmp_path / "run" / "net.py"
    inside.write_text(source + f"open({str(tmp_path / 'ran')!r}, 'w')\n")
    config = json.loads((tmp_path / "run" / CONFIG).read_text())
    for origin in (f"{inside}:net", "net.py:net"):
        config["recipe"]["origin"] = origin
        (tmp_path / "run" / CONFIG).write_text(json.dumps(config))
        with pytest.raises(ModelError, match=r"lies in the run folder|is gone or has changed"):
            load_run(tmp_path / "run")
    assert not (tmp_path / "ran").exists()


def test_data_that_changed_is_not_scored_on(copy: Path) -> None:
    """A set without a test part is split anew: its test images may be those trained on before."""
    config = json.loads((copy / "finished" / CONFIG).read_text())
    config["data"]["place"] = str(copy / "data")
    (copy / "finished" / CONFIG).write_text(json.dumps(config))
    run = load_run(copy / "finished")
    assert run.evaluate().accuracy == run.history[-1]["val_accuracy"]
    write_digits(copy / "data", make_digits(119, 40))
    with pytest.raises(DataError, match=r"is not the data that .* was trained on"):
        run.evaluate()
    assert run.evaluate(copy / "data").data == "data test"


@pytest.mark.parametrize(
    "classes",
    [[], ["a", "b", "c"], [None], list(range(10)), list("0123456788"), list("0123456789ab")],
)
def test_classes_that_are_not_the_networks(copy: Path, classes: list[Any]) -> None:
    rewrite(copy / "finished" / CONFIG, lambda config: config["data"].update(classes=classes))
    with pytest.raises(ModelError, match="classes"):
        load_run(copy / "finished")


def test_the_next_free_folder_is_taken(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert [run.save(), run.save()] == [Path("runs/nvidia-mlp-1"), Path("runs/nvidia-mlp-2")]


def test_the_mean_over_shifts() -> None:
    run = train("vidhya-mlp", data=DATA, epochs=2)
    image = DATA[1][0][:3].copy()
    image[:, :, 0] = image[:, 27] = 200  # what leaves on one side does not come in on the other
    wide = np.pad(image, ((0, 0), (1, 1), (1, 1)))
    moved = [wide[:, y : y + 28, x : x + 28] for y in range(3) for x in range(3)]
    expected = np.mean([run.predict(part) for part in moved], axis=0)
    np.testing.assert_allclose(run.predict(image, shifts=1), expected, rtol=1e-5, atol=1e-7)
    np.testing.assert_array_equal(run.predict(image, shifts=0), run.predict(image))
    assert run.evaluate(DATA, shifts=1).loss != run.evaluate(DATA).loss
    run.recipe = replace(run.recipe, test_shifts=1)  # what it does where it is not told otherwise
    np.testing.assert_allclose(run.predict(image), expected, rtol=1e-5, atol=1e-7)
    assert run.evaluate(DATA).loss == run.evaluate(DATA, shifts=1).loss
    for shifts in (-1, 5, 1.0, True):
        with pytest.raises(UsageError, match="shifts is"):
            run.predict(image, shifts=shifts)  # type: ignore[arg-type]
