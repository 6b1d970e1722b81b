"""Line charts: where their points lie."""

import math

import pytest

from paddle_alexnet.plots.svg_chart import line_chart


def test_points_lie_where_their_values_say():
    chart = line_chart("loss", [("val", [(1, 0.0), (2, 1.0), (3, 0.5)])], marked=2)
    first, highest, last = chart.lines[0].points
    assert (first.x, last.x) == (chart.left, chart.right)
    assert (first.y, highest.y) == (chart.bottom, chart.top)
    assert last.y == pytest.approx((chart.top + chart.bottom) / 2)
    assert chart.marked == highest.x
    assert [tick.text for tick in chart.x_ticks] == ["1", "2", "3"]


def test_values_that_are_not_finite_are_gaps():
    points = [(1, math.nan), (2, 1.0), (3, 2.0), (4, math.inf), (5, 1.0), (6, 1.5)]
    (line,) = line_chart("loss", [("val", points)]).lines
    assert [len(part.split()) for part in line.parts] == [2, 2]


@pytest.mark.parametrize("points", [[], [(1, 0.5)], [(1, math.nan)], [(1, 0.0), (2, 0.0)]])
def test_little_is_drawn_too(points):
    chart = line_chart("loss", [("val", points)])
    assert all(math.isfinite(point.x + point.y) for point in chart.lines[0].points)
