"""Discrete Fourier transforms: fft, rfft and their inverses over one, two and any number of axes.

Names, normalisation and lengths are those of ``numpy.fft``. ``norm`` says where the factor 1/n goes: ``"backward"`` on
the inverse (the default), ``"forward"`` on the forward transform, ``"ortho"`` its root on both. The adjoint of a
transform is the inverse one with the factor on the other side, which is the whole of the gradient rules. float32 gives
complex64.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ..errors import DTypeError, ShapeError
from ..modes import modes
from ..op import Op, Sample, Shape, Spec
from ..tensor import Tensor
from .common import array, complex_array, normalize_axis, speaks_as
from .complexes import _part_dtype
from .elementwise import conjugate
from .rearrange import roll
from .reduction import _like
from .shape import pad

_DUAL = {"backward": "forward", "forward": "backward", "ortho": "ortho"}


def _complex(dtype: np.dtype) -> np.dtype:
    return np.fft.fft(np.ones(1, dtype)).dtype


# -- the three transforms, without a change of length ------------------------------------------------------------------


def _c2c_forward(xp: Any, x: Any, axes: tuple[int, ...], norm: str, inverse: bool) -> Any:
    return (xp.fft.ifftn if inverse else xp.fft.fftn)(x, axes=axes, norm=norm)


def _c2c_samples() -> list[Sample]:
    def call(axes: tuple[int, ...], norm: str, inverse: bool) -> Any:
        return lambda t, x: (t.fft.ifftn if inverse else t.fft.fftn)(x, dim=axes, norm=norm)

    table = [
        (complex_array(0, (5,)), (0,), "backward", False), (complex_array(1, (2, 4)), (1,), "forward", True),
        (complex_array(2, (3, 4)), (0, 1), "ortho", False), (array(3, (2, 3)), (1,), "backward", False),
        (array(4, (4,)), (0,), "backward", True),
    ]  # fmt: skip
    return [
        Sample((x,), {"axes": axes, "norm": norm, "inverse": inverse}, torch=call(axes, norm, inverse))
        for x, axes, norm, inverse in table
    ]


_c2c: Op = Op(
    "fft_c2c",
    _c2c_forward,
    lambda F, g, saved, need, axes, norm, inverse: (_c2c(g, axes=axes, norm=_DUAL[norm], inverse=not inverse),),
    jvp="linear",
    abstract=lambda x, axes, norm, inverse: Spec(x.shape, _complex(x.dtype)),
    samples=_c2c_samples,
    doc="Fourier transform of complex values over axes, forward or inverse.",
)


def _half_weights(n: int, value: float, axis: int, g: Any) -> Any:
    """``value`` for the frequencies of a half spectrum that stand for two of the whole one, 1 for the others."""
    weights = np.full(n // 2 + 1, value, _part_dtype(g.dtype))
    weights[0] = 1
    if n % 2 == 0:
        weights[-1] = 1
    return _like(weights.reshape((-1,) + (1,) * (len(g.shape) - axis - 1)), g)


def _r2c_vjp(F: Any, g: Any, shape: tuple[int, ...], need: Any, axis: int, norm: str) -> Any:
    n = shape[axis]
    return (_c2r(g * _half_weights(n, 0.5, axis, g), n=n, axis=axis, norm=_DUAL[norm]),)


_r2c = Op(
    "fft_r2c",
    lambda xp, x, axis, norm: xp.fft.rfft(x, axis=axis, norm=norm),
    _r2c_vjp,
    save=Shape(0),
    jvp="linear",
    abstract=lambda x, axis, norm: Spec(
        tuple(n // 2 + 1 if i == axis else n for i, n in enumerate(x.shape)), _complex(x.dtype)
    ),
    samples=lambda: [
        Sample((array(i, s),), {"axis": axis, "norm": norm}, torch=lambda t, x, a=axis, m=norm: t.fft.rfft(x, dim=a, norm=m))
        for i, (s, axis, norm) in enumerate(
            [((6,), 0, "backward"), ((2, 5), 1, "forward"), ((4, 3), 0, "ortho"), ((1,), 0, "backward")]
        )
    ],
    doc="The non-negative half of the Fourier transform of real values along an axis.",
)  # fmt: skip


def _c2r_vjp(F: Any, g: Any, saved: Any, need: Any, n: int, axis: int, norm: str) -> Any:
    spectrum = _r2c(g, axis=axis, norm=_DUAL[norm])
    return (spectrum * _half_weights(n, 2.0, axis, spectrum),)


_c2r = Op(
    "fft_c2r",
    lambda xp, x, n, axis, norm: xp.fft.irfft(x, n, axis=axis, norm=norm),
    _c2r_vjp,
    jvp="linear",
    abstract=lambda x, n, axis, norm: Spec(
        tuple(n if i == axis else size for i, size in enumerate(x.shape)), np.fft.irfft(np.ones(2, x.dtype)).dtype
    ),
    samples=lambda: [
        Sample((complex_array(i, s),), {"n": n, "axis": axis, "norm": norm},
               torch=lambda t, x, n=n, a=axis, m=norm: t.fft.irfft(x, n, dim=a, norm=m))
        for i, (s, n, axis, norm) in enumerate([((4,), 6, 0, "backward"), ((2, 3), 5, 1, "forward"), ((3, 2), 4, 0, "ortho")])
    ],
    doc="Real values from the non-negative half of their Fourier transform along an axis.",
)  # fmt: skip


# -- lengths and axes --------------------------------------------------------------------------------------------------


def _norm(norm: str | None, op: str) -> str:
    if norm is None:
        return "backward"
    if norm not in _DUAL:
        raise ShapeError(f"{op}: norm must be 'backward', 'forward' or 'ortho', got {norm!r}")
    return norm


def _resize(x: Any, axis: int, n: int | None, op: str) -> Any:
    """``x`` cut or filled up with zeros to ``n`` places on ``axis``."""
    size = x.shape[axis]
    if n is None:
        n = size
    if not isinstance(n, (int, np.integer)):
        raise ShapeError(f"{op}: the length of axis {axis} must be an int, got {n!r}")
    if n < 1:
        raise ShapeError(f"{op}: the length of axis {axis} must be at least 1, got {n}")
    if n < size:
        return x[(slice(None),) * axis + (slice(0, n),)]
    return pad(x, [(0, n - size if i == axis else 0) for i in range(x.ndim)]) if n > size else x


def _plan(x: Any, s: Any, axes: Any, op: str) -> tuple[tuple[int, ...], list[int | None]]:
    """The axes of a transform over several and their lengths, as NumPy fills them in."""
    if axes is None:
        axes = range(x.ndim) if s is None else range(x.ndim - len(s), x.ndim)
    axes = normalize_axis(axes, x.ndim, op)
    sizes: list[int | None] = [None] * len(axes) if s is None else [None if n == -1 else n for n in s]
    if len(sizes) != len(axes):
        raise ShapeError(f"{op}: {len(sizes)} lengths for {len(axes)} axes")
    return axes, sizes


def _several(x: Any, s: Any, axes: Any, norm: str | None, inverse: bool, op: str) -> Any:
    axes, sizes = _plan(x, s, axes, op)
    for axis, n in zip(axes, sizes):
        x = _resize(x, axis, n, op)
    if not axes:
        return x
    return _c2c(x, axes=axes, norm=_norm(norm, op), inverse=inverse)


def _real(x: Any, op: str) -> None:
    if x.dtype.kind == "c":
        raise DTypeError(
            f"{op}: expected real values, got {x.dtype}", hint=f"{op.replace('rfft', 'fft')} takes complex ones"
        )


def _irfft(x: Any, n: int | None, axis: int, norm: str, op: str) -> Any:
    n = 2 * (x.shape[axis] - 1) if n is None else n
    if n < 1:
        raise ShapeError(f"{op}: the length of axis {axis} must be at least 1, got {n}")
    return _c2r(_resize(x, axis, n // 2 + 1, op), n=n, axis=axis, norm=norm)


# -- the public functions ----------------------------------------------------------------------------------------------


def fft(x: Any, n: int | None = None, axis: int = -1, norm: str | None = None) -> Any:
    """Fourier transform along ``axis``, which is first cut or filled up with zeros to ``n`` places."""
    return _several(x, None if n is None else (n,), (axis,), norm, False, "fft")


def ifft(x: Any, n: int | None = None, axis: int = -1, norm: str | None = None) -> Any:
    """The inverse of :func:`fft`."""
    return _several(x, None if n is None else (n,), (axis,), norm, True, "ifft")


def fft2(x: Any, s: Sequence[int] | None = None, axes: Sequence[int] = (-2, -1), norm: str | None = None) -> Any:
    """Fourier transform over two axes; ``s`` gives their lengths."""
    return _several(x, s, axes, norm, False, "fft2")


def ifft2(x: Any, s: Sequence[int] | None = None, axes: Sequence[int] = (-2, -1), norm: str | None = None) -> Any:
    """The inverse of :func:`fft2`."""
    return _several(x, s, axes, norm, True, "ifft2")


def fftn(x: Any, s: Sequence[int] | None = None, axes: Sequence[int] | None = None, norm: str | None = None) -> Any:
    """Fourier transform over ``axes``: all of them, or as many of the last ones as ``s`` gives lengths for."""
    return _several(x, s, axes, norm, False, "fftn")


def ifftn(x: Any, s: Sequence[int] | None = None, axes: Sequence[int] | None = None, norm: str | None = None) -> Any:
    """The inverse of :func:`fftn`."""
    return _several(x, s, axes, norm, True, "ifftn")


def rfft(x: Any, n: int | None = None, axis: int = -1, norm: str | None = None) -> Any:
    """Fourier transform of real ``x`` along ``axis``: the n // 2 + 1 non-negative frequencies, which hold all of it."""
    _real(x, "rfft")
    axis = normalize_axis(axis, x.ndim, "rfft")[0]
    return _r2c(_resize(x, axis, n, "rfft"), axis=axis, norm=_norm(norm, "rfft"))


def irfft(x: Any, n: int | None = None, axis: int = -1, norm: str | None = None) -> Any:
    """The inverse of :func:`rfft`, with real values. The length ``n`` of the result is 2 (m - 1) for m frequencies unless
    given, so an odd one has to be. The imaginary parts of the first and, for even n, the last frequency are ignored.
    """
    axis = normalize_axis(axis, x.ndim, "irfft")[0]
    return _irfft(x, n, axis, _norm(norm, "irfft"), "irfft")


def rfftn(x: Any, s: Sequence[int] | None = None, axes: Sequence[int] | None = None, norm: str | None = None) -> Any:
    """Fourier transform of real ``x`` over ``axes``, the non-negative frequencies of the last of them only."""
    _real(x, "rfftn")
    axes, sizes = _plan(x, s, axes, "rfftn")
    if not axes:
        raise ShapeError("rfftn: no axes given")
    for axis, n in zip(axes, sizes):
        x = _resize(x, axis, n, "rfftn")
    norm = _norm(norm, "rfftn")
    x = _r2c(x, axis=axes[-1], norm=norm)
    return _c2c(x, axes=axes[:-1], norm=norm, inverse=False) if axes[:-1] else x


def irfftn(x: Any, s: Sequence[int] | None = None, axes: Sequence[int] | None = None, norm: str | None = None) -> Any:
    """The inverse of :func:`rfftn`; the last length in ``s`` is that of the result, as for :func:`irfft`."""
    axes, sizes = _plan(x, s, axes, "irfftn")
    if not axes:
        raise ShapeError("irfftn: no axes given")
    for axis, n in zip(axes[:-1], sizes):
        x = _resize(x, axis, n, "irfftn")
    norm = _norm(norm, "irfftn")
    if axes[:-1]:
        x = _c2c(x, axes=axes[:-1], norm=norm, inverse=True)
    return _irfft(x, sizes[-1], axes[-1], norm, "irfftn")


@speaks_as("rfft2")
def rfft2(x: Any, s: Sequence[int] | None = None, axes: Sequence[int] = (-2, -1), norm: str | None = None) -> Any:
    """:func:`rfftn` over two axes."""
    return rfftn(x, s, axes, norm)


@speaks_as("irfft2")
def irfft2(x: Any, s: Sequence[int] | None = None, axes: Sequence[int] = (-2, -1), norm: str | None = None) -> Any:
    """:func:`irfftn` over two axes."""
    return irfftn(x, s, axes, norm)


@speaks_as("hfft")
def hfft(x: Any, n: int | None = None, axis: int = -1, norm: str | None = None) -> Any:
    """Fourier transform of values whose spectrum is real, given by their non-negative half: the counterpart of rfft."""
    return irfft(conjugate(x), n, axis, _DUAL[_norm(norm, "hfft")])


@speaks_as("ihfft")
def ihfft(x: Any, n: int | None = None, axis: int = -1, norm: str | None = None) -> Any:
    """The inverse of :func:`hfft`: the non-negative half of what has the real spectrum ``x``."""
    return conjugate(rfft(x, n, axis, _DUAL[_norm(norm, "ihfft")]))


def _shift(x: Any, axes: Any, sign: int, op: str) -> Any:
    axes = normalize_axis(axes, x.ndim, op)
    return roll(x, tuple(x.shape[a] // 2 if sign > 0 else -(x.shape[a] // 2) for a in axes), axes) if axes else x


def fftshift(x: Any, axes: Any = None) -> Any:
    """The frequency 0 moved from the start to the middle of ``axes`` (all of them when ``None``)."""
    return _shift(x, axes, 1, "fftshift")


def ifftshift(x: Any, axes: Any = None) -> Any:
    """The inverse of :func:`fftshift`."""
    return _shift(x, axes, -1, "ifftshift")


def fftfreq(n: int, d: float = 1.0, dtype: Any = None, device: str | None = None) -> Tensor:
    """The frequencies of :func:`fft` of ``n`` samples spaced ``d`` apart, in cycles for each unit of ``d``."""
    from .creation import _dtype, _place

    return _place(np.fft.fftfreq(n, d).astype(_dtype(dtype)), device or modes.device, False)


def rfftfreq(n: int, d: float = 1.0, dtype: Any = None, device: str | None = None) -> Tensor:
    """The frequencies of :func:`rfft` of ``n`` samples spaced ``d`` apart, in cycles for each unit of ``d``."""
    from .creation import _dtype, _place

    return _place(np.fft.rfftfreq(n, d).astype(_dtype(dtype)), device or modes.device, False)


__all__ = [
    "fft", "fft2", "fftfreq", "fftn", "fftshift", "hfft", "ifft", "ifft2", "ifftn", "ifftshift", "ihfft", "irfft", "irfft2",
    "irfftn", "rfft", "rfft2", "rfftfreq", "rfftn",
]  # fmt: skip
