"""Complex numbers from their parts and back: real, imag, angle, polar.

The gradient of a complex value z = a + ib is ``dL/da + i dL/db``, as in PyTorch.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from .. import backend
from ..op import Op, Sample, Spec
from ..tensor import Tensor
from .common import array, complex_array
from .elementwise import add, cos, multiply, sin


def _part_dtype(dtype: np.dtype) -> np.dtype:
    """The dtype of the real and imaginary parts of complex values of ``dtype``."""
    return np.empty(0, dtype).real.dtype


def _parts() -> list[Sample]:
    return [Sample((complex_array(i, shape),)) for i, shape in enumerate([(), (3,), (2, 3), (2, 0)])]


_real = Op(
    "real",
    lambda xp, x: x.real,
    lambda F, g, saved, need: (g,),  # the engine converts to the input's dtype
    jvp="linear",
    batch="elementwise",
    abstract=lambda x: Spec(x.shape, _part_dtype(x.dtype)),
    samples=_parts,
    doc="The real part.",
)
_imag = Op(
    "imag",
    lambda xp, x: x.imag,
    lambda F, g, saved, need: (g * 1j,),
    jvp="linear",
    batch="elementwise",
    abstract=lambda x: Spec(x.shape, _part_dtype(x.dtype)),
    samples=_parts,
    doc="The imaginary part.",
)


def real(x: Any) -> Any:
    """The real part of ``x``; real values come back as they are."""
    return _real(x) if x.dtype.kind == "c" else x


def imag(x: Any) -> Any:
    """The imaginary part of ``x``: zeros where ``x`` is real."""
    if x.dtype.kind == "c":
        return _imag(x)
    raw = x.data if isinstance(x, Tensor) else x
    zeros = backend.of(raw).xp.zeros_like(raw)
    return Tensor(zeros) if isinstance(x, Tensor) else zeros


def _angle_vjp(F: Any, g: Any, x: Any, need: Any) -> Any:
    if x.dtype.kind != "c":
        return (g * 0,)
    size = (x * F.conjugate(x)).real
    return (g * 1j * x / F.where(size == 0, 1.0, size),)


def _angle_samples() -> list[Sample]:
    return [*_parts(), Sample((np.where(np.abs(array(5, (2, 3))) < 0.1, 0.5, array(5, (2, 3))),))]


angle = Op(
    "angle",
    lambda xp, x: xp.angle(x),
    _angle_vjp,
    save=0,
    batch="elementwise",
    abstract=lambda x: Spec(x.shape, np.angle(np.ones(1, x.dtype)).dtype),
    samples=_angle_samples,
    doc="The angle of a complex number with the real axis in radians, in (-pi, pi]; 0 or pi of a real one; 0 has slope 0.",
)


def polar(abs: Any, angle: Any) -> Any:
    """The complex numbers of magnitude ``abs`` at ``angle`` radians, which broadcast: ``abs * (cos(angle) + i sin(angle))``."""
    return add(multiply(abs, cos(angle)), multiply(multiply(abs, sin(angle)), 1j))
