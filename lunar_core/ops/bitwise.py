"""Operations on the bits of integers and bools: and, or, xor, invert, shifts. They have no gradient.

As in NumPy, the operators ``& | ^ ~ << >>`` are these; on bools they are the logical ones.
"""

from __future__ import annotations

import numpy as np

from ..op import Op, Sample
from .common import elementwise_spec


def _integers(shape: tuple[int, ...], low: int, high: int, dtype: type = np.int64) -> np.ndarray:
    count = int(np.prod(shape, dtype=int))
    return (low + (np.arange(count) * 7919 + 13) % (high - low)).reshape(shape).astype(dtype)


def _pairs(low: int, high: int) -> list[Sample]:
    return [
        Sample((_integers((2, 3), -40, 40), _integers((3,), low, high)), grad=False),
        Sample((_integers((2, 1), 0, 100, np.uint8), _integers((1, 3), max(low, 0), high, np.uint8)), grad=False),
        Sample((_integers((4,), -40, 40, np.int32), 3), grad=False),
    ]


def _bools() -> list[Sample]:
    return [Sample((np.array([[True, False], [True, False]]), np.array([[True, True], [False, False]])), grad=False)]


def _binary(ufunc: np.ufunc, doc: str, low: int = -40, high: int = 40) -> Op:
    name = ufunc.__name__
    shift = name.endswith("shift")
    return Op(
        name, name, None, broadcasts=True, elementwise=True, abstract=elementwise_spec(ufunc), doc=doc,
        samples=lambda: _pairs(low, high) + ([] if shift else _bools()),
    )  # fmt: skip


bitwise_and = _binary(np.bitwise_and, "Bits set in both.")
bitwise_or = _binary(np.bitwise_or, "Bits set in either.")
bitwise_xor = _binary(np.bitwise_xor, "Bits set in exactly one.")
left_shift = _binary(np.left_shift, "Bits moved left by ``y`` places: ``x * 2 ** y``.", 0, 6)
right_shift = _binary(np.right_shift, "Bits moved right by ``y`` places: ``x // 2 ** y``.", 0, 6)
bitwise_invert = Op(
    "invert",
    "invert",
    None,
    elementwise=True,
    abstract=elementwise_spec(np.invert),
    samples=lambda: [
        Sample((_integers((2, 3), -40, 40),), grad=False),
        Sample((np.array([True, False]),), grad=False),
    ],
    doc="Every bit flipped; ``not x`` of bools.",
)
invert = bitwise_not = bitwise_invert
bitwise_left_shift, bitwise_right_shift = left_shift, right_shift
