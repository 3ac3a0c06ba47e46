"""The sample tables of the convolution ops."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..op import Sample
from .common import array
from .windows import Ints, Pads, channels_first, window_count

Case = tuple[tuple[int, ...], tuple[int, ...], Ints, Pads, Ints, int]

# (images, weight, stride, padding, dilation, groups): every path of the reference kernels at a small size
CASES: dict[int, list[Case]] = {
    1: [
        ((2, 3, 7), (4, 3, 3), (1,), ((1, 1),), (1,), 1),
        ((2, 4, 9), (6, 2, 3), (2,), ((1, 2),), (2,), 2),
        ((2, 3, 6), (3, 1, 3), (1,), ((0, 1),), (1,), 3),
        ((1, 2, 9), (4, 1, 2), (3,), ((1, 1),), (1,), 2),
        ((2, 3, 4), (2, 3, 1), (1,), ((0, 0),), (1,), 1),
    ],
    2: [
        ((2, 2, 4, 4), (3, 2, 3, 3), (1, 1), ((1, 1), (1, 1)), (1, 1), 1),
        ((2, 1, 3, 9), (2, 1, 2, 2), (1, 1), ((0, 0), (0, 0)), (1, 1), 1),
        ((1, 2, 5, 4), (2, 2, 3, 2), (2, 1), ((1, 0), (0, 1)), (1, 1), 1),
        ((1, 2, 6, 5), (2, 2, 2, 3), (1, 1), ((2, 2), (1, 0)), (2, 2), 1),
        ((2, 4, 4, 3), (6, 2, 2, 2), (1, 1), ((0, 1), (1, 0)), (1, 1), 2),
        ((1, 4, 5, 4), (4, 2, 3, 3), (2, 2), ((1, 1), (1, 1)), (1, 1), 2),
        ((2, 3, 4, 4), (3, 1, 3, 3), (1, 1), ((1, 1), (1, 1)), (1, 1), 3),
        ((1, 2, 5, 5), (4, 1, 3, 3), (2, 2), ((1, 1), (1, 1)), (1, 1), 2),
        ((1, 2, 4, 5), (4, 1, 2, 3), (1, 1), ((1, 0), (0, 1)), (1, 1), 2),
        ((1, 2, 7, 6), (2, 1, 3, 2), (3, 2), ((1, 0), (2, 1)), (2, 3), 2),
        ((2, 3, 2, 3), (2, 3, 1, 1), (1, 1), ((0, 0), (0, 0)), (1, 1), 1),
        ((1, 2, 4, 4), (3, 2, 2, 2), (2, 2), ((0, 0), (0, 0)), (1, 1), 1),
        ((1, 2, 5, 5), (2, 2, 1, 1), (2, 2), ((0, 0), (0, 0)), (1, 1), 1),
    ],
    3: [
        ((2, 2, 3, 3, 4), (3, 2, 2, 3, 3), (1, 1, 1), ((0, 1), (1, 1), (1, 1)), (1, 1, 1), 1),
        ((1, 2, 4, 3, 3), (2, 2, 2, 1, 2), (2, 1, 2), ((1, 0), (0, 0), (1, 1)), (1, 1, 1), 1),
        ((1, 1, 4, 3, 9), (2, 1, 2, 2, 2), (1, 1, 1), ((0, 0), (1, 0), (0, 0)), (2, 1, 1), 1),
        ((1, 4, 2, 3, 3), (2, 2, 2, 2, 2), (1, 2, 1), ((0, 0), (1, 0), (0, 1)), (1, 1, 2), 2),
        ((1, 2, 3, 3, 3), (4, 1, 2, 2, 2), (1, 1, 1), ((1, 0), (0, 1), (0, 0)), (1, 1, 1), 2),
        ((1, 2, 3, 4, 5), (2, 1, 2, 3, 2), (2, 1, 2), ((0, 1), (1, 1), (1, 0)), (1, 1, 1), 2),
        ((2, 2, 2, 2, 3), (3, 2, 1, 1, 1), (1, 1, 1), ((0, 0), (0, 0), (0, 0)), (1, 1, 1), 1),
    ],
}


def images(seed: int, shape: tuple[int, ...]) -> np.ndarray:
    """An array shaped (N, C, ...) that lies channels-last in memory."""
    return np.asarray(channels_first(array(seed, (shape[0], *shape[2:], shape[1]))))


def _torch(case: Case) -> Any:
    _, _, stride, padding, dilation, groups = case
    borders = [n for pad in reversed(padding) for n in pad]

    def call(t: Any, x: Any, w: Any, b: Any = None) -> Any:
        convolve = getattr(t.nn.functional, f"conv{len(stride)}d")
        return convolve(t.nn.functional.pad(x, borders), w, b, stride=stride, dilation=dilation, groups=groups)

    return call


def _geometry(case: Case) -> dict[str, Any]:
    _, _, stride, padding, dilation, groups = case
    return {"stride": stride, "padding": padding, "dilation": dilation, "groups": groups}


def _output(case: Case) -> tuple[int, ...]:
    x, w, stride, padding, dilation, _ = case
    return (x[0], w[0], *(window_count(*axis) for axis in zip(x[2:], w[2:], stride, padding, dilation)))


def convolutions(n: int) -> list[Sample]:
    samples = []
    for i, case in enumerate(CASES[n]):
        x = array(i, case[0]) if i % 2 else images(i, case[0])
        bias = array(i + 90, case[1][:1]) if i % 3 else None
        samples.append(Sample((x, array(i + 40, case[1]), bias), _geometry(case), torch=_torch(case)))
    return samples


def input_gradients(n: int) -> list[Sample]:
    return [
        Sample((array(i, _output(case)), array(i + 40, case[1])), {"size": case[0][2:], **_geometry(case)})
        for i, case in enumerate(CASES[n])
    ]


def weight_gradients(n: int) -> list[Sample]:
    return [
        Sample((images(i, case[0]), array(i + 40, _output(case))), {"kernel": case[1][2:], **_geometry(case)})
        for i, case in enumerate(CASES[n])
    ]
