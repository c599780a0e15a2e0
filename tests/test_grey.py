"""mnistry.grey: arrays and PIL images of every kind to grey. Files are in test_picture."""

import numpy as np
import pytest
from PIL import Image

from mnistry.errors import DataError, UsageError
from mnistry.grey import grey_array, grey_image

RAMP = np.arange(256, dtype=np.uint8).reshape(8, 32)


class TestArrays:
    @pytest.mark.parametrize(
        "array",
        [
            RAMP,
            RAMP[..., None],
            RAMP.astype(">u2") * 257,
            RAMP.astype(np.uint16) * 257,
            RAMP / 255,
            (RAMP / 255).astype(np.float32),
            np.asfortranarray(RAMP),
            np.repeat(RAMP, 2, axis=1)[:, ::2],
            np.stack([RAMP] * 3, axis=2),
            np.stack([RAMP, np.full_like(RAMP, 255)], axis=2),
            np.stack([RAMP / 255] * 3 + [np.ones(RAMP.shape)], axis=2),
            np.stack([RAMP.astype(np.uint16) * 257] * 3, axis=2),
        ],
        ids=lambda array: f"{array.dtype.str} {array.shape[2:]} {array.strides}",
    )
    def test_kinds(self, array: np.ndarray) -> None:
        before = array.copy()
        grey = grey_array(array)
        np.testing.assert_array_equal(grey, RAMP, strict=True)
        assert grey.flags.writeable
        assert grey.flags.c_contiguous
        assert not np.shares_memory(grey, array)
        np.testing.assert_array_equal(array, before, strict=True)

    def test_half_precision(self) -> None:
        grey = grey_array(np.linspace(0, 1, 256, dtype=np.float16)[None])
        np.testing.assert_allclose(grey[0], np.arange(256), atol=1)

    def test_true_is_white(self) -> None:
        assert grey_array(np.array([[True, False]])).tolist() == [[255, 0]]
        assert grey_array(np.ones((1, 1, 3), bool)).tolist() == [[255]]

    def test_sixteen_bits_are_rounded(self) -> None:
        values = np.arange(65536, dtype=np.uint16)[None]
        np.testing.assert_array_equal(
            grey_array(values)[0], np.rint(values[0] / 257).astype(np.uint8)
        )

    def test_channels(self) -> None:
        array = np.array([[[255, 0, 0], [0, 255, 0], [0, 0, 255]]], np.uint8)
        assert grey_array(array).tolist() == [[76, 150, 29]]
        clear = np.array([[[0, 255], [0, 128], [0, 0]]], np.uint8)
        assert grey_array(clear).tolist() == [[0, 127, 255]]
        assert grey_array(np.repeat(clear, [3, 1], axis=2)).tolist() == [[0, 127, 255]]

    @pytest.mark.parametrize(
        ("array", "said"),
        [
            (np.array(3), r"has shape \(\), expected \(h, w\)"),
            (np.zeros(28), r"has shape \(28,\)"),
            (np.zeros((3, 28, 28)), r"has shape \(3, 28, 28\)"),
            (np.zeros((2, 2, 0)), r"has shape \(2, 2, 0\)"),
            (np.zeros((2, 2, 2, 2)), r"has shape \(2, 2, 2, 2\)"),
            (np.zeros((2, 2), int), "is of int64, expected uint8, uint16, bool, or floats"),
            (np.zeros((2, 2), np.int8), "is of int8"),
            (np.zeros((2, 2), np.uint32), "is of uint32"),
            (np.zeros((2, 2), complex), "is of complex128"),
            (np.full((2, 2), "1"), "is of <U1"),
            (np.full((2, 2), None), "is of object"),
            (np.full((2, 2), 255.0), "has fractional values from 255 to 255, expected 0 black"),
            (np.full((2, 2), -0.1), "has fractional values from -0.1 to -0.1"),
            (np.full((2, 2), np.nan), r"has values that are no numbers \(NaN\), expected 0 black"),
            (np.full((2, 2), 255, np.uint16), "is of uint16 with values up to 255, expected 0"),
            (np.array([[0, np.inf]]), "has fractional values from 0 to inf"),
        ],
    )
    def test_others(self, array: np.ndarray, said: str) -> None:
        with pytest.raises(UsageError, match=f"^the array: {said}"):
            grey_array(array)


class TestImages:
    @pytest.mark.parametrize(
        "mode", ["1", "L", "LA", "La", "P", "PA", "RGB", "RGBA", "RGBa", "RGBX", "CMYK", "YCbCr"]
    )
    @pytest.mark.parametrize("value", [0, 255])
    def test_modes(self, mode: str, value: int) -> None:
        image = Image.new("L", (3, 2), value)
        if mode == "La":
            image = image.convert("LA").convert(mode)
        elif mode in ("RGBA", "RGBa", "RGBX", "CMYK", "YCbCr"):
            image = image.convert("RGB").convert("RGBA" if mode == "RGBa" else mode).convert(mode)
        else:
            image = image.convert(mode)
        assert image.mode == mode
        grey = grey_image(image, "x")
        np.testing.assert_array_equal(grey, np.full((2, 3), value, np.uint8), strict=True)
        assert grey.flags.writeable

    def test_lab(self) -> None:
        image = Image.merge("LAB", [Image.fromarray(RAMP)] * 3)
        np.testing.assert_array_equal(grey_image(image, "x"), RAMP)

    def test_hsv(self) -> None:
        assert grey_image(Image.new("HSV", (1, 1), (99, 0, 200)), "x").tolist() == [[200]]

    @pytest.mark.parametrize("mode", ["I;16", "I;16L", "I;16B"])
    def test_sixteen_bits(self, mode: str) -> None:
        image = Image.new(mode, (2, 1))
        image.putpixel((1, 0), 257 * 99)
        assert grey_image(image, "x").tolist() == [[0, 99]]

    @pytest.mark.parametrize(
        ("mode", "said"), [("I", "signed values or 32 bits"), ("F", "fractional values")]
    )
    def test_values_without_a_white(self, mode: str, said: str) -> None:
        with pytest.raises(DataError, match=f"^x: has {said}, expected 8 or 16"):
            grey_image(Image.new(mode, (2, 2)), "x")

    def test_the_image_stays_as_it_is(self) -> None:
        image = Image.fromarray(np.stack([RAMP] * 3, axis=2))
        image.getexif()[0x0112] = 6
        before = image.copy()
        grey = grey_image(image, "x")
        np.testing.assert_array_equal(grey, np.rot90(RAMP, -1))
        grey[:] = 0
        assert image == before
        assert image.getexif()[0x0112] == 6

    def test_an_opaque_white_page_with_alpha_is_white(self) -> None:
        for mode in ("LA", "RGBA"):
            image = Image.new(mode, (2, 2), "white")
            assert grey_image(image, "x").min() == 255

    def test_nothing_at_all_is_white(self) -> None:
        assert grey_image(Image.new("RGBA", (2, 2)), "x").min() == 255

    def test_an_orientation_out_of_range_is_none(self) -> None:
        for value in (0, 9, "6", 65535):
            image = Image.fromarray(RAMP)
            image.getexif()[0x0112] = value
            np.testing.assert_array_equal(grey_image(image, "x"), RAMP)

    @pytest.mark.parametrize(
        ("dpi", "size"),
        [
            ((204, 98), (60, 83)),
            ((98, 204), (125, 40)),
            ((300, 300), (60, 40)),
            ((204, 196), (60, 40)),  # of a fine fax: near enough
            ((900, 100), (60, 40)),
            ((0, 100), (60, 40)),
            ((float("nan"), 100), (60, 40)),
            ("many", (60, 40)),
            (None, (60, 40)),
        ],
    )
    def test_pixels_become_square(
        self, dpi: object, size: tuple[int, int], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        image = Image.new("L", (60, 40), 255)
        for known in ({"dpi": dpi}, {"aspect": dpi}, {"jfif_density": dpi, "jfif_unit": 0}):
            image.info = known
            assert grey_image(image, "x").shape == size[::-1]
        image.info = {"jfif_density": dpi, "jfif_unit": 1}  # Pillow has made it dpi
        assert grey_image(image, "x").shape == (40, 60)
        image.info = {"dpi": dpi}
        monkeypatch.setattr("mnistry.grey._LARGE", 100)
        small = {(60, 83): (29, 40), (125, 40): (60, 19)}
        assert grey_image(image, "x").shape == small.get(size, size)[::-1]
