"""Tests of mnistry.pen: the same digits for the same settings, by writers, as MNIST looks."""

import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import mnistry
from mnistry.errors import MnistryError, UsageError
from mnistry.pen import CLASSES, PenSet, Style, Written, write
from mnistry.pen import cache as pen_cache
from mnistry.pen.hand import alike, draw, draw_hands, skeleton
from mnistry.pen.ink import canvases
from mnistry.pen.letterforms import LETTERFORMS
from mnistry.pen.writing import plan
from mnistry.sources import cache_entries, clear_cache

SMALL = PenSet(train=300, test=60, writers=12)


# ------------------------------------------------------------------------------- letterforms


def test_every_digit_has_its_forms_on_both_sides_of_the_ocean() -> None:
    for digit in range(10):
        forms = [form for form in LETTERFORMS if form.label == digit]
        assert len(forms) >= 6
        assert len({form.name for form in forms}) == len(forms)
        assert sum(form.us for form in forms) > 0
        assert sum(form.eu for form in forms) > 0
    crossed = [form for form in LETTERFORMS if form.label == 7 and "crossed" in form.name]
    assert sum(form.eu for form in crossed) > 5 * sum(form.us for form in crossed)


@pytest.mark.parametrize("form", LETTERFORMS, ids=lambda form: f"{form.label} {form.name}")
def test_a_curve_goes_through_its_points(form) -> None:
    bone = skeleton(form)
    assert np.ptp(bone.controls, axis=0).max() == pytest.approx(1)
    gaps = [np.abs(bone.curve - control).sum(1).min() for control in bone.controls]
    assert max(gaps) < 0.06  # it may pass a corner between two of its points
    assert np.abs(bone.curve).max() < 0.75


def test_a_hand_mixes_only_forms_that_are_drawn_alike() -> None:
    for form, mixes in zip(LETTERFORMS, alike(LETTERFORMS), strict=True):
        for other in (LETTERFORMS[i] for i in mixes):
            assert (other.label, len(other.strokes)) == (form.label, len(form.strokes))
    from_the_right, from_the_left = (
        next(i for i, form in enumerate(LETTERFORMS) if (form.label, form.name) == (8, name))
        for name in ("from the right", "from the left")
    )
    assert from_the_left not in alike(LETTERFORMS)[from_the_right]


# ------------------------------------------------------------------------------------ writing


def test_the_set_is_what_was_asked_for() -> None:
    for part, count in zip(write(SMALL), (300, 60), strict=True):
        assert part.images.shape == (count, 28, 28)
        assert part.images.dtype == part.labels.dtype == np.uint8
        assert np.bincount(part.labels).tolist() == [count // 10] * 10
        assert (part.images.max((1, 2)) == 255).all()
        assert (np.diff(part.writers) >= 0).all()
    train, test = write(SMALL)
    assert len(np.unique(train.writers)) + len(np.unique(test.writers)) == 12


def test_the_same_settings_give_the_same_bits_and_others_do_not() -> None:
    code = (
        "import sys; from mnistry.pen import *; train, test = write(PenSet(300, 60, 12));"
        "sys.stdout.buffer.write(train.images.tobytes() + test.images.tobytes())"
    )
    there = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True).stdout
    first, test = (part.images for part in write(SMALL))
    assert first.tobytes() + test.tobytes() == there
    for other in (PenSet(300, 60, 12, seed=1), PenSet(300, 60, 12, style="us")):
        assert (write(other)[0].images != first).any()


def test_no_two_places_share_their_random_numbers() -> None:
    sets = [PenSet(60, 60, 10, seed=seed) for seed in (0, 1, 2**32, 2**32 + 1)]
    parts = [part for settings in sets for part in write(settings)]
    assert len({part.images.tobytes() for part in parts}) == 8
    assert len({part.labels.tobytes() for part in parts}) == 8
    assert not {i.tobytes() for i in parts[0].images} & {i.tobytes() for i in parts[1].images}


def test_the_test_set_is_by_other_writers() -> None:
    """Its digits are further from the training set's than another part of that is."""
    train, test = write(PenSet(train=1200, test=120, writers=11, seed=1))
    own = np.arange(len(train.images)) % 10 == 0

    def nearest(images: np.ndarray) -> float:
        rest = train.images[~own].reshape(-1, 784) / 255
        gaps = images.reshape(-1, 1, 784) / 255 - rest
        return float(np.median(np.linalg.norm(gaps, axis=-1).min(1)))

    assert nearest(test.images) > 1.1 * nearest(train.images[own])


def test_a_form_that_is_bent_less_stays_what_it_is() -> None:
    hooked = next(form for form in LETTERFORMS if form.name == "hooked" and form.label == 1)
    who, labels = np.arange(200), np.zeros(200, np.uint8)
    spread, corner = {}, {}
    for bend in (0.0, 1.0):
        form = (replace(hooked, label=0, bend=bend),)
        hands = draw_hands(np.random.default_rng(0), 200, letterforms=form)
        (drawn,) = draw(np.random.default_rng(1), hands, who, labels)
        upright = drawn.points.copy()
        upright[..., 0] += upright[..., 1] * drawn.traits["slant"][:, None]
        spread[bend] = float(upright.std(0).mean())
        corner[bend] = float(np.median(upright[..., 1].min(1)))  # y grows downwards
    assert spread[0] < 0.8 * spread[1]
    assert corner[0] < corner[1]  # it is cut off where corners are cut


def test_a_style_has_its_forms() -> None:
    """A crossed 7 has more ink in its middle, left of the stem, than a plain one."""

    def bars(style: Style) -> float:
        train, _ = write(PenSet(train=3000, test=10, writers=300, style=style))
        return float(train.images[train.labels == 7][:, 13:19, 4:11].mean())

    assert bars("eu") > 1.5 * bars("us")


def test_many_digits_of_few_writers_are_written_in_parts() -> None:
    chunks = plan(PenSet(train=20_000, test=10, writers=3), "digits")
    assert max(len(chunk.labels) for chunk in chunks) <= 7_000
    assert sum(len(chunk.labels) for chunk in chunks) == 20_010
    first, second = (chunk.write()[:200] for chunk in chunks[:2])
    assert (first != second).any()


@pytest.mark.parametrize("tall", [48, 400])
def test_no_ink_is_cut_off(tall: int) -> None:
    rng = np.random.default_rng(0)
    labels = (np.arange(400) % 10).astype(np.uint8)
    for drawn in draw(rng, draw_hands(rng, 40), np.arange(400) % 40, labels):
        for canvas, _ in canvases(drawn, rng, tall):
            assert not canvas[[0, -1]].any()
            assert not canvas[:, [0, -1]].any()


def test_more_than_memory_holds_is_refused_before_any_work(monkeypatch) -> None:
    def nothing(*_: Any) -> None:
        raise AssertionError("work was done")

    monkeypatch.setattr("mnistry.pen.writing.plan", nothing)
    pages = {"SC_PHYS_PAGES": 1000, "SC_PAGE_SIZE": 4096}
    monkeypatch.setattr("os.sysconf", pages.__getitem__)
    with pytest.raises(UsageError, match=r"2,000 images take .*; ask for fewer, 1,741 at most"):
        write(PenSet(train=1_900, test=100))
    monkeypatch.delattr("os.sysconf")
    with pytest.raises(AssertionError, match="work was done"):
        write(PenSet(train=1_900, test=100))


@pytest.fixture
def workers(
    started: list[subprocess.Popen[bytes]], monkeypatch: pytest.MonkeyPatch
) -> list[subprocess.Popen[bytes]]:
    """Every set is written by two workers, too; those that were started."""
    monkeypatch.setattr("mnistry.pen.writing._WORTH", 1)
    monkeypatch.setattr("mnistry.pen.writing.cores", lambda: 3)
    return started


CHUNKS = PenSet(train=3_000, test=700, writers=1_500, seed=5)


@pytest.fixture(scope="module")
def alone() -> tuple[Written, Written]:
    """What this process writes without workers."""
    return write(CHUNKS)


def test_workers_give_the_same_bits(
    trouble: str,
    alone: tuple[Written, Written],
    workers: list[subprocess.Popen[bytes]],
) -> None:
    def progress(*_: int) -> None:
        if trouble == "killed":
            workers[1].kill()

    for there, here in zip(write(CHUNKS, progress), alone, strict=True):
        np.testing.assert_array_equal(there.images, here.images)
        np.testing.assert_array_equal(there.labels, here.labels)
        np.testing.assert_array_equal(there.writers, here.writers)
    assert len(workers) == (0 if trouble in ("no interpreter", "embedded") else 2)
    assert all(worker.returncode is not None for worker in workers)


def test_workers_end_when_writing_is_broken_off(workers: list[subprocess.Popen[bytes]]) -> None:
    def stop(*_: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write(PenSet(train=50_000, test=1_000), stop)
    assert len(workers) == 2
    assert all(worker.returncode is not None for worker in workers)


def test_a_writer_resembles_himself() -> None:
    """Two 3s of one writer are nearer to each other than two writers' 3s; so all digits."""
    train, _ = write(PenSet(train=4000, test=10, writers=41, seed=3))
    images = train.images.reshape(len(train.images), -1) / 255.0
    same, others = [], []
    for digit in range(10):
        chosen = np.flatnonzero(train.labels == digit)
        distance = np.linalg.norm(images[chosen][:, None] - images[chosen], axis=-1)
        together = train.writers[chosen][:, None] == train.writers[chosen]
        same.append(distance[together & (distance > 0)].mean())
        others.append(distance[~together].mean())
    assert np.mean(same) < 0.85 * np.mean(others)


def test_it_looks_like_mnist() -> None:
    """The share of ink in MNIST is 0.131 of the image, its centre of mass 14, its box 20."""
    images = write(PenSet(train=3000, test=10))[0].images
    assert 0.11 < images.mean() / 255 < 0.15
    rows = np.indices((28, 28))[0]
    middle = (images * rows).sum((1, 2)) / images.sum((1, 2))
    assert ((middle > 13.49) & (middle < 14.51)).mean() > 0.98  # the box has to stay inside
    lengths = [images.any(axis).sum(1) for axis in (2, 1)]  # strokes leave no gap across a digit
    assert (np.maximum(*lengths) == 20).mean() > 0.95


def test_progress_is_told() -> None:
    told: list[tuple[int, int]] = []
    write(SMALL, lambda done, total: told.append((done, total)))
    assert told[-1] == (360, 360)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"train": 0}, "train is 0, expected 1 to"),
        ({"test": -1}, "test is -1, expected 1 to"),
        ({"train": True}, "train is True, expected 1 to"),
        ({"train": 10**12}, "expected 1 to"),
        ({"writers": 1}, "writers is 1, expected 2 to"),
        ({"seed": -1}, "seed is -1, expected 0 to"),
        ({"train": 1.5}, "train is 1.5"),
        ({"style": "fr"}, "style is 'fr', expected one of us, eu, mixed"),
    ],
)
def test_settings_that_cannot_be(settings, words: str) -> None:
    with pytest.raises(UsageError, match=words):
        PenSet(**settings)


def test_settings_as_text() -> None:
    assert PenSet.parse("") == PenSet()
    assert PenSet.parse("train=300,test=60,writers=12") == SMALL
    assert PenSet.parse(str(SMALL)) == SMALL
    assert str(PenSet()) == ""
    for text in ("train", "train=", "tra=3", "train=x", "train=3,train=4", "train=-3", "=3"):
        with pytest.raises(UsageError):
            PenSet.parse(text)


# ------------------------------------------------------------------------------ as a data set


def test_it_is_written_once_and_then_read(monkeypatch: pytest.MonkeyPatch) -> None:
    name = f"pen:{SMALL}"
    first = mnistry.load_dataset(name)
    assert (first.name, first.place) == ("pen", name)
    assert len(cache_entries()) == 1
    monkeypatch.setattr(pen_cache, "write", None)
    again = mnistry.load_dataset(name)
    np.testing.assert_array_equal(again.train.images, first.train.images, strict=True)
    assert again.sha256 == first.sha256
    (x_train, y_train), _ = mnistry.load_data(name)
    assert (x_train.shape, y_train.shape) == ((300, 28, 28), (300,))


def test_another_sets_file_is_not_believed() -> None:
    first = mnistry.load_dataset(f"pen:{SMALL}")
    (entry,) = cache_entries()
    np.savez(entry.path, **{n: np.zeros(3, np.uint8) for n in ("x_train", "y_train", "x_test")})
    assert mnistry.load_dataset(f"pen:{SMALL}").sha256 == first.sha256


def test_a_cache_that_cannot_be_written_does_not_matter(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("MNISTRY_CACHE", str(tmp_path / "file"))
    splits = mnistry.load_dataset(f"pen:{SMALL}")
    assert len(splits.train) == 300
    assert "cannot be written" in splits.origin


def test_the_key_is_of_what_decides_the_bits(monkeypatch: pytest.MonkeyPatch) -> None:
    keys = {pen_cache._key(what, s) for what in CLASSES for s in (SMALL, PenSet())}
    monkeypatch.setattr(Path, "read_bytes", lambda path: path.name.encode())
    assert len(keys | {pen_cache._key("digits", SMALL)}) == 5


def test_a_damaged_cache_file_is_written_again() -> None:
    first = mnistry.load_dataset(f"pen:{SMALL}")
    (entry,) = cache_entries()
    data = bytearray(entry.path.read_bytes())
    data[len(data) // 2] ^= 1
    entry.path.write_bytes(data)
    again = mnistry.load_dataset(f"pen:{SMALL}")
    assert again.sha256 == first.sha256
    assert entry.path.read_bytes() != data
    clear_cache()
    assert not entry.path.exists()
    assert not entry.path.parent.exists()


def test_a_run_finds_its_pen_set_again(tmp_path: Path) -> None:
    run = mnistry.train("vidhya-mlp", data=f"pen:{SMALL}", epochs=2, out=tmp_path / "run")
    assert run.config["data"]["name"] == "pen"
    assert run.evaluate().data == "pen test"
    assert mnistry.load_run(tmp_path / "run").evaluate().accuracy == run.evaluate().accuracy


def test_where_mnist_cannot_be_reached_pen_takes_its_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from mnistry.errors import NetworkError

    def refuse(*_: object, **__: object) -> None:
        raise NetworkError("no mirror delivered it")

    monkeypatch.setattr("mnistry.dataset.load_source", refuse)
    monkeypatch.setattr("mnistry.pen.PenSet.parse", lambda _: SMALL)
    with pytest.warns(UserWarning, match="MNIST could not be reached .* using pen, 60,000 digits"):
        run = mnistry.train("vidhya-mlp", epochs=1)
    assert run.config["data"]["name"] == "pen"
    with pytest.raises(MnistryError, match="no mirror delivered it"):
        mnistry.train("vidhya-mlp", data="mnist", epochs=1)


# ----------------------------------------------------------------------- what is no digit


def test_what_is_no_digit() -> None:
    splits = mnistry.load_dataset("pen-others:train=700,test=70,writers=60")
    assert splits.train.classes == CLASSES["others"]
    assert np.bincount(splits.train.labels).tolist() == [100] * 7
    images = splits.train.images
    empty = splits.train.labels == splits.train.classes.index("empty")
    assert (images[~empty].max((1, 2)) == 255).all()
    assert images[empty].mean() < 10
    assert mnistry.load_dataset("pen-others:train=700,test=70,writers=60").sha256 == splits.sha256
    assert len(np.unique(images[~empty], axis=0)) == 600
    with pytest.raises(UsageError, match="pen-others: has no style"):
        mnistry.load_dataset("pen-others:style=us")
