"""mnistry.picture: image files, made here with Pillow, to grey arrays."""

import io
import os
import re
import struct
import subprocess
import sys
import threading
import tracemalloc
import warnings
import zlib
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, JpegImagePlugin

from mnistry import picture
from mnistry.errors import DataError, LimitError, UsageError
from mnistry.picture import light_on_dark, read_pages, read_picture
from picture_fuzz import written_pdf

RAMP = np.arange(256, dtype=np.uint8).reshape(8, 32)
"""All greys, brighter downwards and to the right."""


def encode(image: Image.Image, form: str = "PNG", **options) -> bytes:
    stream = io.BytesIO()
    image.save(stream, form, **options)
    return stream.getvalue()


def chunk(kind: bytes, data: bytes) -> bytes:
    """A PNG's."""
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png(*chunks: bytes, size: tuple[int, int] = (1, 1), bits: int = 8, kind: int = 0) -> bytes:
    head = chunk(b"IHDR", struct.pack(">2I5B", *size, bits, kind, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + head + b"".join(chunks) + chunk(b"IEND", b"")


PIXEL = chunk(b"IDAT", zlib.compress(b"\0\7"))
INVERSE = list(range(255, -1, -1))
GREY = Image.fromarray(RAMP)
FORMS = ("PNG", "GIF", "BMP", "TIFF", "PPM", "WEBP", "JPEG")


@pytest.mark.parametrize("form", FORMS)
def test_formats(tmp_path: Path, form: str) -> None:
    options = {"lossless": True} if form == "WEBP" else {}
    data = encode(GREY, form, **options)
    (tmp_path / "image").write_bytes(data)
    for source in (data, tmp_path / "image", str(tmp_path / "image")):
        grey = read_picture(source)
        assert grey.dtype == np.uint8
        assert grey.flags.writeable
        np.testing.assert_allclose(grey, RAMP, rtol=0, atol=6 if form == "JPEG" else 1)


class TestModes:
    def test_black_and_white(self) -> None:
        bits = RAMP % 3 == 0
        np.testing.assert_array_equal(
            read_picture(encode(Image.fromarray(bits))), bits * np.uint8(255), strict=True
        )

    def test_colours_by_luminance(self) -> None:
        colours = Image.new("RGB", (3, 1))
        colours.putdata([(255, 0, 0), (0, 255, 0), (0, 0, 255)])
        assert read_picture(encode(colours)).tolist() == [[76, 150, 29]]

    def test_palette(self) -> None:
        image = GREY.convert("P")
        assert image.mode == "P"
        np.testing.assert_array_equal(read_picture(encode(image)), RAMP)

    @pytest.mark.parametrize("form", ["JPEG", "TIFF"])
    def test_cmyk(self, form: str) -> None:
        image = Image.merge("CMYK", [Image.new("L", GREY.size, 0)] * 3 + [GREY.point(INVERSE)])
        data = encode(image, form)
        assert (b"Adobe" in data) == (form == "JPEG")  # which means inverted
        np.testing.assert_allclose(read_picture(data), RAMP, atol=8 if form == "JPEG" else 0)

    @pytest.mark.parametrize("mode", ["YCbCr", "LAB"])
    def test_tiff_of_other_colours(self, mode: str) -> None:
        bands = [GREY, *[Image.new("L", GREY.size, 128)] * 2]
        grey = read_picture(encode(Image.merge(mode, bands), "TIFF"))
        np.testing.assert_array_equal(grey, RAMP)

    @pytest.mark.parametrize("options", [{}, {"keep_rgb": True}, {"progressive": True}])
    def test_a_jpegs_luminance(self, options: dict[str, bool]) -> None:
        """It is taken as it is stored, not worked out from colours that are worked out from it."""
        rng = np.random.default_rng(0)
        noise = rng.integers(0, 256, (6, 9, 3)).astype(np.uint8)
        data = encode(Image.fromarray(noise).resize((90, 60)), "JPEG", quality=95, **options)
        with Image.open(io.BytesIO(data)) as image:
            assert image.mode == "RGB"
            grey = np.asarray(image.convert("L"))
        np.testing.assert_allclose(read_picture(data).astype(int), grey, atol=4)

    @pytest.mark.parametrize("channels", [1, 3])
    def test_png_of_sixteen_bits(self, channels: int) -> None:
        rows = (np.repeat(RAMP[..., None], channels, axis=2).astype(">u2") * 257).tobytes()
        size = len(rows) // 8
        lines = b"".join(b"\0" + rows[at : at + size] for at in range(0, len(rows), size))
        kind = {1: 0, 3: 2}[channels]
        data = png(chunk(b"IDAT", zlib.compress(lines)), size=(32, 8), bits=16, kind=kind)
        np.testing.assert_array_equal(read_picture(data), RAMP)

    def test_a_transparent_grey_of_sixteen_bits(self) -> None:
        values = np.array([[300, 301, 65535]], np.uint16)
        assert read_picture(encode(Image.fromarray(values), transparency=300)).tolist() == [
            [255, 1, 255]
        ]

    def test_zero_is_white(self) -> None:
        values = np.array([[0, 257, 65535]], np.uint16)
        data = encode(Image.fromarray(values), "TIFF", tiffinfo={262: 0})
        assert read_picture(data).tolist() == [[255, 254, 0]]

    def test_twelve_bits(self) -> None:
        data = encode(Image.fromarray(np.array([[0x0F00, 0x00FF]], np.uint16)), "TIFF")
        bits = struct.pack("<HHII", 258, 3, 1, 16)
        assert data.count(bits) == 1
        grey = read_picture(data.replace(bits, struct.pack("<HHII", 258, 3, 1, 12)))
        assert grey.tolist() == [[0, 255]]

    @pytest.mark.parametrize("form", ["PNG", "JPEG", "TIFF", "WEBP"])
    def test_colour_profiles_are_ignored(self, form: str) -> None:
        plain = read_picture(encode(GREY.convert("RGB"), form))
        for profile in (b"nonsense", bytes(200_000)):
            data = encode(GREY.convert("RGB"), form, icc_profile=profile)
            np.testing.assert_array_equal(read_picture(data), plain)

    @pytest.mark.parametrize("form", ["PNG", "TIFF"])
    def test_sixteen_bits(self, form: str) -> None:
        values = np.array([[0, 128, 129, 257, 32896, 65535, 65406]], np.uint16)
        grey = read_picture(encode(Image.fromarray(values), form))
        assert grey.tolist() == [[0, 0, 1, 1, 128, 255, 254]]

    def test_sixteen_bits_big_endian(self) -> None:
        pixels = struct.pack(">2H", 65535, 257)
        assert read_picture(b"P5 2 1 65535\n" + pixels).tolist() == [[255, 1]]

    def test_thirty_two_bits(self) -> None:
        for brightest in (255, 65535, 65536):  # nothing says which of them is white
            image = Image.fromarray(np.array([[0, brightest]], np.int32))
            with pytest.raises(DataError, match="has signed values or 32 bits, expected 8 or 16"):
                read_picture(encode(image, "TIFF"))

    def test_fractions(self) -> None:
        image = Image.fromarray(np.zeros((2, 2), np.float32))
        with pytest.raises(DataError, match="has fractional values"):
            read_picture(encode(image, "TIFF"))


class TestTransparency:
    @pytest.mark.parametrize(("mode", "ink"), [("RGBA", (0, 0, 0)), ("LA", (0,))])
    def test_alpha_is_laid_on_white(self, mode: str, ink: tuple) -> None:
        image = Image.new(mode, (3, 1))
        image.putdata([(*ink, 255), (*ink, 128), (*ink, 0)])
        assert read_picture(encode(image)).tolist() == [[0, 127, 255]]

    @pytest.mark.parametrize("form", ["PNG", "GIF"])
    def test_a_transparent_palette_entry(self, form: str) -> None:
        image = Image.new("P", (2, 1))
        image.putpalette([0, 0, 0, 50, 50, 50])
        image.putdata([0, 1])
        assert read_picture(encode(image, form, transparency=0)).tolist() == [[255, 50]]

    def test_a_palette_with_alpha(self) -> None:
        image = Image.new("P", (2, 1))
        image.putpalette([0, 0, 0, 0, 0, 0])
        image.putdata([0, 1])
        assert read_picture(encode(image, transparency=b"\x00\xff")).tolist() == [[255, 0]]

    def test_white_ink_on_nothing_is_ink(self) -> None:
        image = Image.new("RGBA", (3, 1), (255, 255, 255, 0))
        image.putpixel((1, 0), (255, 255, 255, 200))
        assert read_picture(encode(image)).tolist() == [[255, 55, 255]]

    def test_a_transparent_grey(self) -> None:
        assert read_picture(encode(GREY, transparency=0))[0, :3].tolist() == [255, 1, 2]


@pytest.mark.parametrize("form", ["JPEG", "PNG", "WEBP", "TIFF"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_orientation(form: str, orientation: int) -> None:
    upright = np.zeros((16, 32), np.uint8)
    upright[:8, :8] = 255  # top left
    upright[8:, :8] = 120  # bottom left
    stored = {
        1: upright,
        2: upright[:, ::-1],
        3: upright[::-1, ::-1],
        4: upright[::-1],
        5: upright.T,
        6: np.rot90(upright, 1),
        7: upright[::-1, ::-1].T,
        8: np.rot90(upright, -1),
    }[orientation]
    exif = Image.Exif()
    exif[0x0112] = orientation
    options = {"exif": exif} | ({"quality": 95} if form == "JPEG" else {})
    options |= {"lossless": True} if form == "WEBP" else {}
    grey = read_picture(encode(Image.fromarray(np.ascontiguousarray(stored)), form, **options))
    np.testing.assert_allclose(grey, upright, rtol=0, atol=8)


class TestPages:
    SIZES = ((40, 30), (20, 50), (33, 1))
    IMAGES = tuple(Image.new("L", size, 50 * number) for number, size in enumerate(SIZES))

    @pytest.mark.parametrize("compression", [None, "tiff_lzw", "group4"])
    @pytest.mark.parametrize("big", [False, True])
    def test_tiff(self, tmp_path: Path, compression: str | None, big: bool) -> None:
        first, *rest = [im.convert("1" if compression == "group4" else "L") for im in self.IMAGES]
        data = encode(
            *(first, "TIFF"),
            save_all=True,
            append_images=rest,
            compression=compression,
            big_tiff=big,
        )
        (tmp_path / "scan.tif").write_bytes(data)
        for source in (data, tmp_path / "scan.tif"):
            pages = list(read_pages(source))
            assert [page.shape[::-1] for page in pages] == [*self.SIZES]
            assert all(page.flags.writeable for page in pages)
            if compression != "group4":
                assert [page.max() for page in pages] == [0, 50, 100]
            np.testing.assert_array_equal(read_picture(source), pages[0])

    def test_pages_of_several_kinds_each_turned_its_own_way(self) -> None:
        images = [GREY, GREY.convert("1"), GREY.convert("RGB"), GREY.convert("LA")]
        for number, image in enumerate(images):
            image = images[number] = image.copy()
            image.encoderinfo = {"tiffinfo": {274: (1, 6, 3, 8)[number]}}
        data = encode(images[0], "TIFF", save_all=True, append_images=images[1:])
        pages = list(read_pages(data))
        turns = [0, -1, 2, 1]
        for page, image, turn in zip(pages, images, turns, strict=True):
            expected = np.rot90(np.asarray(image.convert("L")), turn)
            np.testing.assert_array_equal(page, expected)

    def test_thumbnails_and_masks_are_no_pages(self) -> None:
        images = [image.copy() for image in [*self.IMAGES, *self.IMAGES[1:]]]
        for image, kind in zip(images, (0, 1, 2, 4, 0), strict=True):
            image.encoderinfo = {"tiffinfo": {254: kind}}
        data = encode(images[0], "TIFF", save_all=True, append_images=images[1:])
        assert [page.shape[::-1] for page in read_pages(data)] == [(40, 30), (33, 1), (33, 1)]

    @pytest.mark.parametrize("compression", [None, "tiff_lzw"])
    def test_a_cut_never_gives_other_pages(self, compression: str | None) -> None:
        first, *rest = (GREY, GREY.rotate(180), GREY)
        data = encode(first, "TIFF", save_all=True, append_images=rest, compression=compression)
        refused = []
        for end in range(100, len(data), 3):
            pages = []
            try:
                for page in read_pages(data[:end]):
                    pages.append(page)  # noqa: PERF402
            except DataError as error:
                refused.append(str(error).partition(": ")[0])
            else:
                assert len(pages) == 3
            for page, image in zip(pages, (first, *rest), strict=False):
                np.testing.assert_array_equal(page, np.asarray(image))
        name = "the image's bytes"
        assert {name, f"{name}, page 2", f"{name}, page 3"} == set(refused)

    def test_as_many_as_allowed(self) -> None:
        first, *rest = self.IMAGES
        data = encode(first, "TIFF", save_all=True, append_images=rest)
        assert len(list(read_pages(data, max_pages=3))) == 3
        with pytest.raises(LimitError, match="bytes: has more than 2 pages, expected fewer; split"):
            next(read_pages(data, max_pages=2))

    def test_each_page_has_its_own_limit(self, monkeypatch: pytest.MonkeyPatch) -> None:
        first, *rest = self.IMAGES
        data = encode(rest[1], "TIFF", save_all=True, append_images=[first])
        monkeypatch.setattr(picture, "MAX_PIXELS", 1000)
        pages = read_pages(data)
        assert next(pages).shape == (1, 33)
        with pytest.raises(
            DataError, match="bytes, page 2: has 40 x 30 pixels, expected 1 to 1,000"
        ):
            next(pages)

    def test_pages_are_not_kept(self, tmp_path: Path) -> None:
        pages = [Image.new("L", (1000, 1000), number) for number in range(20)]
        pages[0].save(tmp_path / "scan.tif", save_all=True, append_images=pages[1:])
        del pages
        tracemalloc.start()
        assert [page.max() for page in read_pages(tmp_path / "scan.tif")] == list(range(20))
        _, most = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert most < 6_000_000

    def test_pdf(self, tmp_path: Path) -> None:
        first, *rest = self.IMAGES
        data = encode(first, "PDF", save_all=True, append_images=rest, resolution=200)
        (tmp_path / "scan.pdf").write_bytes(data)
        for source in (data, tmp_path / "scan.pdf", b"\n\n" + data):
            pages = list(read_pages(source))
            assert [page.shape[::-1] for page in pages] == [*self.SIZES]
            assert read_picture(source).max() == 0
        (tmp_path / "scan.pdf").write_bytes(data[: len(data) // 5])
        with pytest.raises(DataError, match=r"scan.pdf: is a damaged PDF"):
            list(read_pages(tmp_path / "scan.pdf"))

    def test_pages_of_a_pdf_are_counted(self) -> None:
        with pytest.raises(LimitError, match="has 1 pages, expected 1 to 0"):
            next(read_pages(written_pdf(), max_pages=0))

    @pytest.mark.parametrize("form", ["GIF", "PNG", "WEBP", "MPO"])
    def test_an_animation_gives_its_first_frame(self, form: str) -> None:
        frames = [Image.new("RGB", (16, 16), (value,) * 3) for value in (10, 200)]
        data = encode(frames[0], form, save_all=True, append_images=frames[1:])
        with Image.open(io.BytesIO(data)) as image:
            assert image.n_frames == 2
        (page,) = read_pages(data)
        np.testing.assert_allclose(page, np.full((16, 16), 10), atol=2)


class TestSources:
    def test_a_pil_image(self, tmp_path: Path) -> None:
        (page,) = read_pages(GREY)
        np.testing.assert_array_equal(page, RAMP, strict=True)
        page[:] = 0
        np.testing.assert_array_equal(np.asarray(GREY), RAMP)
        GREY.convert("RGB").save(tmp_path / "image.jpg", quality=95)
        with Image.open(tmp_path / "image.jpg") as image:  # not decoded yet
            assert isinstance(image, JpegImagePlugin.JpegImageFile)
            np.testing.assert_allclose(read_picture(image), RAMP, atol=8)
            assert image.mode == "RGB"
            image.load()

    def test_a_damaged_pil_image(self) -> None:
        with (
            Image.open(io.BytesIO(encode(GREY, "BMP")[:-50])) as image,
            pytest.raises(DataError, match=r"^the PIL image: is damaged or cut off"),
        ):
            read_picture(image)

    def test_an_array(self) -> None:
        (page,) = read_pages(RAMP)
        np.testing.assert_array_equal(page, RAMP, strict=True)
        assert not np.shares_memory(page, RAMP)

    @pytest.mark.parametrize("make", [Image.fromarray, np.asarray])
    def test_the_limits_of_either(
        self, make: Callable[[np.ndarray], Any], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(picture, "MAX_PIXELS", 255)
        with pytest.raises(DataError, match=r"^the .*: has 32 x 8 pixels, expected 1 to 255"):
            read_picture(make(RAMP))

    @pytest.mark.parametrize("shape", [(0, 5), (5, 0), (0, 0, 3)])
    def test_nothing(self, shape: tuple[int, ...]) -> None:
        with pytest.raises(DataError, match="pixels, expected 1 to 50,000,000"):
            read_picture(np.zeros(shape, np.uint8))
        with pytest.raises(DataError, match="pixels, expected 1 to 50,000,000"):
            read_picture(Image.new("L", shape[:2]))

    @pytest.mark.parametrize("source", [None, 1, [[0, 1]], bytearray(b"x"), io.BytesIO(b"x")])
    def test_others(self, source: Any) -> None:
        kind = type(source).__name__
        with pytest.raises(UsageError, match=rf"^the image: is of type {kind}, expected a file's"):
            read_picture(source)
        with pytest.raises(UsageError, match=r"^the array: is of int64, expected uint8, uint16"):
            read_picture(np.zeros((2, 2), int))

    @pytest.mark.parametrize("data", [encode(GREY), encode(GREY, "TIFF"), written_pdf()])
    def test_a_pipe_that_is_the_standard_input(self, data: bytes) -> None:
        code = "from mnistry.picture import read_pages as r; print(*map(len, r('/dev/stdin')))"
        done = subprocess.run([sys.executable, "-c", code], input=data, capture_output=True)
        assert done.stdout in (b"8\n", b"278\n"), done.stderr


class TestErrors:
    @pytest.mark.parametrize(
        ("content", "said"),
        [
            (b"", "is no readable image (starts with nothing: it is empty)"),
            (b"hello, world", "is no readable image (starts with 68 65 6c 6c 6f 2c 20 77)"),
            (encode(GREY)[:50], "is damaged or cut off"),
            (encode(GREY, "GIF")[:9], "is damaged or cut off near its start"),
            (encode(GREY, "WEBP")[:-9], "is damaged or cut off"),
            (encode(GREY, "BMP")[:-9], "is damaged or cut off"),
            (encode(GREY, "JPEG")[:-300], "is damaged or cut off"),
            (encode(GREY, "GIF")[:-80], "is damaged or cut off"),
            (encode(GREY, "TIFF")[:-300], "is"),
            (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EndComments\n", "is PostScript"),
            (b'<?xml version="1.0"?>\n<svg xmlns="http://www.w3.org/2000/svg"/>', "is SVG, a dra"),
            (b"\0\0\0\x18ftypheic\0\0\0\0mif1heic", "is HEIC, which is not read here"),
            (encode(GREY, "TGA"), "is no readable image"),  # has no size that can be trusted
        ],
        ids=lambda value: value[:8].hex() if isinstance(value, bytes) else "",
    )
    def test_damage(self, tmp_path: Path, content: bytes, said: str) -> None:
        path = tmp_path / "image.png"
        path.write_bytes(content)
        for source, name in ((path, str(path)), (content, "the image's bytes")):
            with pytest.raises(DataError) as caught:
                read_picture(source)
            assert str(caught.value).startswith(f"{name}: ")
            assert said in str(caught.value)
            assert "expected an image file" in str(caught.value)
            assert "\n" not in str(caught.value)

    @pytest.mark.parametrize("form", ["PNG", "BMP", "PPM", "TIFF"])
    def test_a_cut_never_gives_other_pixels(self, form: str) -> None:
        noise = np.random.default_rng(0).integers(0, 256, (28, 28), dtype=np.uint8)
        data = encode(Image.fromarray(noise), form)
        refused = 0
        for end in range(0, len(data), 7):
            try:
                grey = read_picture(data[:end])
            except DataError:
                refused += 1
            else:
                np.testing.assert_array_equal(grey, noise)
        assert refused > 100

    @pytest.mark.parametrize("name", ["missing.png", "", "nul\0", "n" * 5000])
    def test_unreadable(self, tmp_path: Path, name: str) -> None:
        with pytest.raises(DataError, match=r"cannot be read \("):
            read_picture(tmp_path / name)

    @pytest.mark.parametrize(
        "size", [(10_000, 9_000), (7072, 7072), (60_000, 60_000), (2**31 - 1, 1)]
    )
    def test_a_bomb_is_not_decoded(self, size: tuple[int, int]) -> None:
        bomb = png(chunk(b"IDAT", zlib.compress(bytes(1000))), size=size)
        with pytest.raises(DataError, match="expected 1 to 50,000,000; scale it down"):
            read_picture(bomb)

    @pytest.mark.parametrize("kind", [b"zTXt", b"iTXt"])
    def test_a_bomb_of_text_in_a_png(self, kind: bytes) -> None:
        text = b"a\0" + (b"\0" if kind == b"zTXt" else b"\1\0\0\0")
        bomb = png(chunk(kind, text + zlib.compress(bytes(100_000_000), 9)), PIXEL)
        with pytest.raises(DataError, match="Decompressed data too large"):
            read_picture(bomb)

    def test_a_png_with_more_data_than_pixels(self) -> None:
        bomb = png(chunk(b"IDAT", zlib.compress(b"\0\7" + bytes(100_000_000), 9)))
        assert read_picture(bomb).tolist() == [[7]]

    def test_a_jpeg_of_very_many_scans(self) -> None:
        data = encode(Image.new("L", (99, 99)), "JPEG", progressive=True)
        scan = data[data.rindex(b"\xff\xda") : -2]
        assert read_picture(data[:-2] + scan * 50 + data[-2:]).shape == (99, 99)
        with pytest.raises(DataError, match=r"is a JPEG of 5,006 scans; .*, with at most 100; sav"):
            read_picture(data[:-2] + scan * 5000 + data[-2:])

    @pytest.mark.parametrize("screen", [(1, 1), (65535, 65535)])
    def test_a_gif_that_lies(self, screen: tuple[int, int]) -> None:
        start = b"GIF89a" + struct.pack("<2H", *screen) + b"\0\0\0,"
        gif = start + struct.pack("<4H", 0, 0, 65535, 65535) + b"\0\2\2D\1\0;"
        with pytest.raises(DataError, match=r"has 4,294,836,225 pixels|65535 x 65535 pixels"):
            read_picture(gif)

    @pytest.mark.parametrize("side", [7072, 16384])
    def test_a_webp_that_lies(self, side: int) -> None:
        data = encode(GREY, "WEBP", lossless=True)[12:]
        canvas = struct.pack("<I", side - 1)[:3] * 2
        data = b"WEBPVP8X" + struct.pack("<I", 10) + bytes(4) + canvas + data
        with pytest.raises(DataError, match=r"pixels, expected 1 to 50,000,000|is damaged or"):
            read_picture(b"RIFF" + struct.pack("<I", len(data)) + data)

    @pytest.mark.parametrize(
        "lie",
        [
            {256: 60_000, 257: 60_000},
            {256: 0, 257: 0},
            {256: 7000, 257: 7000, 278: 7000, 279: 49_000_000},
            {258: 64},
            {259: 4},
            {259: 5},
            {259: 7},
            {273: 2**32 - 1},
            {277: 65535},
            {278: 0},
            {279: 2**32 - 1},
        ],
        ids=str,
    )
    def test_a_tiff_that_lies(self, lie: dict[int, int]) -> None:
        tags = {256: 4, 257: 4, 258: 8, 259: 1, 262: 1, 273: 8, 277: 1, 278: 4, 279: 16} | lie
        entries = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in tags.items())
        data = b"II*\0" + struct.pack("<I", 24) + bytes(16) + struct.pack("<H", len(tags))
        try:
            grey = read_picture(data + entries + bytes(4))
        except DataError as error:
            said = str(error)
        else:
            said = str(grey.shape)
        assert re.search(r"damaged or cut off|has 3,600,000,000 pixels|^\(4, 4\)$", said)

    def test_a_file_of_too_many_bytes(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        (tmp_path / "image.png").write_bytes(encode(GREY))
        monkeypatch.setattr(picture, "MAX_BYTES", 50)
        with pytest.raises(DataError, match=r"image.png: has more than 50 bytes; expected an imag"):
            read_picture(tmp_path / "image.png")

    def test_a_huge_file_is_not_read(self, tmp_path: Path) -> None:
        with open(tmp_path / "image.png", "wb") as file:
            file.truncate(50_000_000_000)
        with pytest.raises(DataError, match=r"has more than 1,000,000,000 bytes"):
            read_picture(tmp_path / "image.png")

    @pytest.mark.parametrize("name", ["/dev/null", "/dev/zero", "/dev/urandom"])
    def test_devices_are_no_files(self, name: str) -> None:
        with pytest.raises(
            DataError, match=r"^/dev/.*: cannot be read \(it is a device and no fil"
        ):
            read_picture(name)

    def test_a_folder(self, tmp_path: Path) -> None:
        with pytest.raises(DataError, match=r"cannot be read \(Is a directory\)"):
            read_picture(tmp_path)

    def test_a_pipe(self, tmp_path: Path) -> None:
        os.mkfifo(tmp_path / "image.png")
        with pytest.raises(DataError, match=r"cannot be read \(it is a pipe and no file\)"):
            read_picture(tmp_path / "image.png")

    def test_the_limit_itself(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(picture, "MAX_PIXELS", RAMP.size)
        assert read_picture(encode(GREY)).shape == RAMP.shape
        monkeypatch.setattr(picture, "MAX_PIXELS", RAMP.size - 1)
        with pytest.raises(DataError, match="has 32 x 8 pixels, expected 1 to 255"):
            read_picture(encode(GREY))


def test_threads_leave_the_warnings_as_they_were() -> None:
    before = list(warnings.filters)
    palette = Image.new("P", (2, 1))
    data = encode(palette, transparency=b"\x00\xff")
    threads = [
        threading.Thread(target=lambda: [read_picture(data) for _ in range(50)]) for _ in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert warnings.filters == before


def test_threads_do_not_wait_for_each_other() -> None:
    other_is_done = threading.Event()

    class Slow(Image.Image):
        def load(self) -> Any:
            assert other_is_done.wait(20)
            return super().load()

    slow = Slow()
    slow.im, slow._mode, slow._size = GREY.im, GREY.mode, GREY.size
    with ThreadPoolExecutor(1) as pool:
        page = pool.submit(read_picture, slow)
        np.testing.assert_array_equal(read_picture(encode(GREY)), RAMP)
        other_is_done.set()
        np.testing.assert_array_equal(page.result(), RAMP)


class TestLightOnDark:
    @pytest.mark.parametrize(("border", "inverted"), [(127, False), (128, True), (255, True)])
    def test_a_bright_border_is_paper(self, border: int, inverted: bool) -> None:
        image = np.full((28, 28), 40, np.uint8)
        image[[0, -1]] = image[:, [0, -1]] = border
        expected = 255 - image if inverted else image
        np.testing.assert_array_equal(light_on_dark(image), expected, strict=True)

    def test_real_digits_keep_their_polarity(self, mnist_dir: Path) -> None:
        from mnistry.dataset import load_dataset

        for digit in load_dataset("mnist", mnist_dir).test.images[:50]:
            for image in (digit, 255 - digit):
                np.testing.assert_array_equal(light_on_dark(image), digit)


class TestFuzz:
    """Of damaged files every one gives pages or an error, in time; see picture_fuzz."""

    def test_some(self) -> None:
        _read_mutants(0, 2_400)

    @pytest.mark.slow
    def test_many(self) -> None:
        _read_mutants(2_400, 21_600)


def _read_mutants(first: int, count: int) -> None:
    program = Path(__file__).with_name("picture_fuzz.py")
    done = subprocess.run(
        [sys.executable, str(program), str(first), str(count)], capture_output=True, text=True
    )
    last = done.stdout.splitlines()[-1]
    assert (last, done.returncode) == ("done", 0), f"{last}: {done.stderr[-2000:]}"
    assert len(re.findall(" read'", done.stdout)) == 9  # of every format some are still read
