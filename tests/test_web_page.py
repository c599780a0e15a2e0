"""The web page, as a person uses it: a real server, and a real browser without a window."""

import csv
import io
import os
import re
import select
import shutil
import statistics
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import numpy as np
import pytest
from PIL import Image

from mnistry.pen.paper import write_sheet

pytestmark = pytest.mark.slow

sync_api = pytest.importorskip("playwright.sync_api", reason="needs playwright: a browser's remote")
expect = sync_api.expect

CHROMIUM = next((p for p in map(shutil.which, ("/usr/bin/chromium", "chromium")) if p), None)
FLAGS = (
    *("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
)
PAGE = Path(__file__).parents[1] / "src/mnistry/server/page"
TABS = ("draw", "picture", "inside", "data", "train", "line")
PHONE = {"viewport": {"width": 360, "height": 740}, "has_touch": True, "is_mobile": True}
ROWS = ["31415", "92653"]
WAIT = 90_000  # milliseconds, for what a busy machine may take long for

Points = list[tuple[float, float]]
DIGITS: dict[str, list[Points]] = {  # strokes, in shares of the digit's box
    "1": [[(0.5, 0), (0.5, 1)]],
    "2": [[(0, 0.25), (0.2, 0.03), (0.8, 0.03), (0.95, 0.3), (0.7, 0.6), (0, 1), (1, 1)]],
    "4": [[(0.65, 0), (0, 0.6), (1, 0.6)], [(0.7, 0.3), (0.7, 1)]],
    "7": [[(0, 0), (1, 0), (0.35, 1)]],
}


class Window:
    """A page in a browser, and what it told and asked for."""

    def __init__(self, page: "sync_api.Page", address: str) -> None:
        self.page, self.errors, self.hosts = page, [], set()  # type: ignore[var-annotated]
        page.on("console", lambda told: told.type == "error" and self.errors.append(told.text))
        page.on("pageerror", lambda error: self.errors.append(str(error)))
        page.on("request", lambda asked: self.hosts.add(urlsplit(asked.url).netloc))
        page.goto(address)
        expect(page.locator("#model option")).not_to_have_count(0, timeout=WAIT)

    def __call__(self, selector: str) -> "sync_api.Locator":
        return self.page.locator(selector)

    def open(self, name: str) -> None:
        self(f"#tab-{name}").click()
        expect(self(f"#panel-{name}")).to_be_visible()

    def stroke(self, points: Points) -> None:
        """Draws with the mouse: points in pixels of the window."""
        mouse = self.page.mouse
        mouse.move(*points[0])
        mouse.down()
        for x, y in points[1:]:
            mouse.move(x, y, steps=6)
        mouse.up()

    def draw(self, digits: str, pad: str = "#draw-pad") -> None:
        """Draws digits side by side over a whole pad."""
        for stroke in self.strokes(digits, pad):
            self.stroke(stroke)

    def strokes(self, digits: str, pad: str = "#draw-pad") -> list[Points]:
        self(pad).scroll_into_view_if_needed()
        box = self(pad).bounding_box()
        height = box["height"] * 0.7
        width, step = height * 0.5, box["width"] / len(digits)
        return [
            [
                (
                    box["x"] + step * (at + 0.5) + width * (x - 0.5),
                    box["y"] + box["height"] * 0.15 + height * y,
                )
                for x, y in stroke
            ]
            for at, digit in enumerate(digits)
            for stroke in DIGITS[digit]
        ]

    def shows(self, digits: str) -> None:
        expect(self("#draw-digits")).to_have_text(digits, timeout=WAIT)

    def ink(self, canvas: str) -> int:
        """How many pixels of a canvas are not empty."""
        script = (
            "c => c.getContext('2d').getImageData(0, 0, c.width, c.height).data"
            ".filter((v, at) => at % 4 === 3 && v > 0).length"
        )
        return int(self(canvas).evaluate(script))

    def colours(self, canvas: str) -> set[str]:
        """The colours of a canvas where nothing shows through."""
        script = "c => [...c.getContext('2d').getImageData(0, 0, c.width, c.height).data]"
        pixels = np.reshape(self(canvas).evaluate(script), (-1, 4)).tolist()
        found = {f"rgb({r}, {g}, {b})" for r, g, b, whole in pixels if whole == 255}
        assert found
        return found

    def fails(self, path: str, status: int = 500, **headers: str) -> list[str]:
        """From now on what is asked there has no answer; gives a list of what was asked."""
        asked: list[str] = []

        def fail(route: "sync_api.Route") -> None:
            asked.append(route.request.url)
            route.fulfill(status=status, headers=headers, json={"detail": f"no {path}"})

        self.page.route(path, fail)
        return asked


@contextmanager
def serving(folder: Path, *options: str) -> Iterator[str]:
    """A server as a process of its own, with its own folders; gives its address."""
    arguments = ["--port", "0", "--runs", folder / "runs", "--drawings", folder / "drawings"]
    arguments += ["--data", "pen:train=1500,test=200", *options]
    environment = {**os.environ, "MNISTRY_CACHE": str(folder / "cache")}
    environment.pop("MNISTRY_DATA", None)  # pen's digits are there for everybody
    with subprocess.Popen(
        [sys.executable, "-m", "mnistry", "serve", *map(str, arguments)],
        stdout=subprocess.PIPE,
        env=environment,
        cwd=folder,
    ) as process:
        try:
            assert process.stdout is not None
            assert select.select([process.stdout], [], [], 90)[0], "the server says nothing"
            yield process.stdout.readline().decode().strip()
        finally:
            process.terminate()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("served")


@pytest.fixture(scope="module")
def server(folder: Path) -> Iterator[str]:
    with serving(folder) as address:
        yield address


@pytest.fixture(scope="module")
def browser() -> Iterator["sync_api.Browser"]:
    if CHROMIUM is None:
        pytest.skip("needs chromium, as /usr/bin/chromium or on the path")
    with sync_api.sync_playwright() as play:
        browser = play.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield browser
        browser.close()


@pytest.fixture
def visit(browser: "sync_api.Browser", server: str) -> Iterator[Callable[..., Window]]:
    """Opens the page; at the end it must have told no error and asked nobody else."""
    opened = []

    def visit(address: str = server, **options: object) -> Window:
        window = Window(browser.new_context(**options).new_page(), address)  # type: ignore[arg-type]
        opened.append((window, urlsplit(address).netloc))
        return window

    yield visit
    for window, host in opened:
        window.page.context.close()
        assert window.errors == []
        assert {each for each in window.hosts if each} == {host}  # blob: has none


@pytest.fixture
def window(visit: Callable[..., Window]) -> Window:
    return visit()


def sheet(path: Path, rows: list[str] = ROWS) -> Path:
    Image.fromarray(write_sheet(rows, 70, noise=1, style="us", seed=5).image).save(path)
    return path


class TestDraw:
    @pytest.mark.parametrize("digit", ["2", "4", "7"])
    def test_a_digit_is_read(self, window: Window, digit: str) -> None:
        window.draw(digit)
        window.shows(digit)
        expect(window("#draw-said")).to_contain_text("sure")
        expect(window("#draw-bars .best .name")).to_have_text(digit)
        expect(window("#draw-bars")).to_contain_text("none: it is no digit")
        assert window.ink("#draw-seen") > 30

    def test_several_are_read_side_by_side(self, window: Window) -> None:
        window.draw("742")
        window.shows("742")
        expect(window("#draw-boxes rect")).to_have_count(3)
        expect(window("#draw-bars .best .name")).to_have_text("2")  # the last one drawn
        window("#draw-digits button").first.click()
        expect(window("#draw-bars .best .name")).to_have_text("7")
        expect(window("#draw-said")).to_contain_text("I read 7 4 2. Selected: 7")

    def test_undo_and_clear(self, window: Window) -> None:
        window.draw("17")
        window.shows("17")
        window("#draw-undo").click()
        window.shows("1")
        window("#draw-clear").click()
        expect(window("#draw-said")).to_have_text("Nothing is drawn yet.")
        assert window.ink("#draw-pad") == 0
        window.page.keyboard.press("Control+z")  # takes the clearing back
        window.shows("1")
        window.page.keyboard.press("Control+z")
        expect(window("#draw-said")).to_have_text("Nothing is drawn yet.")

    def test_with_the_keyboard(self, window: Window) -> None:
        window("#draw-pad").focus()
        press = window.page.keyboard.press
        for _ in range(7):
            press("ArrowUp")
        press("Space")
        for _ in range(18):
            press("ArrowDown")
        press("Space")
        window.shows("1")

    def test_with_a_finger_on_a_phone(self, visit: Callable[..., Window]) -> None:
        window = visit(**PHONE)
        hand = window.page.context.new_cdp_session(window.page)
        for stroke in window.strokes("74"):
            for number, (x, y) in enumerate(dense(stroke)):
                kind = "touchMove" if number else "touchStart"
                point = {"x": x, "y": y}
                hand.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": [point]})
            hand.send("Input.dispatchTouchEvent", {"type": "touchEnd", "touchPoints": []})
        window.shows("74")
        assert window.page.evaluate("scrollY") == 0  # it drew, and did not scroll

    def test_a_pen_writes_wider_when_pressed(self, window: Window) -> None:
        hand = window.page.context.new_cdp_session(window.page)
        inks = []
        for force in (0.1, 0.9):
            ((start, end),) = window.strokes("1")
            pen = {"button": "left", "pointerType": "pen", "force": force, "clickCount": 1}
            steps = (("mousePressed", start), ("mouseMoved", end), ("mouseReleased", end))
            for kind, (x, y) in steps:
                hand.send("Input.dispatchMouseEvent", {"type": kind, "x": x, "y": y, **pen})
            window.shows("1")
            inks.append(window.ink("#draw-pad"))
            window("#draw-clear").click()
        assert inks[1] > 1.5 * inks[0]

    def test_what_was_wrong_is_kept(self, window: Window, folder: Path) -> None:
        window.draw("7")
        window.shows("7")
        assert not list(folder.glob("drawings/*/*"))  # nothing before it is asked for
        window("#draw-labels button").nth(4).click()
        kept = window("#draw-kept")
        expect(kept).to_contain_text("the last one as 4")
        kept.get_by_role("button", name="Undo").click()
        expect(kept).to_contain_text("taken back")
        assert not list(folder.glob("drawings/*/*"))
        window("#draw-labels button").nth(1).click()
        expect(kept).to_contain_text("1 drawing is in")
        expect(kept).to_contain_text("the last one as 1")
        expect(kept).to_contain_text(f"mnistry correct {folder / 'drawings'}")
        (path,) = folder.glob("drawings/1/*.png")
        image = np.asarray(Image.open(path).convert("L"))
        assert image.min() < 50
        assert image[0].min() > 200  # dark on white, with a margin
        expect(window("#draw-labels button").first).to_be_disabled()  # not twice
        window("#draw-clear").click()
        window.draw("42")
        window.shows("42")
        window("#draw-labels button").nth(2).click()
        expect(kept).to_contain_text("2 drawings are in")
        (path,) = folder.glob("drawings/2/*.png")
        with Image.open(path) as own:
            assert own.width < own.height  # the selected digit alone

    def test_a_busy_server_is_asked_again(self, window: Window) -> None:
        window.draw("7")
        window.shows("7")
        asked = window.fails("**/v1/read?*", 503, **{"retry-after": "1"})
        window.draw("1")
        expect(window("#draw-said")).to_have_text("No answer yet.")  # none of before is left
        window.shows("")
        assert len(asked) == 1
        expect(window("#draw-error")).not_to_be_empty(timeout=WAIT)
        assert len(asked) == 2
        expect(window("#draw-labels button").first).to_be_disabled()
        window("#draw-undo").click()
        window.page.unroute("**/v1/read?*")
        window.shows("7")  # nothing but the time was needed
        expect(window("#draw-error")).to_be_empty()
        window.errors.clear()  # the browser tells of each 503

    def test_the_answer_is_there_at_once(
        self, window: Window, capsys: pytest.CaptureFixture[str]
    ) -> None:
        for _ in range(4):
            window.draw("7")
            window.shows("7")
            window("#draw-clear").click()
            window.draw("42")
            window.shows("42")
            window("#draw-clear").click()
        script = "performance.getEntriesByName('answer').map(entry => entry.duration)"
        times = sorted(window.page.evaluate(script))
        median = statistics.median(times)
        with capsys.disabled():
            sys.stdout.write(
                f"\nfrom the end of a stroke to its answer: {median:.0f} ms "
                f"(median of {len(times)}, {times[0]:.0f} to {times[-1]:.0f})\n"
            )
        assert median < 150  # 50 where nothing else runs


def dense(points: Points) -> Points:
    """More points along the same lines."""
    ends = pairwise(points)
    shares = np.linspace(0, 1, 8)
    return [(a + (c - a) * s, b + (d - b) * s) for (a, b), (c, d) in ends for s in shares]


class TestPage:
    def test_tabs_by_keyboard(self, window: Window) -> None:
        window("#tab-draw").focus()
        for name in (*TABS[1:], TABS[0]):
            window.page.keyboard.press("ArrowRight")
            expect(window(f"#tab-{name}")).to_be_focused()
            expect(window(f"#panel-{name}")).to_be_visible()
            expect(window("[role=tabpanel]:visible")).to_have_count(1)
        window.page.keyboard.press("End")
        expect(window("#panel-line")).to_be_visible()
        assert window.page.url.endswith("#line")
        window.page.keyboard.press("Home")
        window.page.go_back()
        expect(window("#panel-line")).to_be_visible()

    @pytest.mark.parametrize("scheme", ["light", "dark"])
    def test_fits_a_phone(self, visit: Callable[..., Window], tmp_path: Path, scheme: str) -> None:
        window = visit(**PHONE, color_scheme=scheme)
        window.draw("742")
        for name in TABS:
            window.open(name)
            if name == "picture":
                window("#pic-file").set_input_files(sheet(tmp_path / "sheet.png"))
                expect(window("#pic-text")).not_to_have_value("")
            if name == "data":
                expect(window("#data-grid li")).to_have_count(40, timeout=WAIT)
            if name == "inside":
                expect(window("#in-layers figure")).to_have_count(2, timeout=WAIT)
            assert window.page.evaluate("document.documentElement.scrollWidth") <= 360, name

    def test_all_controls_have_names(self, window: Window) -> None:
        script = """
            ['button', 'input', 'select', 'textarea', '[tabindex]', '[role=img]']
              .flatMap(each => [...document.querySelectorAll(each)])
              .filter(e => !(e.ariaLabel || e.hasAttribute('aria-labelledby')
                             || e.labels?.length || e.textContent.trim()))
              .map(e => e.outerHTML)"""
        assert window.page.evaluate(script) == []

    def test_is_small(self) -> None:
        assert sum(path.stat().st_size for path in PAGE.iterdir()) < 150_000

    def test_names_no_other_host(self) -> None:
        own = ("http://www.w3.org/2000/svg",)  # a name, which is never asked for
        for path in PAGE.iterdir():
            text = path.read_text()
            for name in own:
                text = text.replace(name, "")
            assert "//" not in text.replace("// ", ""), path.name
            assert "style=" not in text, path.name

    def test_says_when_nobody_answers(self, visit: Callable[..., Window], tmp_path: Path) -> None:
        with serving(tmp_path) as address:
            window = visit(address)
        window.draw("7")
        banner = window("#lost")
        expect(banner).to_contain_text("Mnistry does not answer")
        with serving(tmp_path, "--port", str(urlsplit(address).port)):
            expect(banner).to_be_hidden(timeout=WAIT)
            window.shows("7")  # what was drawn is read now
        window.page.wait_for_timeout(200)  # what the browser still has to tell
        assert all("net::ERR" in error for error in window.errors)
        window.errors.clear()

    def test_asks_for_the_token(self, visit: Callable[..., Window], tmp_path: Path) -> None:
        with serving(tmp_path, "--token", "open sesame") as address:
            assert address.endswith("/#token=open%20sesame")
            window = visit(address)
            window.draw("7")
            window.shows("7")
            assert "sesame" not in window.page.url
            other = window.page.context.new_page()
            other.goto(address.partition("#")[0])
            field = other.get_by_label("Token").last
            go_on = other.get_by_role("button", name="Go on")
            expect(field).to_be_visible()
            for _ in range(3):  # a browser closes a dialog at the second at the latest
                other.keyboard.press("Escape")
            field.fill("open barley")
            go_on.click()
            expect(other.locator("dialog[open]")).to_contain_text("That token was wrong.")
            field.fill("open sesame")
            go_on.click()
            expect(other.locator("#model option")).not_to_have_count(0)
            expect(other.locator("dialog[open]")).to_have_count(0)

    def test_the_api_is_described(self, window: Window) -> None:
        window("footer a").click()
        expect(window("#docs section")).not_to_have_count(0)
        expect(window("#docs")).to_contain_text("/v1/read")
        sections = window("#docs section")
        training = sections.filter(has_text="POST/v1/trainings").locator("tr")
        expect(training.filter(has_text="preset").first).to_contain_text("string · needed")
        expect(training.filter(has_text="learning_rate").first).to_contain_text("number or null")
        pixels = sections.filter(has_text="POST/v1/inside").locator("tr")
        expect(pixels.filter(has_text="image")).to_contain_text("list of 28: list of 28: integer")

    def test_what_goes_wrong_is_said(self, window: Window) -> None:
        window.fails("**/v1/models")
        window.page.reload()
        expect(window("#model-error")).to_have_text("No **/v1/models.")
        window.open("data")
        expect(window("#data-grid li")).to_have_count(40, timeout=WAIT)
        window.fails("**/v1/sets/**")
        window("#data-label").select_option("3")
        expect(window("#data-error")).not_to_be_empty()
        expect(window("#data-grid li")).to_have_count(0)  # they were of all digits
        window.page.route("**/v1/sets", lambda route: route.fulfill(json={"sets": []}))
        window.open("inside")
        window("#in-pick").click()
        expect(window("#in-pick")).to_be_enabled()
        window.page.wait_for_timeout(200)  # what the browser still has to tell
        assert len(window.errors) == 3
        window.errors.clear()

    def test_colours_are_apart_and_agree(self, window: Window) -> None:
        """In the dark, too: words with their paper, and evidence with its legend."""
        window.open("inside")
        for scheme in ("light", "dark"):
            window.page.emulate_media(color_scheme=scheme)
            with Image.open(io.BytesIO(window(".pad.small").screenshot())) as image:
                box = (20, 20, image.width - 20, image.height - 20)
                grey = np.asarray(image.convert("L").crop(box))
            dark, light = (0.05 + (each / 255) ** 2.2 for each in (grey.min(), grey.max()))
            assert light / dark > 4.5
        window.draw("4", "#in-pad")
        expect(window("#in-said")).to_have_text("It says 4")
        legend = window("#panel-inside .legend span")
        script = "all => all.map(e => getComputedStyle(e, '::before').backgroundColor)"
        in_the_dark = legend.evaluate_all(script)
        assert window.colours("#in-evidence") <= set(in_the_dark)
        with window.page.expect_response("**/v1/inside?*"):
            window.page.emulate_media(color_scheme="light")
        window.page.wait_for_timeout(200)
        in_the_light = legend.evaluate_all(script)
        assert in_the_light != in_the_dark
        assert window.colours("#in-evidence") <= set(in_the_light)


class TestPicture:
    def test_a_file_is_read(self, window: Window, tmp_path: Path) -> None:
        window.open("picture")
        window("#pic-file").set_input_files(sheet(tmp_path / "my, sheet.png"))
        text = window("#pic-text")
        expect(text).to_have_value("\n".join(ROWS), timeout=WAIT)
        expect(window("#pic-boxes rect")).to_have_count(10)
        with window.page.expect_download() as download:
            window("#pic-csv").click()
        assert download.value.suggested_filename == "my, sheet.csv"
        rows = list(csv.DictReader(download.value.path().read_text().splitlines()))
        assert "".join(row["label"] for row in rows) == "".join(ROWS)
        assert {row["image"] for row in rows} == {"my, sheet.png"}
        assert [row["position"] for row in rows] == [*"01234"] * 2
        assert all(0 < float(row["confidence"]) < 1 and int(row["width"]) > 0 for row in rows)

        window("#pic-least").fill("0.999")
        expect(window("#pic-said")).to_contain_text("not sure enough")
        expect(text).not_to_have_value("\n".join(ROWS))
        window("#pic-least").fill("0")
        expect(text).to_have_value("\n".join(ROWS))

    def test_one_digit_only(self, window: Window, tmp_path: Path) -> None:
        window.open("picture")
        window("#pic-single").check()
        with Image.open(sheet(tmp_path / "sheet.png", ["7"])) as image:
            rows, columns = np.nonzero(np.asarray(image) < 128)
            box = (columns.min() - 4, rows.min() - 4, columns.max() + 4, rows.max() + 4)
            image.crop(box).save(tmp_path / "one.png")
        window("#pic-file").set_input_files(tmp_path / "one.png")
        expect(window("#pic-text")).to_have_value("7", timeout=WAIT)
        edge, answer = window(".sheet").bounding_box(), window("#pic-boxes text").bounding_box()
        assert edge["y"] <= answer["y"]  # there is no room above it
        assert answer["height"] > 10

    def test_a_pdf_shows_its_answers(self, window: Window, tmp_path: Path) -> None:
        with Image.open(sheet(tmp_path / "sheet.png")) as image:
            image.save(tmp_path / "sheet.pdf")
        window.open("picture")
        window("#pic-file").set_input_files(tmp_path / "sheet.pdf")
        expect(window("#pic-text")).to_have_value("\n".join(ROWS), timeout=WAIT)
        expect(window("#pic-image")).to_be_hidden()

    def test_what_is_none_is_said(self, window: Window, tmp_path: Path) -> None:
        (tmp_path / "no.png").write_text("no picture")
        window.open("picture")
        window("#pic-file").set_input_files(tmp_path / "no.png")
        expect(window("#pic-error")).to_contain_text("no readable image")
        (tmp_path / "no.txt").write_text("no picture")
        window("#pic-file").set_input_files(tmp_path / "no.txt")
        expect(window("#pic-error")).to_contain_text("“no.txt” is no picture")
        window.errors.clear()  # the browser tells that the answers were 422 and 415
        window("#pic-file").set_input_files(sheet(tmp_path / "sheet.png"))
        expect(window("#pic-text")).to_have_value("\n".join(ROWS), timeout=WAIT)
        expect(window("#pic-error")).to_be_empty()

    def test_dropped_and_pasted(self, window: Window, tmp_path: Path) -> None:
        window.open("picture")
        data = list(sheet(tmp_path / "sheet.png").read_bytes())
        script = """([kind, data]) => {
            const file = new File([new Uint8Array(data)], kind + ".png", { type: "image/png" });
            const dataTransfer = new DataTransfer();
            dataTransfer.items.add(file);
            const event = kind === "drop" ? new DragEvent("drop", { dataTransfer, bubbles: true })
              : new ClipboardEvent("paste", { clipboardData: dataTransfer, bubbles: true });
            document.querySelector("#pic-drop").dispatchEvent(event);
        }"""
        for kind in ("drop", "paste"):
            window.page.evaluate(script, [kind, data])
            expect(window("#pic-name")).to_have_text(f"{kind}.png")
            expect(window("#pic-text")).to_have_value("\n".join(ROWS), timeout=WAIT)

    def test_a_file_is_dropped_beside(self, window: Window, tmp_path: Path) -> None:
        hand = window.page.context.new_cdp_session(window.page)
        path = sheet(tmp_path / "sheet.png")
        script = "addEventListener('dragover', (event) => window.stays = event.defaultPrevented)"
        window.page.evaluate(script)
        for name in ("draw", "picture"):  # what is open: only one of them takes files
            window.open(name)
            for step in ("dragEnter", "dragOver", "drop"):
                data = {"items": [], "files": [str(path)], "dragOperationsMask": 1}
                point = {"x": 5, "y": 300, "data": data}
                hand.send("Input.dispatchDragEvent", {"type": step, **point})
            assert window.page.evaluate("stays")  # or the browser would open the file
        expect(window("#pic-text")).to_have_value("\n".join(ROWS), timeout=WAIT)


class TestInside:
    def test_what_was_drawn(self, window: Window) -> None:
        window.draw("7")
        window.shows("7")
        window.open("inside")
        expect(window("#in-said")).to_have_text("It says 7")
        expect(window("#in-layers figure")).to_have_count(2)
        assert window("#in-layers canvas").count() > 20
        assert window.ink("#in-seen") > 30
        assert window.ink("#in-evidence") > 30
        expect(window("#in-why")).to_have_text("Why 7")

    def test_drawn_here_or_from_a_set(self, window: Window) -> None:
        window.open("inside")
        window.draw("4", "#in-pad")
        expect(window("#in-said")).to_have_text("It says 4")
        window("#in-clear").click()
        expect(window("#in-layers figure")).to_have_count(0)
        window("#in-pick").click()
        expect(window("#in-layers figure")).to_have_count(2, timeout=WAIT)


class TestData:
    def test_forty_at_a_time(self, window: Window) -> None:
        window.open("data")
        tiles = window("#data-grid button")
        expect(tiles).to_have_count(40, timeout=WAIT)
        expect(window("#data-place")).to_have_text("1 to 40 of 1,000")
        window("#data-next").click()
        expect(window("#data-place")).to_have_text("41 to 80 of 1,000")
        window("#data-previous").click()
        expect(window("#data-place")).to_have_text("1 to 40 of 1,000")
        window("#data-label").select_option("3")
        expect(tiles.first).to_contain_text("3")
        window("#data-label").select_option("")
        window("#data-order").select_option("mistakes")
        expect(tiles.first).to_have_class("wrong", timeout=WAIT)

    def test_another_network_begins_anew(self, window: Window) -> None:
        def models(route: "sync_api.Route") -> None:
            (first, *rest) = route.fetch().json()["models"]
            route.fulfill(json={"models": [first, *rest, first | {"name": "other"}]})

        def images(route: "sync_api.Route") -> None:
            url = route.request.url.replace("model=other", "model=")
            answer = route.fetch(url=url.removesuffix("&model=")).json()
            left = max(0, few - int(parse_qs(urlsplit(url).query)["offset"][0]))
            route.fulfill(json=answer | {"images": answer["images"][:left], "total": few})

        few, place = 100, window("#data-place")
        window.page.route("**/v1/models", models)
        window.page.route("**/v1/sets/*/*", images)
        window.page.reload()
        window.open("data")
        for said in ("1 to 40 of 100", "41 to 80 of 100"):
            expect(place).to_have_text(said, timeout=WAIT)
            window("#data-next").click()
        expect(place).to_have_text("81 to 100 of 100")
        few = 50
        window.open("draw")
        window.open("data")
        expect(place).to_have_text("41 to 50 of 50")
        window.open("draw")
        window("#model").select_option("other")
        window.open("data")
        expect(place).to_have_text("1 to 40 of 50")

    def test_one_shown_large(self, window: Window) -> None:
        window.draw("7")
        window.shows("7")
        window.open("data")
        expect(window("#data-grid button")).to_have_count(40, timeout=WAIT)
        window("#data-grid button").nth(1).click()
        title = window("#data-title")
        expect(title).to_contain_text("Number 1: label")
        window.page.keyboard.press("ArrowRight")
        expect(title).to_contain_text("Number 2: label")
        window.page.keyboard.press("Escape")
        expect(window("#data-large")).to_be_hidden()
        window("#data-grid button").nth(3).click()
        window("#data-inside").click()
        expect(window("#panel-inside")).to_be_visible()
        expect(window("#in-layers figure")).to_have_count(2)
        script = "c => c.toDataURL()"  # this digit is looked at, and not the one drawn before
        assert window("#in-seen").evaluate(script) == window("#data-seen").evaluate(script)


class TestTrain:
    def test_train_and_draw_with_it(self, window: Window) -> None:
        window.open("train")
        window("#train-start").click()
        expect(window("#train-stop")).to_be_enabled()
        expect(window("#train-start")).to_be_disabled()
        said = window("#train-said")
        expect(said).to_contain_text("fast-1 is done", timeout=WAIT)
        expect(said).to_contain_text("of the test digits right")
        expect(window("#train-loss polyline")).to_have_count(1)

        window("[value=vidhya-mlp]").check()
        window("#train-epochs").fill("2")
        window("#train-units").fill("40")
        window("#train-start").click()
        expect(said).to_contain_text("vidhya-mlp-1 is done", timeout=WAIT)
        window("#train-list input").nth(1).check()
        expect(window("#train-accuracy polyline")).to_have_count(2)  # laid over each other
        expect(window("#train-accuracy")).to_contain_text("fast-1")

        window("#train-draw").click()
        expect(window("#panel-draw")).to_be_visible()
        expect(window("#model")).to_have_value("vidhya-mlp-1")
        window.draw("7")
        expect(window("#draw-digits button")).to_have_count(1)
        window.open("inside")
        expect(window("#in-layers h2").first).to_have_text("1st dense layer: 40 units")

    def test_stop(self, window: Window) -> None:
        window.open("train")
        window("[value=strong]").check()
        window("#train-epochs").fill("100")
        window("#train-start").click()
        expect(window("#train-said")).to_contain_text("strong-1: epoch", timeout=WAIT)
        window("#train-stop").click()
        expect(window("#train-start")).to_be_enabled(timeout=WAIT)
        told = re.compile("^strong-1 was stopped after [0-9.]+ s; (?!stopped)")
        expect(window("#train-said")).to_have_text(told)

    def test_close_figures_are_told_apart(self, window: Window) -> None:
        def change(route: "sync_api.Route") -> None:
            answer = route.fetch().json()
            figures = {"loss": 14.21, "accuracy": 0.9871}, {"loss": 14.25, "accuracy": 0.9873}
            points = [{"epoch": at, **each} for at, each in enumerate(figures, start=1)]
            known = {"progress": 1, "epoch": 2, "epochs": 2, "seconds": 9, "scores": []}
            told = {"name": "a-1", "state": "done", "message": None, "test_accuracy": None}
            training = {**known, **told, "preset": "fast", "model": None, "points": points}
            route.fulfill(json=answer | {"trainings": [training]})

        window.page.route("**/v1/trainings", change)
        window.open("train")
        expect(window("#train-said")).to_contain_text("a-1 is done")
        for name, first in (("loss", "14.21"), ("accuracy", "98.710%")):
            labels = window(f"#train-{name} text.y").all_text_contents()
            assert labels[0] == first
            assert len(set(labels)) == len(labels) > 2

    @pytest.mark.parametrize(
        ("answer", "said"),
        [
            ({"available": False, "why_not": "get it with: pip install"}, "pip install"),
            ({"allowed": False}, "on the computer that Mnistry runs on"),
        ],
    )
    def test_where_it_cannot_be(self, window: Window, answer: dict[str, object], said: str) -> None:
        def change(route: "sync_api.Route") -> None:
            route.fulfill(json=route.fetch().json() | answer)

        window.page.route("**/v1/trainings", change)
        window.open("train")
        expect(window("#train-not")).to_contain_text(said)
        expect(window("#train-start")).to_be_disabled()

    def test_a_bad_number_is_explained(self, window: Window) -> None:
        window.open("train")
        expect(window("#train-start")).to_be_enabled()  # the fields are filled in
        window("#train-epochs").fill("1")
        window("#train-rate").fill("0")
        window("#train-start").click()
        expect(window("#train-error")).to_contain_text("Learning rate is 0")
        window("#train-rate").fill("0.1")
        expect(window("#train-error")).to_be_empty()
        window.errors.clear()  # the browser tells that the answer was 422


class TestLine:
    @pytest.mark.parametrize("motion", ["no-preference", "reduce"])
    def test_by_hand_and_by_the_program(self, visit: Callable[..., Window], motion: str) -> None:
        window = visit(reduced_motion=motion)
        window.open("line")
        expect(window("#line-loss")).to_have_text("475.5")  # the tutorial's figure
        window("#line-m").fill("5.1")
        window("#line-b").fill("14.5")
        expect(window("#line-loss")).to_have_text("14.9")
        window("#line-again").click()
        expect(window("#line-loss")).to_have_text("475.5")
        rows = window("#line-table tr")
        expect(rows.nth(2)).to_contain_text("5.12114.45514.879")
        window("#line-step").click()
        expect(rows.nth(1)).to_contain_text("1 step")
        window("#line-play").click()
        expect(window("#line-told")).to_contain_text("Arrived", timeout=WAIT)
        expect(rows.nth(1)).to_contain_text("5.12114.45514.879")
        window("#line-reset").click()
        expect(rows.nth(1)).to_contain_text("program")

    def test_drag_a_point_and_the_place(self, window: Window) -> None:
        window.open("line")
        best = window("#line-table tr").nth(2)
        before = best.inner_text()
        box = window("#line-point-9").bounding_box()
        x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
        window.stroke([(x, y), (x, y + 80)])
        expect(best).not_to_have_text(before)
        window("#line-again").click()
        window("#line-point-9").focus()
        window.page.keyboard.press("ArrowUp")
        expect(window("#line-point-9")).to_have_attribute("aria-valuetext", "x 9.0, y 56.0")
        box = window("#line-places").bounding_box()
        window.stroke([(box["x"] + box["width"] * 0.5, box["y"] + box["height"] * 0.5)] * 2)
        expect(window("#line-loss")).not_to_have_text("475.5")

    def test_a_rate_that_is_too_large(self, window: Window) -> None:
        window.open("line")
        window("#line-rate").fill("0.04")
        expect(window("#line-told")).to_contain_text("From 0.0342 on, every step overshoots")
        window("#line-play").click()
        expect(window("#line-play")).to_have_text("Play", timeout=WAIT)  # it ends all the same
