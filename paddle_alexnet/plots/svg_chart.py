"""Geometry of SVG line charts, which the template `chart.html` draws."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple, Optional

WIDTH, HEIGHT = 440, 270
LEFT, RIGHT, TOP, BOTTOM = 62, 14, 12, 34  # margins


class Tick(NamedTuple):
    """A tick of an axis."""

    at: float  # pixels
    text: str


class Point(NamedTuple):
    """A point of a line, with its tooltip."""

    x: float  # pixels
    y: float
    text: str


@dataclass(frozen=True)
class Line:
    """A named line: its points, and its parts without gaps as `points` attributes of polylines."""

    name: str
    points: tuple[Point, ...]
    parts: tuple[str, ...]


@dataclass(frozen=True)
class Chart:
    """A chart of lines, with its axes."""

    title: str
    lines: tuple[Line, ...]
    x_ticks: tuple[Tick, ...]
    y_ticks: tuple[Tick, ...]
    marked: Optional[float]  # pixels from the left
    width: int = WIDTH
    height: int = HEIGHT
    left: int = LEFT
    right: int = WIDTH - RIGHT
    top: int = TOP
    bottom: int = HEIGHT - BOTTOM


def line_chart(
    title: str,
    series: Sequence[tuple[str, Sequence[tuple[int, float]]]],
    *,
    marked: Optional[int] = None,
    bounds: Optional[tuple[float, float]] = None,
) -> Chart:
    """Return the chart of named series of (epoch, value), with gaps for values that are not finite.

    Args:
        marked: Epoch to mark.
        bounds: Lower and upper end of the values' axis; default: from the values.
    """
    from matplotlib.ticker import MaxNLocator  # slow to import

    epochs = [epoch for _, points in series for epoch, _ in points] or [1]
    finite = [value for _, points in series for _, value in points if math.isfinite(value)] or [0.0]
    low, high = bounds or (min(finite), max(finite))
    y_ticks = [float(value) for value in MaxNLocator(5).tick_values(low, high)]
    low, high = bounds or (y_ticks[0], y_ticks[-1])
    first, last = min(epochs), max(epochs)

    def x(epoch: float) -> float:
        share = (epoch - first) / (last - first) if last > first else 0.5
        return round(LEFT + share * (WIDTH - LEFT - RIGHT), 1)

    def y(value: float) -> float:
        return round(HEIGHT - BOTTOM - (value - low) / (high - low) * (HEIGHT - TOP - BOTTOM), 1)

    lines = []
    for name, points in series:
        parts: list[list[Point]] = [[]]
        for epoch, value in points:
            if math.isfinite(value):
                parts[-1].append(Point(x(epoch), y(value), f"{name}, epoch {epoch}: {value:.4g}"))
            elif parts[-1]:
                parts.append([])
        drawn = tuple(" ".join(f"{point.x},{point.y}" for point in part) for part in parts if len(part) > 1)
        lines.append(Line(name, tuple(point for part in parts for point in part), drawn))
    x_values = [value for value in MaxNLocator(6, integer=True).tick_values(first, last) if first <= value <= last]
    return Chart(
        title,
        tuple(lines),
        tuple(Tick(x(value), f"{value:g}") for value in x_values),
        tuple(Tick(y(value), f"{value:.6g}") for value in y_ticks if low <= value <= high),
        None if marked is None else x(marked),
    )
