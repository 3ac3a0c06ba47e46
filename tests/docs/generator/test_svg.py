"""Line drawings."""

import numpy as np
import pytest

from docs.generator.svg import Plot, alike, limits, simplified, ticks


@pytest.mark.parametrize(
    "low, high, expected",
    [(-7, 7, [-5, 0, 5]), (0, 1, [0, 0.2, 0.4, 0.6, 0.8, 1]),
     (0, 100, [0, 20, 40, 60, 80, 100]), (2.1, 2.9, [2.2, 2.4, 2.6, 2.8])],
)  # fmt: skip
def test_ticks_are_round(low, high, expected):
    assert ticks(low, high) == pytest.approx(expected)


def test_a_straight_line_needs_two_points_and_a_corner_one_more():
    x = np.linspace(0, 100, 201)
    assert len(simplified(np.stack([x, 2 * x], axis=1), 0.15)) == 2
    corner = np.stack([x, np.abs(x - 50)], axis=1)
    np.testing.assert_array_equal(simplified(corner, 0.15), [[0, 50], [50, 0], [100, 50]])


def test_a_simplified_curve_stays_within_the_tolerance():
    x = np.linspace(0, 200, 2001)
    y = 50 * np.sin(x / 20)
    kept = simplified(np.stack([x, y], axis=1), 0.15)
    assert len(kept) < 120
    assert np.abs(np.interp(x, kept[:, 0], kept[:, 1]) - y).max() < 0.4


def test_a_closed_curve_is_simplified_too():
    angle = np.linspace(0, 2 * np.pi, 400)
    circle = 50 * np.stack([np.cos(angle), np.sin(angle)], axis=1)
    assert 20 < len(simplified(circle, 0.15)) < 100


def test_places_are_in_the_frame():
    plot = Plot((0, 2), (-1, 1))
    points = plot.place(np.array([0, 2]), np.array([-1, 1]))
    np.testing.assert_allclose(points, [[plot.left, plot.bottom], [plot.right, plot.top]])


def test_constant_curves_have_a_range():
    low, high = limits([np.ones(3)])
    assert low < 1 < high


def test_drawings_are_alike_up_to_half_a_pixel():
    assert alike("<a 1.0,2.0>", "<a 1.5,1.6>")
    assert not alike("<a 1.0,2.0>", "<a 1.0,2.7>")
    assert not alike("<a 1.0,2.0>", "<b 1.0,2.0>")
    assert not alike("<a 1.0,2.0>", "<a 1.0>")
