"""`mnistry correct`: the accuracy on one's own handwriting, its mistakes, and adapting to it."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from mnistry import adaptation
from mnistry.pen.paper import write_sheet

Mnistry = Callable[..., tuple[int, str, str]]


@pytest.fixture
def scans(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Forty digits as crops, a folder for each digit; one lies in the wrong folder."""
    monkeypatch.chdir(tmp_path)
    for number in range(40):
        sheet = write_sheet([str(number % 10)], seed=100 + number, light=0, noise=1)
        folder = tmp_path / "scans" / str(number % 10 if number else 8)
        folder.mkdir(parents=True, exist_ok=True)
        Image.fromarray(sheet.image).save(folder / f"{number:02}.png")
    return tmp_path / "scans"


def test_what_is_said(scans: Path, mnistry: Mnistry) -> None:
    code, out, err = mnistry("correct", scans, "--out", "found")
    assert (code, err) == (0, "")
    assert out.startswith("40 images, ")
    assert "accuracy " in out
    assert "8/00.png  8      0" in out
    assert "Drawn: found/mistakes.png" in out
    with Image.open("found/mistakes.png") as picture:
        assert min(picture.size) > 100


def test_json(scans: Path, mnistry: Mnistry) -> None:
    code, out, _ = mnistry("correct", scans, "--json", "--quiet")
    assert code == 0
    found = json.loads(out)
    assert found["images"] == 40
    assert 0.75 < found["accuracy"] < 1
    assert found["adapted"] is None
    wrong = [Path(each["image"]).name for each in found["mistakes"]]
    assert "00.png" in wrong
    assert found["picture"] == "mistakes.png"


def test_a_table_of_rows_of_digits(tmp_path: Path, mnistry: Mnistry) -> None:
    sheet = write_sheet(["31415"], seed=0, light=0, noise=0)
    Image.fromarray(sheet.image).save(tmp_path / "a.png")
    (tmp_path / "labels.csv").write_text("image,digits\na.png,31415\n")
    code, out, _ = mnistry("correct", tmp_path / "labels.csv", "--out", tmp_path)
    assert code == 0
    assert "1 image, 0 not read right" in out
    assert "Drawn" not in out


def test_what_is_in_no_digits_folder_is_said(scans: Path, mnistry: Mnistry) -> None:
    (scans / "8" / "00.png").rename(scans / "00.png")
    code, out, err = mnistry("correct", scans, "--out", "found")
    assert code == 0
    assert out.startswith("39 images, ")
    assert err.startswith("mnistry: passed over: 1 in no folder named by its digit, 0 to 9, as ")
    assert err.endswith("00.png\n")


def test_scans_of_real_handwriting(
    swiss_dir: Path, tmp_path: Path, mnistry: Mnistry, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for writer in sorted(path for path in swiss_dir.iterdir() if path.is_dir())[:2]:
        code, out, _ = mnistry("correct", writer, "--json", "--quiet")
        found = json.loads(out)
        assert code == 0
        assert found["images"] == len(list(writer.glob("?/*")))
        assert found["accuracy"] > 0.98  # the reader was taught on them


def test_a_label_longer_than_what_was_read(tmp_path: Path, mnistry: Mnistry) -> None:
    sheet = write_sheet(["31415"], seed=0, light=0, noise=0)
    Image.fromarray(sheet.image).save(tmp_path / "a.png")
    (tmp_path / "labels.csv").write_text("a.png,314159\n")
    for name in ("mistakes.png", "mistakes-2.png"):  # nothing is overwritten
        code, out, err = mnistry("correct", tmp_path / "labels.csv", "--out", tmp_path)
        assert (code, err) == (0, "")
        assert "accuracy 0.00% of the images" in out
        assert "digits 5 of 6 read right (83.33%)" in out
        assert f"Drawn: {tmp_path / name}" in out
        with Image.open(tmp_path / name) as picture:  # what was read is there
            assert np.ptp(np.asarray(picture.convert("L"))[90:170]) > 150


def test_images_that_cannot_be_read(scans: Path, mnistry: Mnistry) -> None:
    (scans / "3" / "bad.png").write_text("no image")
    (scans / "3" / "Thumbs.db").write_text("no image either")
    code, out, err = mnistry("correct", scans, "--min-confidence", "1")
    assert code == 3
    assert out.startswith("40 images, 40 not read right")
    assert "accuracy 0.00% of the images" in out
    assert "not sure 100.00%" in out
    assert err.count("\n") == 1
    assert "bad.png: is no readable image" in err


@pytest.mark.slow
def test_adapting(scans: Path, mnistry: Mnistry, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, few in (("_WRITTEN", 400), ("_OTHERS", 50), ("_PAIRS", 20)):
        monkeypatch.setattr(adaptation, name, few)
    code, out, err = mnistry("correct", scans, "--adapt", "mine.onnx", "--quiet")
    assert (code, err) == (0, "")
    assert "adapted to 40 digits: " in out
    assert "use it with: mnistry predict IMAGE --reader mine.onnx" in out
    assert mnistry("predict", scans / "1", "--reader", "mine.onnx", "--single")[0] == 0
    code, _, err = mnistry("correct", scans, "--adapt", "mine.onnx", "--quiet")
    assert code == 2
    assert "mine.onnx: is there already, and nothing is overwritten" in err


def test_a_folder_that_cannot_be_read(
    scans: Path, mnistry: Mnistry, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(self: Path) -> None:
        raise PermissionError(13, "Permission denied", str(self))

    monkeypatch.setattr(Path, "iterdir", refuse)  # root may read anything
    code, out, err = mnistry("correct", scans)
    assert (code, out) == (3, "")
    assert f"{scans}: cannot be read (Permission denied); expected a folder with" in err
    assert err.count("\n") == 1


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["gone"], 3, "gone: cannot be read (No such file or directory)"),
        (["scans", "--reader", "gone.onnx"], 4, "gone.onnx: cannot be read"),
        ([], 2, "missing argument"),
        (["scans/1", "--adapt", "x.onnx"], 3, "names no labelled image"),
        (["scans", "--reader", "a.onnx", "--adapt", "b.onnx"], 2, "are given both"),
    ],
)
def test_what_cannot_be(
    scans: Path, mnistry: Mnistry, arguments: list[str], code: int, said: str
) -> None:
    found, out, err = mnistry("correct", *arguments)
    assert (found, out) == (code, "")
    assert said in err
    assert err.count("\n") == 1
