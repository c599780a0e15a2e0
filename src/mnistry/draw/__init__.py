"""Every picture: grids of digits, a prediction, curves, confusion, mistakes, a fitted line.

Arrays in, a PNG out, whole or not at all. The package `canvas` holds the style. What a reader found
is drawn by `page` and `seen`, which need Pillow and no matplotlib.
"""

from mnistry.draw.charts import draw_confusion, draw_curves, draw_descent, draw_line
from mnistry.draw.digits import draw_grid, draw_mistakes, draw_prediction

__all__ = [
    "draw_confusion",
    "draw_curves",
    "draw_descent",
    "draw_grid",
    "draw_line",
    "draw_mistakes",
    "draw_prediction",
]
