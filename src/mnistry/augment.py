"""Images changed at random, a whole batch at a time, as tensor operations."""

import math
from collections.abc import Callable
from functools import cache

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from mnistry.recipe import Augment

_KNOTS = 5  # a side of the elastic field, before it is made smooth
_PATCHES = 9  # a side of uneven ink, before it is made smooth
_GRIDS = 9, 20  # pixels a side of a coarse image
_INK = 0.1  # less does not count when a digit is measured


def augment(images: Tensor, how: Augment) -> Tensor:
    """Changes each image of a batch by itself.

    Args:
        images: (B, 1, H, W) float32 in 0..1, on any device.
        how: How far.

    Returns:
        (B, 1, H, W) float32 in 0..1; the default random numbers of that device decide.
    """
    is_part = not float(how.shift).is_integer()  # of a pixel
    if is_part or how.rotate or how.scale or how.shear or how.elastic or how.stretch:
        images = _move(images, how)
    elif how.shift:
        images = _shift(images, how.shift)
    if how.stroke:
        images = _stroke(images, how.stroke)
    if how.coarse:
        images = _some(images, how.coarse, _coarse)
    if how.threshold:
        images = _some(images, how.threshold, _threshold)
    if how.tone:
        images = _tone(images, how.tone)
    if how.noise:
        images = _noise(images, how.noise)
    if how.cutout:
        images = _cut_out(images, how.cutout)
    return images


def can_be_recorded(how: Augment) -> bool:
    """Whether all is done on the device, in the same way each time, as a CUDA graph needs it."""
    return not (how.elastic or how.coarse or how.threshold)


def _uniform(like: Tensor, *shape: int, by: float) -> Tensor:
    """(B, ...) numbers from -by to by."""
    return (torch.rand(len(like), *shape, device=like.device) * 2 - 1) * by


def _shift(images: Tensor, by: float) -> Tensor:
    """Moved by whole pixels: what leaves on one side is ground that comes in on the other."""
    count, _, height, width = images.shape
    dy, dx = _uniform(images, 2, by=by + 0.5).round().clamp(-by, by).long().unbind(1)
    rows = (torch.arange(height, device=images.device) - dy[:, None]) % height
    columns = (torch.arange(width, device=images.device) - dx[:, None]) % width
    pixels = rows[:, :, None] * width + columns[:, None, :]
    return images.flatten(1).gather(1, pixels.flatten(1)).view(count, 1, height, width)


def _move(images: Tensor, how: Augment) -> Tensor:
    """An affine map and a smooth field, in one resampling (Simard and others, 2003)."""
    size = images.shape[-1]
    angle = _uniform(images, by=math.radians(how.rotate))
    across, down = (1 + _uniform(images, 2, by=how.scale)).unbind(1)
    shear = _uniform(images, by=how.shear)
    cos, sin = angle.cos(), angle.sin()
    matrix = torch.stack(
        [cos * across, (shear * cos - sin) * down, sin * across, (shear * sin + cos) * down], 1
    ).view(-1, 2, 2)
    move = _uniform(images, 2, 1, by=2 * how.shift / size)
    if how.stretch:
        sides, centre = _fill(images, how.stretch)
        matrix, move = sides[:, :, None] * matrix, move + centre[:, :, None]
    grid = F.affine_grid(torch.cat([matrix, move], 2), list(images.shape), align_corners=False)
    if how.elastic:
        field = torch.randn(len(images), 2, _KNOTS, _KNOTS, device=images.device)
        smooth = _resampled(field, _spline(_KNOTS, size))
        grid = grid + smooth.permute(0, 2, 3, 1) * (2 * how.elastic / size)
    return F.grid_sample(images, grid, align_corners=False)


def _fill(images: Tensor, share: float) -> tuple[Tensor, Tensor]:
    """What brings some digits' boxes towards squares: (B, 2) factors and centres, x first."""
    size = images.shape[-1]
    ink = images[:, 0] > _INK
    low, high = [], []
    for axis in (1, 2):  # rows fall away: the columns, x, are first
        line = ink.any(axis).float()  # (B, size)
        low.append(line.argmax(1))
        high.append(size - line.flip(1).argmax(1))
    start, stop = torch.stack(low, 1).float(), torch.stack(high, 1).float()
    length = (stop - start).clamp(3, size)
    some = (torch.rand(len(images), 1, device=images.device) < share).float()
    how_far = some * torch.rand(len(images), 1, device=images.device).sqrt()
    factor = (length / length.amax(1, keepdim=True)) ** how_far
    return factor, some * ((start + stop) / size - 1)


def _some(images: Tensor, share: float, change: Callable[[Tensor], Tensor]) -> Tensor:
    """A share of the images changed, the others as they were."""
    chosen = torch.rand(len(images), device=images.device) < share
    changed = images.clone()
    changed[chosen] = change(images[chosen])
    return changed


def _coarse(images: Tensor) -> Tensor:
    """Through fewer pixels, in quarters of the batch that have as many each."""
    low, high = _GRIDS
    parts = []
    for part in images.chunk(4):
        side = int(torch.randint(low, high + 1, ()))
        parts.append(_resampled(part, _blur(side, images.shape[-1])))
    return _brightened(torch.cat(parts)) if parts else images


def _resampled(images: Tensor, matrix: NDArray[np.float32]) -> Tensor:
    """Rows and columns of (..., n, n) brought to (..., m, m) by a matrix (m, n)."""
    by = torch.as_tensor(matrix, device=images.device)
    return by @ images @ by.T


@cache
def _blur(side: int, size: int) -> NDArray[np.float32]:
    """(size, size): to a coarser grid by area, and back."""
    eye = torch.eye(size)[None]  # (1, size, size): a pixel each
    coarse = F.interpolate(eye, side, mode="area")
    back = F.interpolate(coarse, size, mode="linear", align_corners=False)[0].T
    return np.ascontiguousarray(back.numpy())


@cache
def _spline(knots: int, size: int) -> NDArray[np.float32]:
    """(size, knots): from the knots to a smooth curve through them."""
    eye = torch.eye(knots)[None, None]
    curve = F.interpolate(eye, (size, knots), mode="bicubic", align_corners=True)
    return curve[0, 0].numpy().copy()


def _brightened(images: Tensor) -> Tensor:
    """The brightest pixel as bright as `normalise` makes it, but for what is hardly there."""
    return images / images.amax((2, 3), keepdim=True).clamp_min(0.05)


def _threshold(images: Tensor) -> Tensor:
    """Black and white, at a level of each image's own."""
    level = 0.45 + _uniform(images, 1, 1, 1, by=0.2)
    return (images > level).to(images.dtype)


def _tone(images: Tensor, by: float) -> Tensor:
    """Darker or fainter ink, which gives out in patches."""
    exponent = torch.randn(len(images), 1, 1, 1, device=images.device).mul(by).exp()
    patches = torch.randn(len(images), 1, _PATCHES, _PATCHES, device=images.device) * by
    smooth = F.interpolate(patches, images.shape[2:], mode="bilinear", align_corners=False)
    return images.clamp_min(0) ** exponent * (1 - smooth.relu()).clamp_min(0)


def _noise(images: Tensor, by: float) -> Tensor:
    """Each pixel by itself, near ink alone: paper has been cleaned."""
    near = _widest(images) > _INK
    noise = torch.randn_like(images) * (_uniform(images, 1, 1, 1, by=1).abs() * by)
    return (images + noise * near).clamp(0, 1)


def _stroke(images: Tensor, by: float) -> Tensor:
    """Some thickened, towards the maximum of their neighbours, the others thinned."""
    how_far = _uniform(images, 1, 1, 1, by=by)
    thicker, thinner = _widest(images), -_widest(-images)
    images = torch.where(how_far > 0, images.lerp(thicker, how_far), images.lerp(thinner, -how_far))
    return _brightened(images)


def _widest(images: Tensor) -> Tensor:
    """The maximum of each pixel and its eight neighbours."""
    for axis in (2, 3):
        size = images.shape[axis]
        wide = images.clone()
        for to, of in ((0, 1), (1, 0)):
            part = wide.narrow(axis, to, size - 1)
            torch.maximum(part, images.narrow(axis, of, size - 1), out=part)
        images = wide
    return images


def _cut_out(images: Tensor, side: float) -> Tensor:
    """A square blanked, anywhere (DeVries and Taylor, 2017)."""
    size = images.shape[-1]
    pixel = torch.arange(size, device=images.device) + 0.5
    centre = torch.rand(len(images), 2, 1, device=images.device) * size
    row, column = ((pixel - centre).abs() < side / 2).unbind(1)  # (B, size) each
    return images * ~(row[:, None, :, None] & column[:, None, None, :])
