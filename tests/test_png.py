"""mnistry.png: plain PNG files by OpenCV, as Pillow decodes them; all others left alone."""

import io
import struct
import zlib

import numpy as np
import pytest
from PIL import Image, PngImagePlugin

from mnistry.picture import MAX_PIXELS
from mnistry.png import decode_plain, may_be_plain

SCAN = np.random.default_rng(0).integers(0, 256, (40, 30, 3), np.uint8)


def encode(image: Image.Image, **options) -> bytes:
    stream = io.BytesIO()
    image.save(stream, "PNG", **options)
    return stream.getvalue()


def scan(mode: str) -> Image.Image:
    return Image.fromarray(SCAN).convert(mode)


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def with_chunk(kind: bytes, data: bytes) -> bytes:
    """A grey PNG that has one more part, after its head."""
    whole = encode(scan("L"))
    return whole[:33] + chunk(kind, data) + whole[33:]


def plain(data: bytes, most: int = MAX_PIXELS) -> np.ndarray | None:
    return decode_plain(data) if may_be_plain(data[:1024], most) else None


INTERLACED = (
    b"\x89PNG\r\n\x1a\n"
    + chunk(b"IHDR", struct.pack(">2I5B", 1, 1, 8, 0, 0, 0, 1))
    + chunk(b"IDAT", zlib.compress(b"\0\7"))
    + chunk(b"IEND", b"")
)


@pytest.mark.parametrize("mode", ["1", "L", "RGB", "RGBA"])
def test_as_pillow_decodes_it(mode: str) -> None:
    found = plain(encode(scan(mode)))
    wanted = np.array(scan(mode).convert("L"))
    assert found is not None
    assert found.dtype == np.uint8
    assert found.flags.writeable
    assert found.shape == wanted.shape
    off = np.abs(found.astype(int) - wanted)
    assert off.max() <= (1 if mode.startswith("RGB") else 0)  # of a luminance, how it is rounded
    assert off.mean() < 0.02


def test_what_scanners_say_beside_it() -> None:
    notes = PngImagePlugin.PngInfo()
    notes.add_text("Software", "a scanner's")
    data = encode(scan("L"), dpi=(300, 300), pnginfo=notes)
    found = plain(data)
    assert found is not None
    np.testing.assert_array_equal(found, scan("L"))


@pytest.mark.parametrize(
    "data",
    [
        encode(scan("P")),
        encode(scan("LA")),
        encode(scan("L").convert("I;16")),
        encode(scan("L"), transparency=7),
        encode(scan("L"), dpi=(204, 98)),
        encode(scan("L"), exif=b"Exif\0\0II*\0\x08\0\0\0\0\0\0\0\0\0"),
        encode(scan("RGBA").rotate(45)),  # clear in its corners
        encode(scan("L"), save_all=True, append_images=[scan("L").rotate(90)]),
        with_chunk(b"zTXt", b"a\0\0" + zlib.compress(bytes(1_000_000))),
        with_chunk(b"prVt", b"what nobody knows"),
        INTERLACED,
    ],
    ids=[
        *("palette", "grey-and-alpha", "16-bit", "clear", "fax", "exif", "alpha", "animated"),
        *("packed-text", "unknown", "interlaced"),
    ],
)
def test_what_is_not_plain_is_left_alone(data: bytes) -> None:
    Image.open(io.BytesIO(data)).load()  # it is a good file
    assert plain(data) is None


def test_what_is_damaged_is_left_alone(capfd: pytest.CaptureFixture[str]) -> None:
    whole = encode(scan("L"))
    assert plain(whole, 40 * 30) is not None
    assert plain(whole, 40 * 30 - 1) is None
    for end in range(len(whole)):
        assert plain(whole[:end]) is None
    for place in range(len(whole)):
        changed = whole[:place] + bytes([whole[place] ^ 0x55]) + whole[place + 1 :]
        assert plain(changed) is None
    assert capfd.readouterr() == ("", "")  # libpng was not asked, and says nothing


@pytest.mark.parametrize("lines", [b"", b"\0" + bytes(29), b"\7" + bytes(30)])
def test_sums_that_are_right_over_pixels_that_are_wrong(lines: bytes) -> None:
    head = encode(scan("L"))[:33]
    data = head + chunk(b"IDAT", zlib.compress(lines)) + chunk(b"IEND", b"")
    assert plain(data) is None


def test_no_pixels() -> None:
    head = chunk(b"IHDR", struct.pack(">2I5B", 0, 3, 8, 0, 0, 0, 0))
    data = b"\x89PNG\r\n\x1a\n" + head + chunk(b"IDAT", zlib.compress(b"")) + chunk(b"IEND", b"")
    assert plain(data) is None
