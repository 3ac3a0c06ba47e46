"""Small line drawings. The colours stand on light and on dark pages; numbers are rounded to a tenth of a pixel."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence

import numpy as np

FIRST, SECOND, GREY, FAINT = "#2a78c2", "#d1642a", "#808080", "#80808055"
_NUMBER = re.compile(r"-?\d+(?:\.\d+)?")


class Plot:
    """A frame with ticks that shows ``x`` (low, high) across and ``y`` (low, high) upwards, and curves in it."""

    def __init__(self, x: tuple[float, float], y: tuple[float, float], width: int = 280, height: int = 190) -> None:
        self.x, self.y = x, y
        self.width, self.height = width, height
        self.left, self.right, self.top, self.bottom = 40, width - 10, 20, height - 22
        self.parts: list[str] = []
        self.labels: list[tuple[str, str]] = []

    def place(self, x: np.ndarray, y: np.ndarray) -> np.ndarray:
        """Points (N, 2) in pixels."""
        (x0, x1), (y0, y1) = self.x, self.y
        across = self.left + (np.asarray(x) - x0) / (x1 - x0) * (self.right - self.left)
        up = self.bottom - (np.asarray(y) - y0) / (y1 - y0) * (self.bottom - self.top)
        return np.stack([across, up], axis=1)

    def line(
        self, x: np.ndarray, y: np.ndarray, color: str, width: float = 1.6, label: str = "", tolerance: float = 0.15
    ) -> None:
        """A curve; what lies outside of the frame is not shown."""
        points = self.place(x, y).clip(-1e4, 1e4)
        text = " ".join(f"{_short(a)},{_short(b)}" for a, b in simplified(points, tolerance))
        self.parts.append(f'<polyline points="{text}" stroke="{color}" stroke-width="{width}"/>')
        if label:
            self.labels.append((label, color))

    def dot(self, x: float, y: float, color: str) -> None:
        [(a, b)] = self.place(np.array([x]), np.array([y]))
        self.parts.append(f'<circle cx="{_short(a)}" cy="{_short(b)}" r="3" fill="{color}" stroke="none"/>')

    def render(self, title: str) -> str:
        """The file; ``title`` is what a reader hears who does not see it."""
        box = f'x="{self.left}" y="{self.top}" width="{self.right - self.left}" height="{self.bottom - self.top}"'
        lines = [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {self.width} {self.height}" width="{self.width}" '
            f'height="{self.height}" font-family="sans-serif" font-size="10" fill="{GREY}">',
            f"<title>{title}</title>",
            f'<clipPath id="c"><rect {box}/></clipPath>',
            f'<g stroke="{FAINT}" fill="none">',
            f"<rect {box}/>",
        ]
        texts = []
        for value in ticks(*self.x):
            [(a, _)] = self.place(np.array([value]), np.array([self.y[0]]))
            lines.append(f'<path d="M{_short(a)} {self.top}V{self.bottom}"/>')
            texts.append(f'<text x="{_short(a)}" y="{self.bottom + 13}" text-anchor="middle">{value:g}</text>')
        for value in ticks(*self.y):
            [(_, b)] = self.place(np.array([self.x[0]]), np.array([value]))
            lines.append(f'<path d="M{self.left} {_short(b)}H{self.right}"/>')
            texts.append(f'<text x="{self.left - 5}" y="{_short(b + 3.5)}" text-anchor="end">{value:g}</text>')
        lines += ["</g>", '<g fill="none" stroke-linejoin="round" clip-path="url(#c)">', *self.parts, "</g>", *texts]
        for i, (label, color) in enumerate(reversed(self.labels)):
            lines.append(f'<text x="{self.left + 70 * i}" y="{self.top - 6}" fill="{color}">{label}</text>')
        return "\n".join([*lines, "</svg>", ""])


def ticks(low: float, high: float) -> list[float]:
    """About five round numbers from ``low`` to ``high``."""
    rough = (high - low) / 5
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(power * m for m in (1, 2, 5, 10) if power * m >= rough * 0.999)
    first = math.ceil(low / step - 1e-9)
    return [round(k * step, 10) + 0.0 for k in range(first, math.floor(high / step + 1e-9) + 1)]


def simplified(points: np.ndarray, tolerance: float) -> np.ndarray:
    """The points without those that lie within ``tolerance`` of the line between others (Douglas and Peucker, 1973)."""
    keep = np.zeros(len(points), bool)
    keep[[0, -1]] = True
    spans = [(0, len(points) - 1)]
    while spans:
        first, last = spans.pop()
        if last - first < 2:
            continue
        inner = points[first + 1 : last] - points[first]
        along = points[last] - points[first]
        length = float(np.hypot(*along))
        if length:
            share = (inner @ along / length**2).clip(0, 1)
            away = np.hypot(*(inner - share[:, None] * along).T)
        else:
            away = np.hypot(*inner.T)
        farthest = int(away.argmax())
        if away[farthest] > tolerance:
            middle = first + 1 + farthest
            keep[middle] = True
            spans += [(first, middle), (middle, last)]
    return points[keep]


def limits(values: Sequence[np.ndarray], margin: float = 0.06) -> tuple[float, float]:
    """A range that holds all of the values, with a margin."""
    low, high = min(float(v.min()) for v in values), max(float(v.max()) for v in values)
    room = (high - low or abs(high) or 1.0) * margin
    return low - room, high + room


def alike(old: str, new: str, tolerance: float = 0.6) -> bool:
    """Whether two drawings are the same up to ``tolerance`` pixels: another machine rounds the last digit otherwise."""
    if _NUMBER.sub("#", old) != _NUMBER.sub("#", new):
        return False
    pairs = zip(_NUMBER.findall(old), _NUMBER.findall(new))
    return all(abs(float(a) - float(b)) <= tolerance for a, b in pairs)


def _short(value: float) -> str:
    return f"{round(float(value), 1) + 0.0:g}"
