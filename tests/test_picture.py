"""mnistry.picture: image files, made here with Pillow, to grey arrays."""

import io
import struct
import threading
import warnings
import zlib
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from mnistry import picture
from mnistry.errors import DataError
from mnistry.picture import read_digit, read_picture

RAMP = np.arange(256, dtype=np.uint8).reshape(8, 32)
"""All greys, brighter downwards and to the right."""


def encode(image: Image.Image, form: str = "PNG", **options) -> bytes:
    stream = io.BytesIO()
    image.save(stream, form, **options)
    return stream.getvalue()


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

    def test_cmyk(self) -> None:
        grey = read_picture(encode(Image.new("CMYK", (9, 9), (0, 0, 0, 255)), "JPEG"))
        assert grey.max() < 10

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
            with pytest.raises(DataError, match="has values of 32 bits, expected 8 or 16"):
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


def test_an_animation_gives_its_first_frame() -> None:
    frames = [Image.new("L", (4, 4), value) for value in (10, 200)]
    data = encode(frames[0], "GIF", save_all=True, append_images=frames[1:])
    assert read_picture(data).tolist() == [[10] * 4] * 4


class TestErrors:
    @pytest.mark.parametrize(
        ("content", "said"),
        [
            (b"", "is no readable image (starts with nothing: it is empty)"),
            (b"hello, world", "is no readable image (starts with 68 65 6c 6c 6f 2c 20 77)"),
            (encode(GREY)[:50], "is damaged or cut off"),
            (encode(GREY, "JPEG")[:-300], "is damaged or cut off"),
            (encode(GREY, "GIF")[:-80], "is damaged or cut off"),
            (encode(GREY, "TIFF")[:-300], "is"),
            (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EndComments\n", "PostScript"),
        ],
        ids=["empty", "text", "PNG", "JPEG", "GIF", "TIFF", "EPS"],
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
        def chunk(kind: bytes, data: bytes) -> bytes:
            checksum = struct.pack(">I", zlib.crc32(kind + data))
            return struct.pack(">I", len(data)) + kind + data + checksum

        header = struct.pack(">2I5B", *size, 8, 0, 0, 0, 0)
        bomb = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header)
        bomb += chunk(b"IDAT", zlib.compress(bytes(1000))) + chunk(b"IEND", b"")
        with pytest.raises(DataError, match="expected 1 to 50000000; scale it down"):
            read_picture(bomb)

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


class TestDigit:
    DIGIT = np.zeros((28, 28), np.uint8)
    DIGIT[4:24, 10:18] = RAMP[-1, -8:]

    def test_as_mnist(self, tmp_path: Path) -> None:
        Image.fromarray(self.DIGIT).save(tmp_path / "digit.png")
        np.testing.assert_array_equal(read_digit(tmp_path / "digit.png"), self.DIGIT, strict=True)

    def test_ink_on_paper_is_inverted(self, tmp_path: Path) -> None:
        Image.fromarray(255 - self.DIGIT).save(tmp_path / "digit.png")
        np.testing.assert_array_equal(read_digit(tmp_path / "digit.png"), self.DIGIT, strict=True)

    @pytest.mark.parametrize(("border", "inverted"), [(127, False), (128, True)])
    def test_half_bright_borders(self, tmp_path: Path, border: int, inverted: bool) -> None:
        image = np.full((28, 28), 40, np.uint8)
        image[[0, -1]] = image[:, [0, -1]] = border
        Image.fromarray(image).save(tmp_path / "digit.png")
        expected = 255 - image if inverted else image
        np.testing.assert_array_equal(read_digit(tmp_path / "digit.png"), expected)

    @pytest.mark.parametrize("size", [(27, 28), (28, 29), (280, 280)])
    def test_another_size(self, tmp_path: Path, size: tuple[int, int]) -> None:
        Image.new("L", size).save(tmp_path / "digit.png")
        with pytest.raises(
            DataError, match=rf"digit.png: is {size[0]} x {size[1]} pixels, expected 28 x 28"
        ):
            read_digit(tmp_path / "digit.png")

    def test_real_digits_keep_their_polarity(self, tmp_path: Path, mnist_dir: Path) -> None:
        from mnistry.dataset import load_dataset

        for index, digit in enumerate(load_dataset("mnist", mnist_dir).test.images[:50]):
            path = tmp_path / f"{index}.png"
            for image in (digit, 255 - digit):
                Image.fromarray(image).save(path)
                np.testing.assert_array_equal(read_digit(path), digit)


SAMPLES = [
    *(encode(GREY, form) for form in FORMS),
    encode(Image.new("RGBA", (5, 5), (1, 2, 3, 99))),
    encode(GREY, "ICO"),
    encode(GREY, "TGA"),
    encode(GREY.convert("P"), transparency=b"\x00\xff"),
]


def mutated(data: st.DataObject) -> None:
    content = bytearray(data.draw(st.sampled_from(SAMPLES)))
    for _ in range(data.draw(st.integers(0, 5))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    try:
        grey = read_picture(
            bytes(content[: data.draw(st.integers(len(content) // 2, len(content)))])
        )
    except DataError:
        return
    assert grey.dtype == np.uint8
    assert grey.ndim == 2


@settings(max_examples=150)
@given(st.data())
def test_any_bytes_give_an_image_or_an_error(data: st.DataObject) -> None:
    mutated(data)


@pytest.mark.slow
@settings(max_examples=10_000)
@given(st.data())
def test_many_bytes_give_an_image_or_an_error(data: st.DataObject) -> None:
    mutated(data)
