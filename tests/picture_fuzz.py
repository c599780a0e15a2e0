"""Damaged images, and a program that reads them: python tests/picture_fuzz.py FIRST COUNT.

Decoders are written in C and may take the process down with them, so the tests start this program.
It names the mutant before it reads it; `python tests/picture_fuzz.py 1234 1` tries one again.
"""

import io
import itertools
import random
import re
import resource
import signal
import struct
import sys
import tempfile
import time
import zlib
from collections import Counter
from collections.abc import Callable
from functools import cache
from pathlib import Path

import numpy as np
from PIL import Image

from mnistry import pdf
from mnistry.errors import MnistryError
from mnistry.page import find_one, find_rows
from mnistry.picture import read_pages

SECONDS = 2.0
"""Of computing, so that a busy machine fails no mutant."""
MEGABYTES = 1_000
"""The most memory that the program may ever have had."""
_HANGS = 60  # seconds


# ---------------------------------------------------------------------------------------- originals


@cache
def originals() -> list[tuple[str, bytes]]:
    """Small images and PDFs of every kind that is read, each with its format."""
    rng = np.random.default_rng(0)
    noise = rng.integers(0, 256, (24, 37, 3), dtype=np.uint8)
    scene = Image.fromarray(np.kron(noise[:4, :6], np.ones((15, 20, 1), np.uint8)))  # 120 x 60
    colours, grey = Image.fromarray(noise), scene.convert("L")
    bits, palette = grey.convert("1"), scene.convert("P")
    alpha = scene.copy()
    alpha.putalpha(Image.fromarray(noise[..., 0]).resize(scene.size))
    deep = Image.fromarray(rng.integers(0, 65536, (20, 30), dtype=np.uint16))
    exif = Image.Exif()
    exif[0x0112], exif[0x010F] = 6, "maker" * 9
    pages = {"save_all": True, "append_images": [bits, palette, grey.resize((20, 33))]}
    frames = {"save_all": True, "append_images": [scene.rotate(30), scene.rotate(60)]}
    made = [
        ("PNG", [grey, bits, palette, alpha, colours, deep, grey.convert("LA")], {}),
        ("PNG", [palette], {"transparency": b"\x00\x80", "exif": exif, "icc_profile": b"icc" * 50}),
        ("PNG", [scene], frames),
        ("JPEG", [grey, colours, scene.convert("CMYK")], {}),
        ("JPEG", [scene], {"progressive": True, "exif": exif, "icc_profile": b"icc" * 50}),
        ("MPO", [scene], frames),
        ("GIF", [grey, palette], {}),
        ("GIF", [scene.convert("P")], frames | {"transparency": 3}),
        ("BMP", [bits, palette, colours, alpha], {}),
        ("PPM", [bits, grey, colours, deep], {}),
        ("WEBP", [scene, alpha], {"exif": exif}),
        ("WEBP", [alpha], {"lossless": True}),
        ("WEBP", [scene], frames),
        ("TIFF", [bits], {"compression": "group4"}),
        ("TIFF", [bits], {"compression": "group3"}),
        ("TIFF", [deep, alpha, scene.convert("LAB"), scene.convert("CMYK")], {}),
        ("TIFF", [scene, scene.convert("YCbCr")], {"compression": "jpeg"}),
        ("TIFF", [deep, alpha], {"compression": "tiff_lzw"}),
        ("TIFF", [colours], {"compression": "tiff_adobe_deflate", "exif": exif}),
        ("TIFF", [grey], pages | {"compression": "packbits"}),
        ("TIFF", [grey], pages | {"big_tiff": True}),
        ("PDF", [scene], pages),
        ("PDF", [bits], {}),
    ]
    files = []
    for form, images, options in made:
        for image in images:
            stream = io.BytesIO()
            image.save(stream, form, **options)
            files.append((form, stream.getvalue()))
    return [*files, *[("PDF", written_pdf())] * 3]


def written_pdf(
    content: bytes = b"", box: str = "0 0 200 100", more: tuple[bytes, ...] = ()
) -> bytes:
    """A PDF of one page that says "42" and draws what `content` says.

    Args:
        content: Operators of a page's content.
        box: The page's, in points.
        more: Objects from number 6 on; the first is the form /F.
    """
    text = b"BT /T 40 Tf 20 30 Td (42) Tj ET 3 w 120 20 m 150 80 190 10 190 90 c S " + content
    fonts = b"/Font<</T 5 0 R>>/XObject<</F 6 0 R>>"
    objects = [
        b"<</Type/Catalog/Pages 2 0 R>>",
        b"<</Type/Pages/Kids[3 0 R]/Count 1>>",
        b"<</Type/Page/Parent 2 0 R/MediaBox[%s]/Contents 4 0 R/Resources<<%s>>>>"
        % (box.encode(), fonts),
        pdf_stream(text),
        b"<</Type/Font/Subtype/Type1/BaseFont/Helvetica>>",
        *more,
    ]
    written, places = b"%PDF-1.7\n", []
    for number, item in enumerate(objects, 1):
        places.append(len(written))
        written += b"%d 0 obj\n%s\nendobj\n" % (number, item)
    table = b"".join(b"%010d 00000 n \n" % place for place in places)
    size, start = len(objects) + 1, len(written)
    written += b"xref\n0 %d\n0000000000 65535 f \n" % size + table
    return written + b"trailer\n<</Size %d/Root 1 0 R>>\nstartxref\n%d\n%%%%EOF\n" % (size, start)


def pdf_stream(data: bytes, entries: bytes = b"") -> bytes:
    """A PDF's stream object."""
    return b"<<%s/Length %d>>stream\n%s\nendstream" % (entries, len(data), data)


# ------------------------------------------------------------------------------------------ mutants


def mutant(seed: int) -> tuple[str, bytes]:
    """A damaged file, and the format it had."""
    rng = random.Random(seed)
    form, data = originals()[seed % len(originals())]
    for _ in range(rng.choice((1, 1, 1, 1, 2, 4))):
        data = rng.choice(_DAMAGES)(rng, bytearray(data))
    if form == "PNG" and rng.random() < 0.7:
        data = _with_checksums(data)
    return form, data


def _flip(rng: random.Random, data: bytearray) -> bytes:
    for _ in range(rng.choice((1, 2, 8))):
        if data:
            data[_place(rng, data)] ^= rng.choice((1, 128, 255, rng.randrange(256)))
    return bytes(data)


def _cut(rng: random.Random, data: bytearray) -> bytes:
    return bytes(data[: _place(rng, data)])


def _repeat(rng: random.Random, data: bytearray) -> bytes:
    start = _place(rng, data)
    piece = data[start : start + rng.choice((1, 4, 16, 200))]
    at = _place(rng, data)
    return bytes(data[:at] + piece * rng.choice((1, 1, 2, 50)) + data[at:])


def _remove(rng: random.Random, data: bytearray) -> bytes:
    start = _place(rng, data)
    del data[start : start + rng.choice((1, 4, 16, 200))]
    return bytes(data)


def _splice(rng: random.Random, data: bytearray) -> bytes:
    _, other = rng.choice(originals())
    return bytes(data[: _place(rng, data)]) + other[_place(rng, bytearray(other)) :]


def _lie(rng: random.Random, data: bytearray) -> bytes:
    """Another number where a size, a count or an offset may stand."""
    form = rng.choice((">H", "<H", ">I", "<I", "<Q"))
    most = 256 ** struct.calcsize(form) - 1
    value = rng.choice((0, 1, 2, most, most // 2, most // 2 + 1, len(data), rng.randint(0, most)))
    at = _place(rng, data)
    data[at : at + struct.calcsize(form)] = struct.pack(form, min(value, most))
    return bytes(data)


def _renumber(rng: random.Random, data: bytearray) -> bytes:
    """Another number as text, as PDF and PPM have them."""
    numbers = list(re.finditer(rb"\d+", data))
    if not numbers:
        return bytes(data)
    at = rng.choice(numbers)
    value = rng.choice((b"0", b"-1", b"1e9", b"65536", b"2147483648", b"9" * 20, b"0.001"))
    return bytes(data[: at.start()] + value + data[at.end() :])


def _place(rng: random.Random, data: bytearray) -> int:
    """Somewhere, rather in the headers."""
    return min(rng.choice((rng.randrange(64), rng.randrange(len(data) + 1))), max(len(data) - 1, 0))


def _with_checksums(data: bytes) -> bytes:
    """A PNG whose chunks have the right checksums again, so that what is in them is looked at."""
    whole, at = bytearray(data), 8
    while at + 12 <= len(whole):
        end = at + 8 + struct.unpack_from(">I", whole, at)[0]
        if end + 4 > len(whole):
            break
        struct.pack_into(">I", whole, end, zlib.crc32(whole[at + 4 : end]))
        at = end + 4
    return bytes(whole)


_DAMAGES: tuple[Callable[[random.Random, bytearray], bytes], ...] = (
    *(_flip, _cut, _repeat, _remove, _splice, _lie, _lie, _renumber),
)


# ------------------------------------------------------------------------------------------ reading


def read(seed: int, folder: Path) -> str:
    """Reads a mutant; gives what came of it.

    PDFs are drawn in this process, not in their own: it is quicker, and what PDFium does is seen.
    """
    _, data = mutant(seed)
    start = time.process_time()
    if b"%PDF-" in data[:1024]:
        outcome = _draw(data)
    else:
        source: bytes | Path = data
        if seed % 3 == 0:  # TIFF is read another way from a file
            source = folder / "mutant"
            source.write_bytes(data)
        outcome = _read(source)
    seconds = time.process_time() - start
    if seconds > SECONDS:
        raise AssertionError(f"takes {seconds:.1f} s")
    return outcome


def _read(source: bytes | Path) -> str:
    error = None
    try:
        for page in read_pages(source):
            assert page.dtype == np.uint8, page.dtype
            assert page.ndim == 2, page.shape
            assert page.size, page.shape
            assert page.flags.writeable
            find_one(page)
            find_rows(page)
    except MnistryError as caught:
        error = caught
    assert "\n" not in str(error), repr(str(error))
    return "refused" if error else "read"


def _draw(data: bytes) -> str:
    messages = pdf.draw(data)
    last = next(messages)
    for size in itertools.islice(messages, 9):  # the number of pages may be a lie
        last = size
        if bytes(size).startswith(b"next"):
            width, height = map(int, bytes(size).split()[1:])
            assert len(next(messages)) == width * height, size
    assert re.fullmatch(rb"(next|wrong) .+\n", bytes(last)), last
    return "refused" if bytes(last).startswith(b"wrong") else "read"


def peak_memory() -> int:
    """In KiB: what Linux says of this program alone; `getrusage` counts whoever started it."""
    status = Path("/proc/self/status")
    if status.exists():
        return int(re.search(r"VmHWM:\s+(\d+)", status.read_text())[1])
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def main() -> None:
    """Reads mutants and names each before; ends at the first that is not as it must be."""
    first, count = map(int, sys.argv[1:])
    outcomes: Counter[str] = Counter()
    with tempfile.TemporaryDirectory() as folder:
        for seed in range(first, first + count):
            form, _ = mutant(seed)
            sys.stdout.write(f"mutant {seed}, once {form}\n")
            sys.stdout.flush()
            signal.alarm(_HANGS)
            outcomes[f"{form} {read(seed, Path(folder))}"] += 1
    megabytes = peak_memory() // 1024
    assert megabytes < MEGABYTES, f"had {megabytes} MB"
    sys.stdout.write(f"{dict(sorted(outcomes.items()))}, {megabytes} MB\ndone\n")


if __name__ == "__main__":
    main()
