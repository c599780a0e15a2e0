"""`mnistry predict` with the reader: what it reads, prints and draws, and what it leaves alone."""

import csv
import functools
import io
import json
import os
import subprocess
import sys
import types
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import pytest
import typer
from PIL import Image

from mnistry.cli import inputs, pictures, quick
from mnistry.errors import DataError
from mnistry.pen.paper import write_sheet
from mnistry.reader import Digit, Reader, Reading

Mnistry = Callable[..., tuple[int, str, str]]
"""Runs `mnistry predict` in this process; gives its exit code, standard output and error."""


@pytest.fixture
def predict(mnistry: Mnistry) -> Mnistry:
    return functools.partial(mnistry, "predict")


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder to work in, with two sheets, one digit, blank paper and what is no image."""
    folder = tmp_path / "work"
    folder.mkdir()
    monkeypatch.chdir(folder)
    write("sheet.png", ["314", "15926"])
    write("digit.png", ["7"])
    write("scans/two.jpg", ["58"])
    Image.new("L", (90, 60), 255).save("blank.png")
    Path("text.png").write_text("hello")
    return folder


def write(name: str, rows: list[str]) -> None:
    """Writes digits on clean paper."""
    Path(name).parent.mkdir(exist_ok=True)
    Image.fromarray(write_sheet(rows, light=0, noise=0, seed=1).image).save(name)


class Fake:
    """Reads what the tests want: each image's lines by its name; surer from digit to digit."""

    network, min_confidence = types.SimpleNamespace(classes=[*"0123456789", "none"]), 0.0
    made: list[dict[str, Any]]
    lines: dict[str, list[str]]

    def __init__(self, model: object, **options: object) -> None:
        self.made.append({"model": model} | options)

    def read(self, source: Any, *, single: bool = False) -> Reading:
        if str(source) not in self.lines:
            raise DataError(f"{source}: is no image\nat all")
        self.made.append({"single": single})
        lines = self.lines[str(source)]
        return Reading(tuple(self.digit(*each) for each in digits_of(lines)))

    def read_many(self, sources: Iterable[Any], *, single: bool) -> Iterator[Reading | DataError]:
        for source in sources:
            try:
                yield self.read(source, single=single)
            except DataError as error:
                yield error

    def digit(self, line: int, position: int, letter: str) -> Digit:
        confidence = 0.951234 + 0.01 * position if letter != "?" else 0.41999
        probabilities = np.full(10, 0.001, np.float32)
        probabilities[int(letter) if letter != "?" else 3] = confidence
        label, box = (None if letter == "?" else int(letter)), (10 * position, 20 * line, 8, 16)
        image = np.full((28, 28), 9, np.uint8)
        return Digit(label, confidence, probabilities, box, line // 2, line, image)


def digits_of(lines: list[str]) -> list[tuple[int, int, str]]:
    """The number of the line, the position in it, and the digit."""
    return [(n, at, letter) for n, line in enumerate(lines) for at, letter in enumerate(line)]


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> type[Fake]:
    Fake.made, Fake.lines = [], {}
    monkeypatch.setattr("mnistry.reader.Reader", Fake)
    return Fake


# ----------------------------------------------------------------------------------- what it prints


def test_a_table_has_a_row_for_each_line(predict: Mnistry, fake: type[Fake]):
    fake.lines = {"a.png": ["5"], "form.pdf": ["314", "15", "9"], "none.png": []}
    code, out, err = predict("a.png", "form.pdf", "none.png")
    assert (code, err) == (0, "")
    head, rule, *rows = out.splitlines()
    assert head == "image             text  sure (%)"
    assert set(rule) == {"─"}
    assert rows == [
        "a.png             5     95.1%",
        "form.pdf          314   95 96 97",
        "                  15    95 96",
        "form.pdf, page 2  9     95.1%",
        "none.png                no digits found",
    ]


def test_what_is_not_sure_is_asked(predict: Mnistry, fake: type[Fake]):
    fake.lines = {"a.png": ["1?4?"], "b.png": ["?"], "c.png": ["22"]}
    _, out, _ = predict("a.png", "b.png", "c.png")
    assert out.splitlines()[0] == "image  text  sure (%)     ? may be"
    assert out.splitlines()[2:] == [
        "a.png  1?4?  95 41 97 41  3, 3",
        "b.png  ?     41.9%        3",
        "c.png  22    95 96",
    ]


def test_long_lines_are_wrapped_in_a_terminal(
    predict: Mnistry, fake: type[Fake], monkeypatch: pytest.MonkeyPatch
):
    fake.lines = {"a.png": ["12345678901234567890", "12"]}
    whole = predict("a.png")[1].splitlines()
    assert len(whole) == 4
    monkeypatch.setenv("COLUMNS", "60")
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True, raising=False)
    lines = predict("a.png")[1].splitlines()
    assert max(map(len, lines)) <= 60
    assert " ".join(line[29:] for line in lines[2:4]) == whole[2][29:]
    assert lines[3][:29] == " " * 29
    assert lines[4] == whole[3]
    monkeypatch.setenv("COLUMNS", "10")
    assert len(predict("a.png")[1].splitlines()) == 7


def test_json_is_a_line_for_each_image(place: Path, predict: Mnistry):
    code, out, err = predict("sheet.png", "blank.png", "text.png", "scans", "--json")
    assert (code, err) == (3, "")
    sheet, blank, text, two = map(json.loads, out.splitlines())
    assert sheet == {"image": "sheet.png"} | Reader().read("sheet.png").to_dict()
    assert sorted(digit["line"] for digit in sheet["digits"]) == [0] * 3 + [1] * 5
    assert {"label", "confidence", "box", "probabilities"} <= sheet["digits"][0].keys()
    assert blank == {"image": "blank.png", "text": "", "digits": []}
    assert text.keys() == {"image", "error"}
    assert text["error"].startswith("text.png: is no readable image")
    assert two["image"] == "scans/two.jpg"


def test_names_of_every_kind_in_csv(predict: Mnistry, fake: type[Fake]):
    fake.lines = {"a\nb.png": ["5"], 'c",d.png': ["6"], "e\r.png": ["7"]}
    _, out, _ = predict(*fake.lines, "--csv")
    rows = list(csv.reader(io.StringIO(out, newline="")))
    assert [row[0] for row in rows] == ["image", *fake.lines]
    assert [row[4] for row in rows[1:]] == ["5", "6", "7"]


def test_blank_paper_may_be_nothing(predict: Mnistry, place: Path):
    _, out, _ = predict("blank.png", "--single")
    assert out.splitlines()[-1].split() == ["blank.png", "?", "0.0%"]


def test_a_network_that_knows_nothing_but_digits(predict: Mnistry, fake: type[Fake]):
    fake.lines = {"a.png": ["12"]}
    fake.network = types.SimpleNamespace(classes=list("0123456789"))
    try:
        assert "knows nothing but digits" in predict("a.png", "--reader", "own.onnx")[2]
        assert predict("a.png", "--reader", "own.onnx", "--quiet")[2] == ""
    finally:
        fake.network = types.SimpleNamespace(classes=[*"0123456789", "none"])


def test_csv_is_a_row_for_each_digit(predict: Mnistry, fake: type[Fake]):
    name = 'a "b",\nc.png'
    fake.lines = {name: ["3?", "5"], "none.png": []}
    code, out, err = predict(name, "no.png", "none.png", "--csv")
    assert code == 3
    assert err == "mnistry: no.png: is no image at all\n"
    rows = list(csv.reader(io.StringIO(out, newline="")))
    assert rows == [
        ["image", "page", "line", "position", "label", "confidence", "x", "y", "width", "height"],
        [name, "0", "0", "0", "3", "0.9512", "0", "0", "8", "16"],
        [name, "0", "0", "1", "", "0.4199", "10", "0", "8", "16"],  # rounded down
        [name, "0", "1", "0", "5", "0.9512", "0", "20", "8", "16"],
    ]
    assert out.count("\r\n") == 4


def test_a_bad_image_does_not_keep_the_others(place: Path, predict: Mnistry):
    code, out, err = predict("text.png", "digit.png", "none.png", "nowhere/*.png", "--quiet")
    assert code == 3
    assert [line.split(":")[1] for line in err.splitlines()] == [
        *(" text.png", " none.png", " nowhere/*.png")
    ]
    assert out.splitlines()[2].startswith("digit.png  ")


def test_what_was_read_is_said_where_a_picture_cannot_be_written(
    place: Path, predict: Mnistry, fake: type[Fake]
):
    fake.lines = {"digit.png": ["7"], "blank.png": []}
    Path("read/blank-read.png").mkdir(parents=True)
    code, out, err = predict("digit.png", "blank.png", "--draw", "read")
    assert code == 7
    assert err.startswith("mnistry: read/blank-read.png: cannot be written")
    assert "digit.png  7" in out


def test_the_options_reach_the_reader(predict: Mnistry, fake: type[Fake]):
    fake.lines = {"a.png": ["5"]}
    predict("a.png")
    predict("a.png", "--single", "--min-confidence", 0.5, "--reader", "mine.onnx")
    assert fake.made == [
        {"model": None, "min_confidence": None},
        {"single": False},
        {"model": Path("mine.onnx"), "min_confidence": 0.5},
        {"single": True},
    ]


def test_the_reader_reads(place: Path, predict: Mnistry):
    code, out, err = predict("digit.png", "--single", "--json")
    assert (code, err) == (0, "")
    assert len(json.loads(out)["digits"]) == 1
    _, out, _ = predict("digit.png", "--min-confidence", 1, "--json")
    assert json.loads(out)["text"] == "?"


def test_a_pipe_is_read(place: Path):
    code = "from mnistry.cli import main; main()"
    command = [sys.executable, "-c", code, "predict", "/dev/stdin", "--draw", ".", "--json"]
    with subprocess.Popen(["cat", "digit.png"], stdout=subprocess.PIPE) as cat:
        done = subprocess.run(command, stdin=cat.stdout, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    record = json.loads(done.stdout)
    assert record["image"] == "/dev/stdin"
    assert record["pictures"] == ["stdin-read.png"]


# ---------------------------------------------------------------------------- which images it reads


def names(*given: str, apart: tuple[Path, ...] = ()) -> list[str]:
    """What is found; with "!" where that is an error."""
    return [name + "!" * (error is not None) for name, error in inputs.find_images(given, apart)]


@pytest.fixture
def tree(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    for file in (
        *("b.PNG", "a.jpg", "notes.txt", ".a.png", "in/c.tiff", "in/deep/d.pdf", ".git/e.png"),
        *("in/f.heic", "[x].gif", "none/notes.txt"),
    ):
        Path(file).parent.mkdir(parents=True, exist_ok=True)
        Path(file).touch()
    return tmp_path


def test_folders_and_patterns_stand_for_their_images(tree: Path):
    assert names(".") == [
        *("./[x].gif", "./a.jpg", "./b.PNG", "./in/c.tiff", "./in/f.heic", "./in/deep/d.pdf"),
    ]
    assert names("in/", "a.jpg") == ["in/c.tiff", "in/f.heic", "in/deep/d.pdf", "a.jpg"]
    assert names("*.jpg", "i*") == ["a.jpg", "in/c.tiff", "in/f.heic", "in/deep/d.pdf"]
    assert names("**/*.tiff", "**") == ["in/c.tiff", *names("[[]x].gif", "a.jpg", "b.PNG", "in")]
    assert names("[x].gif", "notes.txt", "gone.png") == ["[x].gif", "notes.txt", "gone.png"]
    assert names("none", "*.bmp", "n*", "") == ["none!", "*.bmp!", "n*!", ""]


def test_what_is_drawn_is_not_read(tree: Path):
    assert names("in", apart=(Path("in/deep"),)) == ["in/c.tiff", "in/f.heic"]
    assert names("in/deep", "in/deep/*", apart=(tree / "in/deep",)) == ["in/deep!", "in/deep/*!"]
    assert names("in/deep/d.pdf", apart=(Path("in/deep"),)) == ["in/deep/d.pdf"]


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read anything")
def test_a_folder_that_cannot_be_read_is_named(tree: Path):
    Path("in/deep").chmod(0)
    try:
        assert names("in") == ["in/c.tiff", "in/f.heic", "in/deep!"]
    finally:
        Path("in/deep").chmod(0o700)


# ------------------------------------------------------------------------------------ what it draws


def test_each_page_is_drawn(place: Path, predict: Mnistry, fake: type[Fake]):
    frames = [Image.new("L", (90, 60), 255) for _ in range(3)]
    frames[0].save("doc.pdf", save_all=True, append_images=frames[1:])
    fake.lines = {"doc.pdf": ["31", "41", "?"]}
    code, out, err = predict("doc.pdf", "--draw", "read/here", "--json")
    assert (code, err) == (0, "")
    drawn = [f"read/here/doc{page}-read.png" for page in ("", "-page-2", "-page-3")]
    assert json.loads(out)["pictures"] == drawn
    colours = [{tuple(p) for p in np.asarray(Image.open(d)).reshape(-1, 3)} for d in drawn]
    blue, vermilion = (0, 0x72, 0xB2), (0xD5, 0x5E, 0)
    assert [blue in each for each in colours] == [True, False, False]
    assert [vermilion in each for each in colours] == [False, True, False]


def test_no_picture_takes_another_images_place(place: Path, predict: Mnistry, fake: type[Fake]):
    others = ["other/digit.png", "digit.jpg", "digit-read.png", "Digit-read-2.png", "seen.png"]
    for name in others:
        write(name, ["7"])
    files = ["digit.png", *others]
    before = {name: Path(name).read_bytes() for name in files}
    fake.lines = {name: ["7"] for name in files}
    code, out, _ = predict(*files, "--draw", ".", "--show", ".")
    assert code == 0
    assert {name: Path(name).read_bytes() for name in files} == before
    drawn = {str(path) for path in Path().glob("*.png")} - {*before, "sheet.png", "blank.png"}
    assert drawn - {"text.png"} == {
        *("digit-read-3.png", "digit-read-4.png", "digit-read-5.png", "digit-read-read.png"),
        *("Digit-read-2-read.png", "seen-read.png", "seen-2.png"),
    }
    assert out.endswith("\n\ndrawn: 6 pictures in .\nwhat the network saw: seen-2.png\n")


def test_what_is_there_stays(place: Path, predict: Mnistry, fake: type[Fake]):
    fake.lines = {"digit.png": ["7"]}
    Path("digit-read.png").write_text("mine")
    Path("seen.png").write_text("mine")
    code, out, _ = predict("digit.png", "--draw", ".", "--show", ".")
    assert code == 0
    assert Path("digit-read.png").read_text() == Path("seen.png").read_text() == "mine"
    assert out.endswith("\n\ndrawn: digit-read-2.png\nwhat the network saw: seen-2.png\n")


def test_names_as_long_as_a_file_systems(place: Path, predict: Mnistry, fake: type[Fake]):
    name = "ü" * 125 + ".png"
    write(name, ["7"])
    fake.lines = {name: ["7"]}
    assert predict(name, "--draw", "read", "--show", "read")[0] == 0
    assert len(os.listdir("read")) == 2


def test_what_was_seen_fills_sheets(
    place: Path, predict: Mnistry, fake: type[Fake], monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(pictures, "_ON_A_SHEET", 9)
    fake.lines = {"a.png": ["31", "?1"], "b.png": ["5"], "c.png": [], "d.png": ["2"]}
    code, out, err = predict(*fake.lines, "--show", "seen", "--csv")
    assert code == 0
    assert "seen" not in out
    assert err.splitlines()[-1] == "mnistry: what the network saw: 2 pictures in seen"
    assert sorted(os.listdir("seen")) == ["seen-2.png", "seen.png"]
    monkeypatch.setattr(pictures, "_LINES", 2)
    fake.lines = {"e.png": ["12"] * 9}
    _, out, _ = predict("e.png", "--show", "many")
    assert out.splitlines()[-1] == "what the network saw: 3 pictures in many"
    fake.lines = {"a.png": ["31"]}
    _, out, _ = predict("a.png", "--show", "seen")
    assert out.splitlines()[-1] == "what the network saw: seen/seen-3.png"


# -------------------------------------------------------------------------- arguments without typer


def test_arguments_are_converted_as_typer_does(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    def command(
        names: Annotated[list[str] | None, typer.Argument()] = None,
        folder: Annotated[Path, typer.Option(readable=False)] = Path("x"),
        places: Annotated[list[Path] | None, typer.Option(readable=False)] = None,
        there: Annotated[Path | None, typer.Option(exists=True)] = None,
        number: Annotated[int, typer.Option(min=1)] = 3,
        share: float | None = None,
        flag: bool = False,
    ) -> None:
        got.append((names, folder, places, there, number, share, flag))

    got: list[tuple[object, ...]] = []
    lines = [
        "",
        "a b --folder c --places d --places e --number 5 --share 0.5 --flag",
        f"--there {tmp_path}",
        "--there nope",
        "--number 0",
        "--share x",
        "--folder",
    ]
    answers = []
    for kinds in ({}, {"cls": quick.QuickCommand}):
        app = typer.Typer(add_completion=False, rich_markup_mode=None)
        app.command(**kinds)(command)  # type: ignore[arg-type]
        for line in lines:
            try:
                app(line.split(), standalone_mode=False)
                answers.append(got.pop())
            except typer.TyperException as error:
                answers.append((error.format_message(),))
    assert answers[: len(lines)] == answers[len(lines) :]
    assert all(type(a[1]) is type(tmp_path) for a in answers if len(a) > 1)
