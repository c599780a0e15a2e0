"""Draws docs/screenshots/*.png, the web page's tabs: python docs/make_screenshots.py.

It needs playwright and chromium (on the path), starts a server of its own, draws on the page with
the mouse, and trains two small networks on digits that the program writes.
"""

import io
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from playwright.sync_api import Browser, Page, expect, sync_playwright

from mnistry.pen.paper import write_sheet

FOLDER = Path(__file__).with_name("screenshots")
DATA = "pen:train=12000,test=2000"
ROWS = ["3141592653", "2718281828", "1618033988"]
DESKTOP, PHONE = {"width": 1200, "height": 800}, {"width": 360, "height": 740}
WAIT = 180_000  # milliseconds that a training may take

STROKES = {  # through these points, in shares of a digit's box
    "2": [[(0.05, 0.25), (0.3, 0.02), (0.75, 0.08), (0.85, 0.35), (0.45, 0.72), (0, 0.98)]],
    "5": [[(0.2, 0.04), (0.14, 0.42), (0.6, 0.4), (0.9, 0.68), (0.6, 0.98), (0.05, 0.92)]],
    "7": [[(0, 0.06), (0.95, 0.02), (0.6, 0.45), (0.35, 1)], [(0.25, 0.5), (0.9, 0.46)]],
}
STROKES["2"] += [[(0, 0.98), (0.45, 0.93), (1, 0.97)]]
STROKES["5"] += [[(0.2, 0.04), (0.55, 0.05), (0.95, 0.02)]]


@contextmanager
def server(folder: str) -> Iterator[str]:
    """A server with folders of its own, that has no MNIST, whose images are not ours to show."""
    environment = {**os.environ, "MNISTRY_CACHE": f"{folder}/cache"}
    environment.pop("MNISTRY_DATA", None)
    command = [sys.executable, "-m", "mnistry", "serve", "--port", "0", "--data", DATA]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, cwd=folder, text=True, env=environment
    ) as process:
        try:
            assert process.stdout is not None
            yield process.stdout.readline().strip()
        finally:
            process.terminate()


def curve(points: list[tuple[float, float]]) -> NDArray[np.float64]:
    """A smooth way through points: (n, 2); a spline after Catmull and Rom."""
    known = np.array([points[0], *points, points[-1]])
    t = np.linspace(0, 1, 12)[:, None]
    pieces = []
    for (a, b), (_, c), (_, d) in zip(
        pairwise(known[:-2]), pairwise(known[1:-1]), pairwise(known[2:]), strict=True
    ):
        bend = 2 * a - 5 * b + 4 * c - d, 3 * b - a - 3 * c + d
        pieces.append(b + t * (c - a + t * (bend[0] + t * bend[1])) / 2)
    return np.concatenate(pieces)


def draw(page: Page, digits: str) -> None:
    """Draws digits side by side with the mouse."""
    box = page.locator("#draw-pad").bounding_box()
    assert box
    height, step = box["height"] * 0.66, box["width"] / len(digits)
    for at, digit in enumerate(digits):
        for stroke in STROKES[digit]:
            x, y = curve(stroke).T
            x = box["x"] + step * (at + 0.5) + height * 0.55 * (x - 0.5)
            y = box["y"] + box["height"] * 0.17 + height * y
            page.mouse.move(x[0], y[0])
            page.mouse.down()
            for point in zip(x, y, strict=True):
                page.mouse.move(*point)
            page.mouse.up()
    expect(page.locator("#draw-digits")).to_have_text(digits)
    page.wait_for_timeout(400)  # the bars are there


def train(page: Page, preset: str, **numbers: object) -> None:
    """Trains, and waits for its end."""
    page.check(f"[value={preset}]")
    for name, value in numbers.items():
        page.fill(f"#train-{name}", str(value))
    page.click("#train-start")
    expect(page.locator("#train-said")).to_contain_text(f"{preset}-1 is done", timeout=WAIT)


def keep(page: Page, name: str, whole: bool = True) -> None:
    """Writes what the window shows, or the whole page."""
    page.mouse.move(0, 0)
    with Image.open(io.BytesIO(page.screenshot(full_page=whole))) as image:
        image.convert("RGB").quantize(256, kmeans=2).save(FOLDER / f"{name}.png", optimize=True)


def on_a_desk(browser: Browser, address: str, sheet: Path) -> None:
    """All tabs."""
    page = browser.new_page(viewport=DESKTOP)
    page.goto(address)
    draw(page, "275")
    keep(page, "draw")

    page.click("#tab-picture")
    page.set_input_files("#pic-file", sheet)
    expect(page.locator("#pic-text")).not_to_have_value("")
    keep(page, "picture")

    page.click("#tab-inside")
    expect(page.locator("#in-layers figure")).to_have_count(2)
    page.wait_for_timeout(400)
    keep(page, "inside")

    page.click("#tab-data")
    page.select_option("#data-order", "doubtful")
    expect(page.locator("#data-grid .wrong")).not_to_have_count(0, timeout=WAIT)
    keep(page, "data")

    page.click("#tab-train")
    train(page, "vidhya-mlp", epochs=3)
    train(page, "fast", epochs=3)
    page.locator("#train-list input").nth(1).check()
    keep(page, "train")

    page.click("#tab-line")
    page.click("#line-play")
    expect(page.locator("#line-told")).to_contain_text("Arrived", timeout=WAIT)
    keep(page, "line")


def main() -> None:
    """Starts a server and a browser, and looks at each tab."""
    FOLDER.mkdir(exist_ok=True)
    flags = ["--headless=new", "--no-sandbox", "--disable-gpu", "--disable-background-networking"]
    with (
        tempfile.TemporaryDirectory() as folder,
        server(folder) as address,
        sync_playwright() as play,
    ):
        sheet = Path(folder, "sheet.png")
        page = write_sheet(ROWS, 64, paper="ruled", tilt=1, light=0.3, noise=1, style="us", seed=11)
        Image.fromarray(page.image).save(sheet)
        chromium = shutil.which("chromium")
        browser = play.chromium.launch(executable_path=chromium, args=flags)
        on_a_desk(browser, address, sheet)
        for name, scheme, size in (("draw-dark", "dark", DESKTOP), ("draw-phone", "light", PHONE)):
            other = browser.new_context(
                viewport=size,
                color_scheme="dark" if scheme == "dark" else "light",
                device_scale_factor=2 if size is PHONE else 1,
            ).new_page()
            other.goto(address)
            draw(other, "275")
            keep(other, name, whole=size is DESKTOP)
        browser.close()


if __name__ == "__main__":
    main()
