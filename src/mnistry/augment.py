"""Images changed at random, a whole batch at a time, as tensor operations."""

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from mnistry.recipe import Augment

_KNOTS = 5  # a side of the elastic field, before it is made smooth


def augment(images: Tensor, how: Augment) -> Tensor:
    """Changes each image of a batch by itself.

    Args:
        images: (B, 1, H, W) float32 in 0..1, on any device.
        how: How far.

    Returns:
        (B, 1, H, W) float32 in 0..1; the default random numbers of that device decide.
    """
    if how.rotate or how.scale or how.shear or how.elastic:
        images = _move(images, how)
    elif how.shift:
        images = _shift(images, how.shift)
    if how.stroke:
        images = _stroke(images, how.stroke)
    if how.cutout:
        images = _cut_out(images, how.cutout)
    return images


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
    grid = F.affine_grid(torch.cat([matrix, move], 2), list(images.shape), align_corners=False)
    if how.elastic:
        field = torch.randn(len(images), 2, _KNOTS, _KNOTS, device=images.device)
        smooth = F.interpolate(field, images.shape[2:], mode="bicubic", align_corners=True)
        grid = grid + smooth.permute(0, 2, 3, 1) * (2 * how.elastic / size)
    return F.grid_sample(images, grid, align_corners=False)


def _stroke(images: Tensor, by: float) -> Tensor:
    """Some thickened, towards the maximum of their neighbours, the others thinned."""
    how_far = _uniform(images, 1, 1, 1, by=by)
    thicker, thinner = F.max_pool2d(images, 3, 1, 1), -F.max_pool2d(-images, 3, 1, 1)
    return torch.where(how_far > 0, images.lerp(thicker, how_far), images.lerp(thinner, -how_far))


def _cut_out(images: Tensor, side: float) -> Tensor:
    """A square blanked, anywhere (DeVries and Taylor, 2017)."""
    size = images.shape[-1]
    pixel = torch.arange(size, device=images.device) + 0.5
    centre = torch.rand(len(images), 2, 1, device=images.device) * size
    row, column = ((pixel - centre).abs() < side / 2).unbind(1)  # (B, size) each
    return images * ~(row[:, None, :, None] & column[:, None, None, :])
