"""Pictures: real PNGs, read back; and that no text is cut or lies over another."""

import itertools
import resource
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from matplotlib.axis import Axis
from matplotlib.figure import Figure
from matplotlib.text import Text
from PIL import Image

from mnistry import draw, line
from mnistry.draw import canvas
from mnistry.draw.page import draw_page
from mnistry.draw.seen import Group, Tile, draw_seen
from mnistry.errors import DataError, DependencyError, StorageError, UsageError

RANDOM = np.random.default_rng(0)
IMAGES = RANDOM.integers(0, 256, (120, 28, 28), dtype=np.uint8)
LABELS = RANDOM.integers(0, 10, 120)
PROBABILITIES = RANDOM.dirichlet(np.full(10, 0.3), 120)
CONFUSION = RANDOM.integers(0, 120, (10, 10)) + np.diag(np.full(10, 1000))
NAMES = ["T-shirt/top", "Trouser", "Pullover", "Dress", "Coat"]
NAMES += ["Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot"]
YEARS = np.column_stack([np.arange(1990, 2021), np.arange(31) ** 1.5 * 300])
SURE = np.eye(10)[7]
BEST = line.fit_closed_form(line.POINTS)
DESCENT = line.descend(line.POINTS)


def history(epochs: int, **changed: object) -> list[dict[str, object]]:
    rows = [
        {
            "epoch": epoch,
            "loss": 0.3 * 0.7**epoch,
            "accuracy": 1 - 0.05 * 0.8**epoch,
            "val_loss": 0.1 + 0.01 * epoch,
            "val_accuracy": 0.98 - 0.01 * 0.8**epoch,
        }
        for epoch in range(1, epochs + 1)
    ]
    rows[-1].update(changed)
    return rows


def training_only(rows: list[dict[str, object]]) -> list[dict[str, object]]:
    return [{key: row[key] for key in ("epoch", "loss", "accuracy")} for row in rows]


Draw = Callable[[Path], None]
PICTURES: dict[str, Draw] = {
    "grid 1": lambda path: draw.draw_grid(IMAGES[:1], LABELS[:1], path, [0], "One"),
    "grid 9": lambda path: draw.draw_grid(IMAGES[:9], LABELS[:9], path),
    "grid 40": lambda path: draw.draw_grid(IMAGES[:40], LABELS[:40], path, LABELS[40:80]),
    "grid 100": lambda path: draw.draw_grid(
        IMAGES[:100], LABELS[:100], path, LABELS[20:], title="The first hundred"
    ),
    "grid, long labels": lambda path: draw.draw_grid(
        IMAGES[:40], NAMES * 4, path, NAMES[::-1] * 4, title="A long title " * 20
    ),
    "grid, mathematics": lambda path: draw.draw_grid(IMAGES[:3], ["$", r"$\frac$", "a_b"], path),
    "grid, not square": lambda path: draw.draw_grid(IMAGES[:6, :, :9] / 255, LABELS[:6], path),
    "prediction": lambda path: draw.draw_prediction(IMAGES[0], PROBABILITIES[0], path),
    "prediction, sure": lambda path: draw.draw_prediction(IMAGES[0], SURE, path, label=7),
    "prediction, missed": lambda path: draw.draw_prediction(
        IMAGES[0] / 255, SURE, path, label=1, title="Test image 0"
    ),
    "prediction, 47 classes": lambda path: draw.draw_prediction(
        IMAGES[0], np.full(47, 1 / 47), path
    ),
    "prediction, names": lambda path: draw.draw_prediction(
        IMAGES[0], SURE, path, label="Ankle boot", classes=NAMES
    ),
    "mistakes": lambda path: draw.draw_mistakes(IMAGES, LABELS, PROBABILITIES, path),
    "mistakes, names": lambda path: draw.draw_mistakes(
        IMAGES, LABELS, PROBABILITIES, path, most=9, classes=NAMES
    ),
    "mistakes, one": lambda path: draw.draw_mistakes(IMAGES, LABELS, PROBABILITIES, path, most=1),
    "mistakes, none": lambda path: draw.draw_mistakes(IMAGES, LABELS, np.eye(10)[LABELS], path),
    "curves 1": lambda path: draw.draw_curves(history(1), path),
    "curves of one epoch's course": lambda path: draw.draw_curves(
        history(1, course=[[2 / n, 1 - 0.9 / n] for n in range(1, 21)]), path
    ),
    "curves 10": lambda path: draw.draw_curves(history(10), path, title="nvidia-mlp"),
    "curves 100": lambda path: draw.draw_curves(training_only(history(100)), path),
    "curves, perfect": lambda path: draw.draw_curves(
        [{"epoch": 1, "loss": 0.0, "accuracy": 1.0}], path
    ),
    "curves, diverged": lambda path: draw.draw_curves(
        history(3, loss=float("inf"), val_loss=float("nan"), val_accuracy=None), path
    ),
    "curves, alike": lambda path: draw.draw_curves(history(1, val_loss=0.210001), path),
    "confusion": lambda path: draw.draw_confusion(CONFUSION, range(10), path),
    "confusion, names": lambda path: draw.draw_confusion(CONFUSION * 500, NAMES, path),
    "confusion, empty": lambda path: draw.draw_confusion(
        np.zeros((2, 2), int), ["a", r"$\frac$"], path
    ),
    "line tried": lambda path: draw.draw_line(line.POINTS, -2, 40, 475.5, path),
    "line best": lambda path: draw.draw_line(line.POINTS, BEST.m, BEST.b, BEST.loss, path),
    "line, level": lambda path: draw.draw_line([[0, 5], [1, 5]], 0, 5, 0, path),
    "descent": lambda path: draw.draw_descent(line.POINTS, DESCENT, path),
    "descent, years": lambda path: draw.draw_descent(YEARS, line.descend(YEARS), path),
    "descent, one step": lambda path: draw.draw_descent(
        line.POINTS, line.descend(line.POINTS, steps=1), path
    ),
    "descent, none": lambda path: draw.draw_descent(
        line.POINTS, line.descend(line.POINTS, BEST.m, BEST.b), path
    ),
    "descent, level": lambda path: draw.draw_descent(
        [[0, 0], [1, 0]], line.descend([[0, 0], [1, 0]]), path
    ),
}
ONE_OF_EACH = (
    "grid 9", "prediction", "mistakes", "curves 10", "confusion", "line tried", "descent",
)  # fmt: skip


@pytest.fixture
def figures(monkeypatch: pytest.MonkeyPatch) -> list[Figure]:
    """The figures saved during the test."""
    saved: list[Figure] = []
    save = canvas.save_png

    def save_and_keep(figure: Figure, path: Path) -> None:
        save(figure, path)
        saved.append(figure)

    monkeypatch.setattr(canvas, "save_png", save_and_keep)
    return saved


def texts(figure: Figure) -> Iterator[Text]:
    """Every text that is drawn."""
    yield from figure.texts
    for axes in figure.axes:
        yield from (*axes.texts, axes.xaxis.label, axes.yaxis.label)
        if legend := axes.get_legend():
            yield from legend.get_texts()
        for axis in (axes.xaxis, axes.yaxis):
            yield from tick_labels(axis)
            yield axis.get_offset_text()


def tick_labels(axis: Axis) -> Iterator[Text]:
    low, high = sorted(axis.get_view_interval())
    for tick in axis.get_major_ticks():
        if low <= tick.get_loc() <= high:
            yield from (text for text in (tick.label1, tick.label2) if text.get_visible())


def pixels(path: Path) -> np.ndarray:
    with Image.open(path) as picture:
        return np.asarray(picture.convert("RGB"))


def of_colour(path: Path, colour: str) -> np.ndarray:
    """Which pixels are of a colour: (h, w) bool."""
    return (pixels(path) == np.frombuffer(bytes.fromhex(colour[1:]), np.uint8)).all(axis=2)


def amount(path: Path, colour: str) -> int:
    """How many pixels are of a colour."""
    return int(of_colour(path, colour).sum())


@pytest.mark.parametrize("name", ONE_OF_EACH)
def test_a_picture_is_a_sharp_png(tmp_path: Path, figures: list[Figure], name: str) -> None:
    path = tmp_path / "picture.png"
    PICTURES[name](path)
    assert [entry.name for entry in tmp_path.iterdir()] == ["picture.png"]
    with Image.open(path) as picture:
        assert picture.format == "PNG"
        assert picture.size == tuple(np.round(figures[0].get_size_inches() * 200))
    found = pixels(path)
    assert (found[[0, -1]] == [252, 252, 250]).all()  # paper up to the edges
    assert (found[:, [0, -1]] == [252, 252, 250]).all()
    assert found.min() < 60  # and ink on it


@pytest.mark.parametrize("name", PICTURES)
def test_no_text_is_cut_or_lies_over_another(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    drawn: list[Figure] = []
    monkeypatch.setattr(canvas, "save_png", lambda figure, _: drawn.append(figure))
    PICTURES[name](Path("not written"))
    (figure,) = drawn
    figure.draw_without_rendering()
    boxes = [
        (text.get_text(), text.get_window_extent()) for text in texts(figure) if text.get_text()
    ]
    assert boxes
    width, height = figure.get_size_inches() * figure.dpi
    assert max(width, height) <= 4000
    for words, box in boxes:
        assert box.x0 >= 0 and box.x1 <= width, f"{words!r} is cut at the side"  # noqa: PT018
        assert box.y0 >= 0 and box.y1 <= height, f"{words!r} is cut above or below"  # noqa: PT018
    for (words, box), (others, other) in itertools.combinations(boxes, 2):
        apart = (
            min(box.x1, other.x1) - max(box.x0, other.x0) <= 0
            or min(box.y1, other.y1) - max(box.y0, other.y0) <= 0
        )
        assert apart, f"{words!r} lies over {others!r}"


@pytest.mark.parametrize("name", ["grid 9", "line tried"])
def test_the_same_input_gives_the_same_bytes(tmp_path: Path, name: str) -> None:
    for file in ("first.png", "second.png"):
        PICTURES[name](tmp_path / file)
    assert (tmp_path / "first.png").read_bytes() == (tmp_path / "second.png").read_bytes()


def test_a_digits_pixels_are_whole_pixels_of_the_picture(tmp_path: Path) -> None:
    path = tmp_path / "grid.png"
    draw.draw_grid(IMAGES[:9], LABELS[:9], path)
    found = pixels(path)
    for scale, image in ((8, IMAGES[0]), (8, IMAGES[8])):
        ink = np.array([0x22, 0x26, 0x2B])
        expected = 255 + image[..., None] / 255 * (ink - 255)  # (28, 28, 3)
        blocks = np.rint(expected).astype(np.uint8).repeat(scale, axis=0).repeat(scale, axis=1)
        corners = np.argwhere((found == blocks[0, 0]).all(axis=2))
        places = [found[y : y + 28 * scale, x : x + 28 * scale] for y, x in corners]
        assert any(np.array_equal(place, blocks) for place in places)


def test_a_grid_marks_what_was_read_wrong(tmp_path: Path, figures: list[Figure]) -> None:
    right, wrong = tmp_path / "right.png", tmp_path / "wrong.png"
    draw.draw_grid(IMAGES[:9], LABELS[:9], right, predictions=LABELS[:9].tolist())
    guesses = LABELS[:9].tolist()
    guesses[3] = (guesses[3] + 1) % 10
    draw.draw_grid(IMAGES[:9], LABELS[:9], wrong, predictions=guesses)
    assert amount(right, canvas.VERMILION) == 0
    assert amount(wrong, canvas.VERMILION) > 3000
    words = [text.get_text() for text in figures[1].texts]
    assert words[0] == "8 of 9 read right; label → prediction where not"
    assert words[4] == f"{LABELS[3]} → {guesses[3]}"
    assert [word for word in words if "→" in word] == [words[0], words[4]]
    assert figures[0].texts[0].get_text() == "9 of 9 read right"


def test_a_predictions_bars_are_as_long_as_the_probabilities(
    tmp_path: Path, figures: list[Figure]
) -> None:
    path, counts = tmp_path / "prediction.png", []
    for probability in (0.4, 0.8):
        values = np.full(10, (1 - probability) / 9)
        values[3] = probability
        draw.draw_prediction(IMAGES[0], values, path)
        rows = of_colour(path, canvas.BLUE).sum(axis=1)
        counts.append(int(rows[rows > 100].min()))  # a row above the figures beside the bar
        assert amount(path, canvas.VERMILION) == 0
    (axes,) = figures[0].axes
    edge = axes.get_window_extent().x1
    assert all(text.get_window_extent().x0 > edge for text in axes.texts)
    assert counts[0] == pytest.approx(0.4 * 620, abs=2)  # 3.1 inches at 200 pixels
    assert counts[1] == pytest.approx(0.8 * 620, abs=2)


def test_a_prediction_marks_the_label_that_was_missed(
    tmp_path: Path, figures: list[Figure]
) -> None:
    values = np.full(10, 0.05)
    values[3] = 0.55
    draw.draw_prediction(IMAGES[0], values, tmp_path / "right.png", label=3)
    draw.draw_prediction(IMAGES[0], values, tmp_path / "wrong.png", label=4)
    draw.draw_prediction(IMAGES[0], values, tmp_path / "text.png", label="3")
    draw.draw_prediction(IMAGES[0], values, tmp_path / "name.png", label="e", classes="abcdefghij")
    assert amount(tmp_path / "right.png", canvas.VERMILION) == 0
    assert amount(tmp_path / "wrong.png", canvas.VERMILION) > 100
    notes = [[text.get_text() for text in figure.texts] for figure in figures]
    assert notes == [
        ["Read as 3", "55.0% probability, as labelled"],
        ["Read as 3", "55.0% probability, labelled 4"],
        ["Read as 3", "55.0% probability, as labelled"],
        ["Read as d", "55.0% probability, labelled e"],
    ]


def test_mistakes_come_in_order_of_the_truths_probability(
    tmp_path: Path, figures: list[Figure]
) -> None:
    table = np.array([[0.6, 0.3, 0.1], [0.1, 0.9, 0.0], [0.2, 0.02, 0.78], [0.0, 1.0, 0.0]])
    draw.draw_mistakes(IMAGES[:4], [1, 1, 1, 2], table, tmp_path / "all.png")
    draw.draw_mistakes(IMAGES[:4], [1, 1, 1, 2], table, tmp_path / "two.png", most=2)
    draw.draw_mistakes(IMAGES[:4], [0, 1, 2, 1], table, tmp_path / "none.png")
    draw.draw_mistakes(IMAGES[:1], [1], table[:1], tmp_path / "name.png", classes="abc")
    every, two, none, named = ([text.get_text() for text in figure.texts] for figure in figures)
    captions = ["true 2 · read 1 (100%)", "true 1 · read 2 (78%)", "true 1 · read 0 (60%)"]
    assert every[2:] == captions
    assert two[2:] == captions[:2]
    assert every[1].startswith("3 among 4 images")
    assert two[1].startswith("2 of 3 among 4 images")
    assert named[2:] == ["true b · read a (60%)"]
    assert none == ["No mistakes", "every one of 4 images was read right"]


def test_curves_name_the_last_epochs_values(tmp_path: Path, figures: list[Figure]) -> None:
    rows = history(2, loss=0.5, accuracy=0.9876, val_loss=float("nan"), val_accuracy=None)
    rows[0].update(val_loss=0.25, val_accuracy=0.5)
    draw.draw_curves(rows, tmp_path / "validated.png")
    draw.draw_curves(training_only(rows), tmp_path / "plain.png")
    keys = [
        [text.get_text() for text in axes.get_legend().get_texts()]
        for figure in figures
        for axes in figure.axes
    ]
    assert keys[:2] == [
        ["training  0.5", "validation  0.25"],
        ["training  98.76%", "validation  50.00%"],
    ]
    assert keys[2:] == [["training  0.5"], ["training  98.76%"]]
    assert amount(tmp_path / "validated.png", canvas.VERMILION) > 100
    assert amount(tmp_path / "plain.png", canvas.VERMILION) == 0


def test_confusion_colours_the_mistakes_and_not_the_diagonal(
    tmp_path: Path, figures: list[Figure]
) -> None:
    path = tmp_path / "confusion.png"
    right = np.diag([50, 100])
    draw.draw_confusion(right, ["cat", "dog"], path)
    assert amount(path, canvas.VERMILION) == 0
    draw.draw_confusion(np.array([[50, 30], [0, 100]]), ["cat", "dog"], path)
    assert amount(path, canvas.VERMILION) > 1000
    words = [text.get_text() for text in texts(figures[1]) if text.get_text()]
    assert words == [
        "Confusion matrix", "30 of 180 read wrong", "50", "30", "100", "recall", "62.5%", "100.0%",
        "read as", "true class", "cat", "dog", "cat", "dog",
    ]  # fmt: skip


def test_a_line_is_drawn_with_its_equation_and_residuals(
    tmp_path: Path, figures: list[Figure]
) -> None:
    far, near = tmp_path / "far.png", tmp_path / "near.png"
    draw.draw_line(line.POINTS, -2, -40, 475.5, far)
    draw.draw_line(line.POINTS, BEST.m, BEST.b, BEST.loss, near)
    headings = [[text.get_text() for text in figure.texts] for figure in figures]
    assert headings == [
        ["y = −2 x − 40", "mean squared loss 475.5"],
        ["y = 5.1212 x + 14.4545", "mean squared loss 14.8788"],
    ]
    assert amount(far, canvas.VERMILION) > 3 * amount(near, canvas.VERMILION) > 0


def test_a_descent_ends_on_the_cross_at_the_minimum(tmp_path: Path, figures: list[Figure]) -> None:
    draw.draw_descent(line.POINTS, DESCENT, tmp_path / "descent.png")
    surface = figures[0].axes[1]
    (path,) = surface.lines
    assert path.get_xydata()[0].tolist() == [-2, 40]
    assert path.get_xydata()[-1] == pytest.approx([BEST.m, BEST.b], abs=1e-5)
    cross = surface.collections[-1].get_offsets()
    assert np.asarray(cross).tolist() == [[BEST.m, BEST.b]]
    for m, b in path.get_xydata():
        assert surface.viewLim.contains(m, b)
    assert figures[0].texts[1].get_text() == "loss 475.5 → 14.8788 in 2,071 steps"
    with pytest.raises(DataError, match="all x are 1"):
        draw.draw_descent([[1, 1], [1, 2]], DESCENT, tmp_path / "upright.png")


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda p: draw.draw_grid(IMAGES[0], [1], p), r"images has shape \(28, 28\)"),
        (lambda p: draw.draw_grid(IMAGES[:0], [], p), r"shape \(0, 28, 28\).*n from 1 to 1000"),
        (lambda p: draw.draw_grid(np.zeros((1001, 2, 2)), range(1001), p), "n from 1 to 1000"),
        (lambda p: draw.draw_grid(IMAGES[:2].astype(int), [1, 2], p), "dtype int64.*float 0..1"),
        (lambda p: draw.draw_grid(IMAGES[:2] / 1.0, [1, 2], p), r"values 0..255; expected"),
        (lambda p: draw.draw_grid(np.full((1, 2, 2), np.nan), [1], p), "expected uint8"),
        (lambda p: draw.draw_grid(IMAGES[:2], [1], p), "labels has length 1; expected 2"),
        (lambda p: draw.draw_grid(IMAGES[:2], [1, 2], p, [1]), "predictions has length 1"),
        (lambda p: draw.draw_prediction(IMAGES[:1], SURE, p), r"shape \(1, 1, 28, 28\)"),
        (lambda p: draw.draw_prediction(IMAGES[0], [SURE], p), r"probabilities has shape \(1, 10"),
        (lambda p: draw.draw_prediction(IMAGES[0], SURE * 3, p), "softmax"),
        (lambda p: draw.draw_prediction(IMAGES[0], SURE, p, label=10), "label is 10; expected one"),
        (lambda p: draw.draw_prediction(IMAGES[0], SURE, p, classes="ab"), "classes has length 2"),
        (lambda p: draw.draw_mistakes(IMAGES, LABELS[1:], PROBABILITIES, p), r"\(119,\)"),
        (lambda p: draw.draw_mistakes(IMAGES[:0], [], np.zeros((0, 10)), p), "n at least 1"),
        (lambda p: draw.draw_mistakes(IMAGES[:1], [10], [SURE], p), r"10..10; expected .* 0..9"),
        (lambda p: draw.draw_mistakes(IMAGES[:1], [1.0], [SURE], p), "dtype float64"),
        (lambda p: draw.draw_mistakes(IMAGES[:1], [1], [SURE], p, most=0), "most is 0"),
        (lambda p: draw.draw_curves([], p), "history: expected at least one"),
        (lambda p: draw.draw_curves([{"loss": 1}], p), "the key epoch"),
        (lambda p: draw.draw_confusion(np.zeros((2, 3), int), "ab", p), r"shape \(2, 3\)"),
        (lambda p: draw.draw_confusion(np.eye(2), "ab", p), "dtype float64"),
        (lambda p: draw.draw_confusion(-np.eye(2, dtype=int), "ab", p), "expected .* counts"),
        (lambda p: draw.draw_confusion(CONFUSION, "ab", p), "classes has length 2; expected 10"),
        (lambda p: draw.draw_line([1, 2], 1, 1, 1, p), r"points has shape \(2,\)"),
    ],
)
def test_bad_arguments_are_refused_and_nothing_is_written(
    tmp_path: Path, call: Draw, message: str
) -> None:
    with pytest.raises(UsageError, match=message):
        call(tmp_path / "picture.png")
    assert not list(tmp_path.iterdir())


def test_a_picture_is_named_png(tmp_path: Path) -> None:
    for name in ("picture", "picture.jpg", "."):
        with pytest.raises(UsageError, match=r"expected a name that ends in \.png"):
            canvas.save_png(canvas.new_figure(1, 1), tmp_path / name)
    canvas.save_png(canvas.new_figure(1, 1), tmp_path / "picture.PNG")
    assert [entry.name for entry in tmp_path.iterdir()] == ["picture.PNG"]


def test_a_target_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match=r"none/picture\.png: cannot be written \(No such file"):
        PICTURES["line tried"](tmp_path / "none" / "picture.png")
    (tmp_path / "folder.png").mkdir()
    with pytest.raises(StorageError, match=r"folder\.png: cannot be written \(Is a directory"):
        PICTURES["line tried"](tmp_path / "folder.png")
    assert [entry.name for entry in tmp_path.iterdir()] == ["folder.png"]


def test_a_full_disk_leaves_the_earlier_picture(tmp_path: Path) -> None:
    path = tmp_path / "picture.png"
    PICTURES["line tried"](path)
    before = path.read_bytes()
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, limits[1]))
    try:
        with pytest.raises(StorageError, match=r"picture\.png: cannot be written \(File too large"):
            PICTURES["line best"](path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert path.read_bytes() == before
    assert [entry.name for entry in tmp_path.iterdir()] == ["picture.png"]


@pytest.mark.parametrize("name", ONE_OF_EACH)
def test_without_matplotlib_the_error_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    for module in [module for module in sys.modules if module.partition(".")[0] == "matplotlib"]:
        monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(DependencyError, match="matplotlib is not installed"):
        PICTURES[name](tmp_path / "picture.png")


def test_drawing_leaves_pyplot_and_the_settings_alone(tmp_path: Path) -> None:
    program = f"""
import sys
import mnistry.draw
assert not [name for name in sys.modules if name.startswith(("matplotlib", "torch"))]
import matplotlib
def settings():
    return {{name: matplotlib.rcParams[name] for name in matplotlib.rcParams if name != "backend"}}
before = settings()
mnistry.draw.draw_line([[0, 1], [1, 3]], 2, 1, 0, {str(tmp_path / "line.png")!r})
assert settings() == before
assert "matplotlib.pyplot" not in sys.modules
assert "torch" not in sys.modules
"""
    done = subprocess.run([sys.executable, "-W", "error", "-c", program], capture_output=True)
    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")
    assert (tmp_path / "line.png").is_file()


# ------------------------------------------------------------------------------ what a reader found

PAGE = np.full((200, 300), 230, np.uint8)
PAGE[60:120, 40:70] = PAGE[60:120, 100:140] = 20
BOXES = [(40, 60, 30, 60), (100, 60, 40, 60)]
TILE = Tile(IMAGES[0], "7", "99.9%", True)
UNSURE = Tile(IMAGES[1], "3?", "41.0%", False)


def test_a_page_has_a_box_and_a_tag_for_each_digit(tmp_path: Path) -> None:
    path = tmp_path / "page.png"
    draw_page(PAGE, BOXES, ["1", "0?"], [True, False], path)
    assert pixels(path).shape == (200, 300, 3)
    for box, colour in zip(BOXES, (canvas.BLUE, canvas.VERMILION), strict=True):
        left, top, wide, tall = box
        rows, columns = np.nonzero(of_colour(path, colour))
        assert left - 10 < columns.min() < left < left + wide < columns.max() < left + wide + 10
        assert rows.min() < top - 15, "no tag above it"
        assert top + tall < rows.max() < top + tall + 10
        inside = pixels(path)[top : top + tall, left : left + wide]
        assert (inside == 20).all(), "the digit is drawn over"
        side = of_colour(path, colour)[rows.max()].sum()
        assert (side > wide) == (colour == canvas.BLUE), "a frame is broken where it is not sure"


def test_a_tag_has_room_at_the_edge_of_a_page(tmp_path: Path) -> None:
    path = tmp_path / "page.png"
    draw_page(PAGE, [(40, 0, 30, 60)], ["1"], [True], path)
    more = len(pixels(path)) - len(PAGE)
    assert 20 < more < 30
    assert (pixels(path)[more:, :30] == PAGE[:, :30, None]).all()
    rows, _ = np.nonzero(of_colour(path, canvas.BLUE))
    assert rows.min() < 3
    assert rows.max() > more + 60
    draw_page(PAGE, [], [], [], path)
    assert (pixels(path) == PAGE[..., None]).all()


@pytest.mark.parametrize(
    ("shape", "height", "size"),
    [
        ((67, 142), 14, (211, 446)),  # small writing is enlarged
        ((8, 8), 1, (48, 48)),
        ((4000, 5000), 2000, (3098, 3873)),  # 12 million pixels are enough
        ((4000, 5000), 20, (3098, 3873)),
        ((300, 300), 60, (300, 300)),
    ],
)
def test_writing_of_every_size_is_legible(
    tmp_path: Path, shape: tuple[int, int], height: int, size: tuple[int, int]
) -> None:
    path = tmp_path / "page.png"
    page, box = np.zeros(shape, np.uint8), (2, shape[0] - height, height // 2, height)
    draw_page(page, [box], ["5"], [True], path)
    with Image.open(path) as picture:
        assert picture.size[0] == size[1]
        assert size[0] <= picture.size[1] <= size[0] + 30
    assert amount(path, canvas.BLUE) > 100 * (shape != (8, 8))


def test_what_was_seen_stands_line_by_line(tmp_path: Path) -> None:
    path = tmp_path / "seen.png"
    draw_seen([Group("page.png", [[TILE] * 5, [TILE, UNSURE]])], path)
    two_rows = pixels(path).shape
    assert amount(path, canvas.VERMILION) > 4 * 4 * 84  # the frame
    draw_seen([Group("page.png", [[TILE] * 5])], path)
    assert pixels(path).shape[0] < two_rows[0]
    assert amount(path, canvas.VERMILION) == 0
    draw_seen([Group("page.png", [[TILE] * 30])], path)  # three rows
    assert pixels(path).shape[0] > two_rows[0]
    assert pixels(path).shape[1] < 1400


def test_images_of_one_digit_stand_side_by_side(tmp_path: Path) -> None:
    heights, singles = [], [Group(f"folder/é{number}.png", [[TILE]]) for number in range(13)]
    for groups in (singles[:1], singles[:12], singles, [*singles[:12], Group("none.png", [])]):
        draw_seen(groups, tmp_path / "seen.png")
        heights.append(pixels(tmp_path / "seen.png").shape[0])
    assert heights[0] == heights[1] < heights[3] < heights[2]


def test_a_group_whose_name_is_long(tmp_path: Path) -> None:
    path = tmp_path / "seen.png"
    draw_seen([Group("a long name " * 50, [[TILE, TILE]]), Group("x" * 500, [[UNSURE]])], path)
    found = pixels(path)
    assert (found[:, -40:] == [252, 252, 250]).all(), "it runs over the edge"
    assert found.shape[1] < 600


def test_what_cannot_be_drawn_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="lengths 2, 1 and 2; expected the same"):
        draw_page(PAGE, BOXES, ["1"], [True, True], tmp_path / "page.png")
    with pytest.raises(UsageError, match="expected at least one"):
        draw_seen([], tmp_path / "seen.png")
    with pytest.raises(UsageError, match=r"ends in \.png"):
        draw_page(PAGE, BOXES, "12", [True, True], tmp_path / "page.jpg")
    with pytest.raises(StorageError):
        draw_seen([Group("a", [])], tmp_path / "none" / "seen.png")
    assert not list(tmp_path.iterdir())
