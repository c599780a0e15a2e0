"""Tests of mnistry.augment: each image of a batch changed by itself, and no further than asked."""

import dataclasses

import pytest
import torch

from mnistry.augment import augment, can_be_recorded
from mnistry.recipe import Augment


@pytest.fixture
def images() -> torch.Tensor:
    """Sixty-four images of a bar, off the middle."""
    images = torch.zeros(64, 1, 28, 28)
    images[:, :, 8:20, 10:13] = 1
    return images


ALL = Augment(
    shift=2,
    rotate=10,
    scale=0.1,
    shear=0.1,
    elastic=1,
    stroke=0.5,
    cutout=6,
    stretch=0.5,
    coarse=0.5,
    threshold=0.5,
    tone=0.3,
    noise=0.2,
)


@pytest.mark.parametrize("name", ["none", "all", *vars(ALL)])
def test_what_every_change_keeps(images: torch.Tensor, name: str) -> None:
    how = {"none": Augment(), "all": ALL}.get(name) or Augment(**{name: getattr(ALL, name)})
    images[:, :, 17:20] *= 0.45
    kept = images.clone()
    torch.manual_seed(0)
    changed = augment(images, how)
    assert changed.shape == images.shape
    assert changed.dtype == torch.float32
    assert changed.min() >= 0
    assert changed.max() <= 1 + 1e-6
    assert torch.equal(images, kept)
    assert torch.equal(changed, images) == (name == "none")
    distinct = len({image.numpy().tobytes() for image in changed})
    few = {"none": (1, 1), "threshold": (3, 3), "coarse": (2, 5)}  # grids, and left alone
    least, most = few.get(name, (9, 64))
    assert least <= distinct <= most
    torch.manual_seed(0)
    assert torch.equal(augment(images, how), changed)


def test_a_shift_is_by_whole_pixels_up_to_what_was_asked(images: torch.Tensor) -> None:
    torch.manual_seed(0)
    found = {image.numpy().tobytes() for image in augment(images.repeat(20, 1, 1, 1), Augment(2))}
    moves = [(down, right) for down in range(-2, 3) for right in range(-2, 3)]
    assert found == {images[0].roll(move, (1, 2)).numpy().tobytes() for move in moves}


def test_a_shift_by_parts_of_a_pixel(images: torch.Tensor) -> None:
    torch.manual_seed(0)
    for by in (0.5, 1.5):
        moved, _ = spread(augment(images, Augment(shift=by)))
        assert moved == pytest.approx(by / 3**0.5, rel=0.25)  # the deviation of uniform moves


def test_what_can_be_recorded_on_a_gpu() -> None:
    """Not what looks numbers up on the CPU, or asks the GPU which images are chosen."""
    assert can_be_recorded(Augment())
    assert can_be_recorded(dataclasses.replace(ALL, elastic=0, coarse=0, threshold=0))
    for name in ("elastic", "coarse", "threshold"):
        assert not can_be_recorded(Augment(**{name: getattr(ALL, name)}))


def spread(images: torch.Tensor) -> tuple[float, float]:
    """How much the ink's middle moves, and its slant varies, between images."""
    pixel = torch.arange(28.0)
    mass = images.sum((1, 2, 3))
    x = (images.sum((1, 2)) * pixel).sum(1) / mass
    y = (images.sum((1, 3)) * pixel).sum(1) / mass
    both = (images[:, 0] * (pixel[:, None] * pixel)).sum((1, 2)) / mass - x * y
    return float(x.std()), float(both.std())


def test_the_map_does_what_its_numbers_say(images: torch.Tensor) -> None:
    torch.manual_seed(0)
    moved, _ = spread(augment(images, Augment(shift=3, rotate=1e-6)))
    assert 1.2 < moved < 2.3  # uniform from -3 to 3: 1.73
    for how in (Augment(rotate=20), Augment(shear=0.3)):
        still, slanted = spread(augment(images, how))
        assert slanted > 1
        assert still < 1.5
    heights = augment(images, Augment(scale=0.3)).amax((1, 3)).gt(0.5).sum(1)
    assert heights.min() < 11
    assert heights.max() > 14
    ink = augment(images, Augment(elastic=1.0)).sum((1, 2, 3))
    assert 0.8 < float(ink.mean() / images[0].sum()) < 1.2
    assert float(ink.std()) > 0.5


def test_strokes_get_thicker_and_thinner(images: torch.Tensor) -> None:
    torch.manual_seed(0)
    ink = augment(images, Augment(stroke=1.0)).sum((1, 2, 3))
    assert ink.min() < 20
    assert ink.max() > 60
    assert ink.min() >= 10  # a bar of 3 x 12, thinned by a pixel on each side: 1 x 10
    assert ink.max() <= 5 * 14


def test_a_thin_stroke_stays_bright() -> None:
    images = torch.zeros(64, 1, 28, 28)
    images[:, :, 5:23, 14] = 1
    torch.manual_seed(0)
    changed = augment(images, Augment(stroke=0.9))
    assert torch.equal(changed.amax((1, 2, 3)), torch.ones(64))


def extent(image: torch.Tensor, axis: int) -> int:
    return int((image[0] > 0.5).any(axis).sum())


def test_stretched_digits_fill_their_square(images: torch.Tensor) -> None:
    torch.manual_seed(0)
    changed = augment(images, Augment(stretch=1.0))
    wide, tall = ([extent(image, axis) for image in changed] for axis in (0, 1))
    assert max(wide) >= 11  # of 3, to the bar's height
    assert min(wide) >= 3
    assert set(tall) <= {11, 12, 13}
    half = augment(images, Augment(stretch=0.5))
    alike = sum(extent(image, 0) == 3 for image in half)
    assert 20 < alike < 50


def test_a_coarse_image_has_lost_what_is_fine() -> None:
    images = torch.zeros(64, 1, 28, 28)
    images[:, :, ::2] = 1
    torch.manual_seed(0)
    changed = augment(images, Augment(coarse=1.0))
    assert changed.std((1, 2, 3)).max() < 0.3
    assert images.std((1, 2, 3)).min() > 0.4
    assert changed.amax((1, 2, 3)) == pytest.approx(torch.ones(64), abs=1e-6)


def test_only_black_and_white_is_left(images: torch.Tensor) -> None:
    torch.manual_seed(0)
    changed = augment(images * 0.9, Augment(threshold=1.0))
    assert set(changed.unique().tolist()) == {0.0, 1.0}


def test_tone_and_noise_leave_paper_clean(images: torch.Tensor) -> None:
    for how in (Augment(tone=0.3), Augment(noise=0.3)):
        torch.manual_seed(0)
        changed = augment(images, how)
        assert changed[:, :, :6].abs().max() == 0
        assert changed[:, :, 8:20, 10:13].std(0).min() > 0.03


def test_a_square_is_cut_out() -> None:
    torch.manual_seed(0)
    holes = augment(torch.ones(500, 1, 28, 28), Augment(cutout=6)) == 0
    assert holes.sum((1, 2, 3)).max() == 36
    assert holes.any(0).all()  # everywhere
    assert holes.sum((2, 3)).float().mean() > 20  # some of it may lie outside
