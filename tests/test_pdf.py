"""mnistry.pdf: PDFs, written here by hand and by Pillow, to grey pages."""

import importlib.util
import io
import subprocess
import sys
import time
import zlib
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import numpy as np
import pytest
from PIL import Image

from mnistry import pdf
from mnistry.errors import DataError, DependencyError
from mnistry.pdf import draw, draw_pages
from picture_fuzz import mutant, pdf_stream, written_pdf


def pages(data: bytes, most: int = 1000) -> list[np.ndarray]:
    return list(draw_pages(io.BytesIO(data), "x.pdf", most))


def of_images(*images: Image.Image, dpi: float = pdf.DPI) -> bytes:
    stream = io.BytesIO()
    rest = list(images[1:])
    images[0].save(stream, "PDF", resolution=dpi, save_all=True, append_images=rest, quality=95)
    return stream.getvalue()


def laughs(depth: int) -> bytes:
    """A form that draws ten forms that draw ten forms that ..."""
    head = b"/Type/XObject/Subtype/Form/BBox[0 0 200 100]"
    forms = [
        pdf_stream(b"/F Do " * 10, head + b"/Resources<</XObject<</F %d 0 R>>>>" % (number + 7))
        for number in range(depth)
    ]
    forms.append(pdf_stream(b"0 0 9 9 re f", head))
    return written_pdf(b"/F Do", more=tuple(forms))


def test_what_is_drawn() -> None:
    (page,) = pages(written_pdf(b"0.5 g 100 50 100 50 re f"))
    assert page.shape == (278, 556)  # 100 x 200 points at 200 dpi
    assert page.dtype == np.uint8
    assert page.flags.writeable
    assert page[20, 20] == 255
    assert page[20, 400] in (127, 128)
    assert (page[100:200, 50:180] < 60).sum() > 500  # "42"
    assert (page[250:, :50] == 255).all()


def test_scans_come_back_as_they_were() -> None:
    rng = np.random.default_rng(0)
    scans = [
        Image.fromarray(rng.integers(0, 256, (9, 7)).astype(np.uint8)).resize((340, 233 + number))
        for number in range(3)
    ]
    for scan, page in zip(scans, pages(of_images(*scans)), strict=True):
        assert page.shape == (scan.height, scan.width)
        assert np.abs(page.astype(int) - np.asarray(scan)).mean() < 2


def test_colours_become_their_luminance() -> None:
    (page,) = pages(written_pdf(b"1 0 0 rg 0 0 200 100 re f"))
    assert 70 < page[5, 5] < 80


def test_a_rotated_page() -> None:
    data = written_pdf(b"0 0 20 20 re f").replace(b"/Contents", b"/Rotate 90/Contents")
    (page,) = pages(data)
    assert page.shape == (556, 278)
    assert page[10, 10] == 0  # what was at the lower left


def test_an_annotation_is_drawn() -> None:
    ink = b"<</Type/Annot/Subtype/Ink/Rect[0 0 50 50]/F 4/AP<</N 7 0 R>>>>"
    look = pdf_stream(b"0 0 50 50 re f", b"/Type/XObject/Subtype/Form/BBox[0 0 50 50]")
    data = written_pdf(more=(ink, look)).replace(b"/Contents", b"/Annots[6 0 R]/Contents")
    assert pages(data)[0][270, 10] == 0


@pytest.mark.parametrize(
    ("box", "shape"),
    [
        ("0 0 2000 2000", (4000, 4000)),  # would have 5,556 x 5,556
        ("0 0 10000 10", (28, 27778)),
        ("0 0 100000 100000", (4000, 4000)),
        ("0 0 0.001 0.001", (1, 1)),
        ("0 0 0 0", (2200, 1700)),  # PDFium's own: letter
        ("1 2 3", (2200, 1700)),
        ("0 0 1e38 1e38", (2200, 1700)),
        ("100 50 0 0", (139, 278)),
    ],
)
def test_sizes(box: str, shape: tuple[int, int]) -> None:
    (page,) = pages(written_pdf(box=box))
    assert page.shape == shape


def test_a_page_that_is_hardly_one() -> None:
    with pytest.raises(DataError, match=r"damaged PDF \(a page of 1e\+08 x 0.0001 points\)"):
        pages(written_pdf(box="0 0 100000000 0.0001"))


class TestPages:
    PAGE = Image.new("L", (30, 20), 100)

    def test_as_many_as_allowed(self) -> None:
        data = of_images(*[self.PAGE] * 4)
        assert len(pages(data, most=4)) == 4
        with pytest.raises(DataError, match=r"^x.pdf: has 4 pages, expected 1 to 3; split it"):
            pages(data, most=3)

    def test_none(self) -> None:
        data = written_pdf().replace(b"/Kids[3 0 R]/Count 1", b"/Kids[     ]/Count 0")
        with pytest.raises(DataError, match=r"^x.pdf: has 0 pages|is a damaged PDF"):
            pages(data)

    def test_a_damaged_one_after_others(self) -> None:
        data = of_images(*[self.PAGE] * 3)
        kids = data[data.index(b"/Kids [") :].split(b"]")[0]
        third = kids.split()[-3]
        taken = draw_pages(
            io.BytesIO(data.replace(kids, kids.replace(third, b"9" * len(third)))), "x.pdf", 9
        )
        assert [next(taken).shape, next(taken).shape] == [(20, 30)] * 2
        with pytest.raises(
            DataError, match=r"^x.pdf, page 3: is a damaged PDF \(Failed to load page\)"
        ):
            next(taken)

    def test_whoever_stops_ends_the_process(self, started: list[Any]) -> None:
        taken = draw_pages(io.BytesIO(of_images(*[self.PAGE] * 50)), "x.pdf", 50)
        next(taken)
        assert started[0].poll() is None
        taken.close()
        assert started[0].returncode is not None


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[Any]]:
    """The processes that were started; none may be left."""
    all_, start = [], subprocess.Popen

    def record(*arguments: Any, **options: Any) -> Any:
        all_.append(start(*arguments, **options))
        return all_[-1]

    monkeypatch.setattr(subprocess, "Popen", record)
    yield all_
    assert all(process.returncode is not None for process in all_)


@pytest.mark.usefixtures("started")
class TestErrors:
    @pytest.mark.parametrize(
        ("data", "said"),
        [
            (b"%PDF-1.7\n", "is a damaged PDF (Failed to load document"),
            (b"%PDF-1.7\nhello" * 99, "is a damaged PDF (Failed to load document"),
            (written_pdf()[:300], "is a damaged PDF (Failed to load"),
        ],
    )
    def test_damage(self, data: bytes, said: str) -> None:
        with pytest.raises(DataError) as caught:
            pages(data)
        message = str(caught.value)
        assert message.startswith(f"x.pdf: {said}")
        assert "expected a sound one; take a fresh copy, print it to a new PDF" in message
        assert "\n" not in message

    @pytest.mark.parametrize("revision", [2, 3])
    def test_a_password(self, revision: int) -> None:
        key = b"<%s>" % (b"41" * 32)
        entries = b"<</Filter/Standard/V %d/R %d/Length 40/P -4/O %s/U %s>>" % (
            *(revision - 1, revision, key, key),
        )
        data = written_pdf(more=(entries,)).replace(
            b"/Root 1 0 R", b"/Root 1 0 R/Encrypt 6 0 R/ID[<41><41>]"
        )
        with pytest.raises(DataError, match=r"^x.pdf: is encrypted, expected one that opens wi"):
            pages(data)

    def test_one_that_never_ends(self, monkeypatch: pytest.MonkeyPatch) -> None:
        assert pages(laughs(3))[0].min() == 0
        monkeypatch.setattr(pdf, "SECONDS", 1)
        start = time.monotonic()
        with pytest.raises(DataError, match=r"^x.pdf: takes longer than 1 s to draw, expected"):
            pages(laughs(12))
        assert time.monotonic() - start < 20

    def test_a_bomb_of_text(self) -> None:
        bomb = zlib.compress(zlib.compress(bytes(20_000_000), 9), 9)
        more = pdf_stream(
            bomb, b"/Type/XObject/Subtype/Form/BBox[0 0 9 9]/Filter[/FlateDecode/FlateDecode]"
        )
        assert len(more) < 1000
        assert pages(written_pdf(b"/F Do", more=(more,)))[0].shape == (278, 556)

    def test_a_process_that_ends_at_once(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(sys, "executable", "/bin/false")
        for data in (b"%PDF-", bytes(3_000_000)):  # more than fits in a pipe
            with pytest.raises(DataError, match=r"^x.pdf: cannot be drawn \(PDFium ended with co"):
                pages(data)

    def test_no_interpreter(self, monkeypatch: pytest.MonkeyPatch) -> None:
        for found in ("", None, "/nowhere/python"):
            monkeypatch.setattr(sys, "executable", found)
            with pytest.raises(DataError, match=r"^x.pdf: is a PDF, and the process that draws"):
                pages(written_pdf())


def test_pdfium_is_never_loaded_here() -> None:
    code = (
        "import io, sys; from mnistry.picture import read_picture as r; r(sys.stdin.buffer.read())"
    )
    code += "; assert not {'pypdfium2', 'PIL'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], input=written_pdf(), check=True)


def test_without_pypdfium2(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", {}.get)
    with pytest.raises(DependencyError, match=r"^pypdfium2 is not installed; "):
        pages(written_pdf())


def test_mutants_in_their_own_process() -> None:
    """Few: most are drawn in picture_fuzz's."""
    seeds = [seed for seed in range(400) if mutant(seed)[1].startswith(b"%PDF-")][:25]
    assert len(seeds) == 25
    for seed in seeds:
        with suppress(DataError):
            assert all(page.dtype == np.uint8 for page in pages(mutant(seed)[1], most=9)), seed


def test_what_the_process_says() -> None:
    said = list(draw(written_pdf()))
    assert said[:2] == [b"next 1\n", b"next 556 278\n"]
    assert len(said[2]) == 556 * 278
