"""`mnistry fit-line`: the line-fitting exercise."""

from pathlib import Path
from typing import Annotated

import typer

from mnistry.cli.console import Json, say, say_json, table
from mnistry.errors import UsageError


def fit_line(
    points: Annotated[
        Path | None,
        typer.Option(readable=False, help='A text file, "x,y" a line; else the tutorial\'s ten.'),
    ] = None,
    m: Annotated[float | None, typer.Option("--m", help="Try this slope.")] = None,
    b: Annotated[float | None, typer.Option("--b", help="Try this height at x = 0.")] = None,
    out: Annotated[Path, typer.Option(readable=False, help="Where the picture goes.")] = Path(
        "line.png"
    ),
    json: Json = False,
) -> None:
    """Fit a line to ten points, by hand or by program.

    With --m and --b, draws that line and says how far off it is.

    NVIDIA's bonus exercise. The program starts from m = -2, b = 40 (loss 475.5) and goes down by
    gradient descent; the closed form gives the answer to hold it against.

    \b
    mnistry fit-line --m 5 --b 10
    mnistry fit-line
    """
    from mnistry.draw import draw_descent, draw_line
    from mnistry.line import POINTS, descend, fit_closed_form, mean_squared_loss, read_points

    chosen = POINTS if points is None else read_points(points)
    if (m is None) != (b is None):
        raise UsageError("--m and --b go together: give both to try a line, or neither")
    if m is not None and b is not None:
        loss = mean_squared_loss(chosen, m, b)
        draw_line(chosen, m, b, loss, out)
        if json:
            say_json({"m": m, "b": b, "loss": loss, "picture": str(out)})
        else:
            say(f"y = {m:g}x + {b:g}: mean squared loss {loss:.4f}\nDrawn: {out}")
        return
    best, descent = fit_closed_form(chosen), descend(chosen)
    draw_descent(chosen, descent, out)
    if json:
        say_json(
            {
                "closed_form": vars(best),
                "descent": vars(descent.line) | {"converged": descent.converged},
                "steps": [vars(step) for step in descent.steps],
                "picture": str(out),
            }
        )
        return
    count = len(descent.steps) - 1
    shown = sorted({0, 1, 2, 3, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000, count})
    rows = [
        [f"{i:,}", f"{s.m:.4f}", f"{s.b:.4f}", f"{s.loss:.4f}"]
        for i, s in enumerate(descent.steps)
        if i in shown
    ]
    say("gradient descent")
    say(table(["step", "m", "b", "loss"], rows, "rrrr"))
    for name, line in (("by descent", descent.line), ("closed form", best)):
        say(f"\n{name:12}  m {line.m:.4f}  b {line.b:.4f}  loss {line.loss:.4f}")
    say(f"\nDrawn: {out}")
