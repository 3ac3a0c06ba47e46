"""Changing the size of images and sequences: interpolate.

Every mode but "area" is a sparse linear map along each axis: an output is a weighted sum of 1, 2 or 4 inputs, its taps. One
op applies it along one axis, another is its adjoint; each is the other's gradient, so that any order works.
"""

from __future__ import annotations

import functools
import math
from typing import Any

import attrs
import numpy as np

from .. import backend
from ..errors import DTypeError, HyperparameterError, ShapeError
from ..op import Op, Sample, Spec
from .common import array, wide

_LINEAR = {"linear": 1, "bilinear": 2, "trilinear": 3}
_MODES = ("nearest", "nearest-exact", "linear", "bilinear", "bicubic", "trilinear", "area")
_CUBIC = -0.75  # the coefficient of PyTorch's cubic convolution


@attrs.frozen
class Taps:
    """Which inputs an output along an axis is made of: for each tap the positions, and the weights (``None`` for 1).

    Positions never fall, weights are float64.
    """

    size: int  # of the input
    positions: tuple[tuple[int, ...], ...]
    weights: tuple[tuple[float, ...], ...] | None

    @property
    def outputs(self) -> int:
        return len(self.positions[0])


@functools.lru_cache(maxsize=256)
def _tap_arrays(taps: Taps, dtype: np.dtype) -> list[tuple[np.ndarray, np.ndarray | None]]:
    weights = [None] * len(taps.positions) if taps.weights is None else [np.array(w, dtype) for w in taps.weights]
    return [(np.array(p), w) for p, w in zip(taps.positions, weights)]


def _resample_forward(xp: Any, x: Any, axis: int, taps: Taps) -> Any:
    if wide(x.dtype) and taps.weights is not None:
        return _resample_forward(xp, x.astype(np.float32), axis, taps).astype(x.dtype)
    out = None
    for positions, weights in _on_device(x, taps):
        part = xp.take(x, positions, axis=axis)
        if weights is not None:
            part *= weights.reshape((-1,) + (1,) * (x.ndim - axis - 1))
        out = part if out is None else xp.add(out, part, out=out)
    return out


def _on_device(x: Any, taps: Taps) -> Any:
    pairs = _tap_arrays(taps, x.dtype)
    owner = backend.of(x)
    if owner.xp is np:
        return pairs
    device = owner.device_of(x)
    return [(owner.from_numpy(p, device), None if w is None else owner.from_numpy(w, device)) for p, w in pairs]


def _adjoint_forward(xp: Any, g: Any, axis: int, taps: Taps) -> Any:
    if wide(g.dtype):
        return _adjoint_forward(xp, g.astype(np.float32), axis, taps).astype(g.dtype)
    shape = (*g.shape[:axis], taps.size, *g.shape[axis + 1 :])
    out = xp.zeros(shape, g.dtype)
    lead = (slice(None),) * axis
    for positions, weights in _on_device(g, taps):
        part = g if weights is None else g * weights.reshape((-1,) + (1,) * (g.ndim - axis - 1))
        if xp is np:  # positions do not fall: equal ones are runs
            starts = np.flatnonzero(np.r_[True, positions[1:] != positions[:-1]])
            if starts.size < positions.size:
                part = np.add.reduceat(part, starts, axis=axis)
            out[(*lead, positions[starts])] += part
        else:
            backend.of(out).scatter_add(out, (*lead, positions), part)
    return out


def _cases() -> list[tuple[tuple[int, ...], int, Taps]]:
    return [
        ((2, 3, 4), 2, _taps(4, 7, "linear", False, None)),
        ((2, 5, 3), 1, _taps(5, 3, "bicubic", True, None)),
        ((4,), 0, _taps(4, 2, "nearest", False, None)),
        ((2, 3), 1, _taps(3, 7, "nearest-exact", False, None)),
    ]


def _resample_spec(x: Spec, axis: int, taps: Taps) -> Spec:
    return Spec((*x.shape[:axis], taps.outputs, *x.shape[axis + 1 :]), x.dtype)


def _adjoint_spec(g: Spec, axis: int, taps: Taps) -> Spec:
    return Spec((*g.shape[:axis], taps.size, *g.shape[axis + 1 :]), g.dtype)


def _as_matrix(t: Any, taps: Taps) -> Any:
    matrix = np.zeros((taps.outputs, taps.size))
    for positions, weights in _tap_arrays(taps, np.dtype(np.float64)):
        np.add.at(matrix, (np.arange(taps.outputs), positions), 1.0 if weights is None else weights)
    return t.from_numpy(matrix)


_resample = Op(
    "resample",
    _resample_forward,
    lambda F, g, saved, need, axis, taps: (F.resample_adjoint(g, axis=axis, taps=taps),),
    heavy=True,
    abstract=_resample_spec,
    samples=lambda: [
        Sample(
            (array(i, shape),),
            {"axis": axis, "taps": taps},
            torch=lambda t, x, a=axis, p=taps: (x.movedim(a, -1) @ _as_matrix(t, p).T).movedim(-1, a),
        )
        for i, (shape, axis, taps) in enumerate(_cases())
    ],
    doc="Weighted sums of a few places along an axis.",
)
resample_adjoint = Op(
    "resample_adjoint",
    _adjoint_forward,
    lambda F, g, saved, need, axis, taps: (_resample(g, axis=axis, taps=taps),),
    heavy=True,
    abstract=_adjoint_spec,
    samples=lambda: [
        Sample(
            (array(i, (*shape[:axis], taps.outputs, *shape[axis + 1 :])),),
            {"axis": axis, "taps": taps},
            torch=lambda t, x, a=axis, p=taps: (x.movedim(a, -1) @ _as_matrix(t, p)).movedim(-1, a),
        )
        for i, (shape, axis, taps) in enumerate(_cases())
    ],
    doc="The adjoint of resample.",
)


@functools.lru_cache(maxsize=256)
def _taps(size: int, out: int, mode: str, align_corners: bool, factor: float | None, double: bool = True) -> Taps:
    """The taps of one axis; ``factor`` is the given scale factor where it defines the coordinates,
    ``double`` the precision in which a nearest neighbour is found."""
    steps = np.arange(out)
    if mode.startswith("nearest"):
        # in the precision of PyTorch: which neighbour is the nearest may hang on the last digit
        dtype: Any = np.float64 if double else np.float32
        scale = dtype(1 / factor) if factor else dtype(size) / dtype(out)
        places = steps.astype(dtype) * scale
        if mode == "nearest-exact":
            places = np.maximum((steps.astype(dtype) + dtype(0.5)) * scale - dtype(0.5), dtype(0)) + dtype(0.5)
        found = np.minimum(np.floor(places.astype(np.float32)).astype(int), size - 1)
        return Taps(size, (tuple(found.tolist()),), None)
    if align_corners:
        places = steps * ((size - 1) / (out - 1) if out > 1 else 0.0)
    else:
        places = (steps + 0.5) * (1 / factor if factor else size / out) - 0.5
    if mode == "bicubic":
        floor = np.floor(places)
        t = places - floor
        a = _CUBIC
        weights = [
            ((a * (t + 1) - 5 * a) * (t + 1) + 8 * a) * (t + 1) - 4 * a,
            ((a + 2) * t - (a + 3)) * t * t + 1,
            ((a + 2) * (1 - t) - (a + 3)) * (1 - t) ** 2 + 1,
            ((a * (2 - t) - 5 * a) * (2 - t) + 8 * a) * (2 - t) - 4 * a,
        ]
        positions = [np.clip(floor.astype(int) + k, 0, size - 1) for k in (-1, 0, 1, 2)]
    else:
        places = np.maximum(places, 0)
        floor = np.minimum(np.floor(places), size - 1)
        t = np.clip(places - floor, 0, 1)
        weights = [1 - t, t]
        positions = [floor.astype(int), np.minimum(floor.astype(int) + 1, size - 1)]
    return Taps(size, tuple(tuple(p.tolist()) for p in positions), tuple(tuple(w.tolist()) for w in weights))


def _sizes(x: Any, size: Any, scale_factor: Any) -> tuple[tuple[int, ...], tuple[float | None, ...]]:
    """The output's sizes and the given factors of the pixel axes."""
    axes = x.ndim - 2
    if (size is None) == (scale_factor is None):
        raise HyperparameterError("interpolate: give either size or scale_factor")
    given = size if size is not None else scale_factor
    values = tuple(given) if isinstance(given, (tuple, list)) else (given,) * axes
    name = "size" if size is not None else "scale_factor"
    if len(values) != axes:
        raise ShapeError(
            f"interpolate: {name} {given!r} has {len(values)} numbers for the {axes} pixel axes of {tuple(x.shape)}"
        )
    if size is not None:
        if not all(isinstance(n, (int, np.integer)) and n > 0 for n in values):
            raise HyperparameterError(f"interpolate: size must hold positive ints, got {given!r}")
        return tuple(int(n) for n in values), (None,) * axes
    if not all(isinstance(f, (int, float)) and 0 < f < math.inf for f in values):
        raise HyperparameterError(f"interpolate: scale_factor must be positive, got {given!r}")
    sizes = tuple(math.floor(n * f) for n, f in zip(x.shape[2:], values))
    if min(sizes) < 1:
        raise ShapeError(f"interpolate: scale_factor {given!r} leaves nothing of {tuple(x.shape)}")
    return sizes, tuple(float(f) for f in values)


def interpolate(
    x: Any,
    size: Any = None,
    scale_factor: Any = None,
    mode: str = "nearest",
    align_corners: bool = False,
    recompute_scale_factor: bool = False,
) -> Any:
    """Resize the pixel axes of x (N, C, ...) to ``size``, or by ``scale_factor`` (an int or number, or one for each axis).

    ``mode`` is "nearest" (the pixel at or before; as PyTorch's and OpenCV's, which is off by up to one pixel),
    "nearest-exact" (the pixel whose centre is nearest, as scikit-image's and Pillow's), "linear" for 1, "bilinear" and
    "bicubic" for 2, "trilinear" for 3 pixel axes, or "area" (the mean of the pixels that an output covers). No mode but
    area filters what is made smaller.

    ``align_corners`` maps the centres of the outermost pixels onto each other, instead of the image's edges; the modes
    nearest and area have no such choice. The coordinates follow from ``scale_factor`` as it was given, unless
    ``recompute_scale_factor`` asks for those of the resulting size.

    Source: R. Keys, Cubic convolution interpolation for digital image processing (1981), with a = -0.75 for "bicubic";
    conventions and borders are PyTorch's.
    """
    if mode not in _MODES:
        raise HyperparameterError(f"interpolate: mode must be one of {', '.join(_MODES)}, got {mode!r}")
    axes = x.ndim - 2
    if not 1 <= axes <= 3:
        raise ShapeError(
            f"interpolate expects inputs of shape (N, C, ...) with 1 to 3 pixel axes, got {tuple(x.shape)}"
        )
    if _LINEAR.get(mode, 2 if mode == "bicubic" else axes) != axes:
        raise ShapeError(
            f"interpolate: mode {mode!r} does not fit the {axes} pixel axes of {tuple(x.shape)}",
            hint=f"mode={('linear', 'bilinear', 'trilinear')[axes - 1]!r}",
        )
    if x.dtype.kind in "biuc" and not mode.startswith("nearest"):
        raise DTypeError(f"interpolate: mode {mode!r} expects real floating inputs, got {x.dtype}")
    if 0 in x.shape[2:]:
        raise ShapeError(f"interpolate: no pixels in {tuple(x.shape)}")
    if align_corners and (mode.startswith("nearest") or mode == "area"):
        raise HyperparameterError(f"interpolate: align_corners has no meaning for mode {mode!r}")
    sizes, factors = _sizes(x, size, scale_factor)
    if recompute_scale_factor:
        factors = (None,) * axes
    if mode == "area":
        from .. import ops

        return getattr(ops, f"adaptive_avg_pool{axes}d")(x, sizes)
    kind = "linear" if mode in _LINEAR else mode
    order = sorted(range(axes), key=lambda i: sizes[i] / x.shape[2 + i])  # what gets smaller first
    double = x.dtype == np.float64
    for i in order:
        taps = _taps(x.shape[2 + i], sizes[i], kind, bool(align_corners), factors[i], double)
        if taps.outputs != taps.size or taps.positions[0] != tuple(range(taps.size)) or factors[i] not in (None, 1.0):
            x = _resample(x, axis=2 + i, taps=taps)
    return x
