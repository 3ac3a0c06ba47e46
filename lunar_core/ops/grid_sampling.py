"""Reading images at given places: grid_sample, and affine_grid, which makes such places.

A sample is a weighted sum of the pixels around its place. Two ops, the reading of numbered pixels and its adjoint, are
each other's gradient; coordinates and weights are plain ops, so that gradients of any order exist in images and grid.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from .. import backend
from ..errors import DTypeError, HyperparameterError, ShapeError
from ..op import Op, Sample, Shape, Spec
from ..tensor import Tensor
from .common import array, wide
from .elementwise import clip, floor, where
from .floating import round_
from .linalg import matmul

_MODES = ("bilinear", "nearest", "bicubic")
_PADDINGS = ("zeros", "border", "reflection")
_CUBIC = -0.75

# -- numbered pixels ---------------------------------------------------------------------------------------------------


def _read_forward(xp: Any, x: Any, index: Any) -> Any:
    """Index -1 reads 0."""
    safe = xp.maximum(index, 0)
    if xp is np:
        out = np.empty((*x.shape[:2], index.shape[1]), x.dtype)
        for n in range(x.shape[0]):
            np.take(x[n], safe[n], axis=1, out=out[n], mode="clip")
    else:
        out = xp.take_along_axis(x, safe[:, None, :], 2)
    return xp.where((index < 0)[:, None, :], xp.zeros((), x.dtype), out)


def _spread_forward(xp: Any, g: Any, index: Any, size: int) -> Any:
    if wide(g.dtype):
        return _spread_forward(xp, g.astype(np.float32), index, size).astype(g.dtype)
    n, c, _ = g.shape
    out = xp.zeros((n, c, size + 1), g.dtype)  # the last place takes what was read from nowhere
    places = xp.where(index < 0, size, index)
    if xp is np:
        rows = (np.arange(n * c) * (size + 1)).reshape(n, c, 1)
        np.add.at(out.reshape(-1), (rows + places[:, None, :]).reshape(-1), np.ascontiguousarray(g).reshape(-1))
    else:
        rows, channels = xp.arange(n)[:, None, None], xp.arange(c)[None, :, None]
        backend.of(out).scatter_add(out, (rows, channels, places[:, None, :]), g)
    return out[:, :, :size]


def _index() -> np.ndarray:
    return np.array([[0, 3, -1, 3, 1], [2, -1, 0, 0, 5]])


read_pixels = Op(
    "read_pixels",
    _read_forward,
    lambda F, g, saved, need: (F.spread_pixels(g, saved[0], size=saved[1][2]), None),
    save=(1, Shape(0)),
    heavy=True,
    abstract=lambda x, index: Spec((*x.shape[:2], index.shape[1]), x.dtype),
    samples=lambda: [
        Sample(
            (array(0, (2, 3, 6)), _index()),
            torch=lambda t, x, i: x.gather(2, i.clamp(0)[:, None].expand(2, 3, 5)) * (i >= 0)[:, None],
        )
    ],
    doc="x (N, C, P) at the places index (N, Q), -1 for a 0: (N, C, Q).",
)
spread_pixels = Op(
    "spread_pixels",
    _spread_forward,
    lambda F, g, index, need, size: (F.read_pixels(g, index), None),
    save=1,
    heavy=True,
    abstract=lambda g, index, size: Spec((*g.shape[:2], size), g.dtype),
    samples=lambda: [
        Sample(
            (array(0, (2, 3, 5)), _index()),
            {"size": 6},
            torch=lambda t, g, i: t.zeros(2, 3, 6, dtype=g.dtype).scatter_add(
                2, i.clamp(0)[:, None].expand(2, 3, 5), g * (i >= 0)[:, None]
            ),
        )
    ],
    doc="Values (N, C, Q) added up at the places index (N, Q) of zeros (N, C, size): the adjoint of read_pixels.",
)


# -- places ------------------------------------------------------------------------------------------------------------


def _reflect(x: Any, low: float, high: float) -> Any:
    """Mirror coordinates at ``low`` and ``high`` until they lie between."""
    if high <= low:
        return x * 0
    span = high - low
    distance = abs(x - low)
    turns = floor(distance / span)
    rest = distance - turns * span
    return where(turns % 2 == 0, rest, span - rest) + low


def _coordinates(grid: Any, size: int, padding: str, align_corners: bool, keep_outside: bool) -> Any:
    """Pixel coordinates along one axis for -1..1."""
    x = (grid + 1) * ((size - 1) / 2) if align_corners else ((grid + 1) * size - 1) * 0.5
    return x if keep_outside else _inside(x, size, padding, align_corners)


def _inside(x: Any, size: int, padding: str, align_corners: bool) -> Any:
    if padding == "reflection":
        x = _reflect(x, 0, size - 1) if align_corners else _reflect(x, -0.5, size - 0.5)
    return x if padding == "zeros" else clip(x, 0, size - 1)


def _detached(x: Any) -> Any:
    return x.data if isinstance(x, Tensor) else x


def _taps(x: Any, size: int, mode: str, padding: str, align_corners: bool) -> list[tuple[Any, Any]]:
    """Pairs (pixel along the axis as an integer array with -1 for outside, weight or ``None`` for 1)."""
    xp = backend.of(_detached(x)).xp
    if mode == "nearest":
        places = [(_detached(round_(x)), None)]
    else:
        below = _detached(floor(x))
        t = x - below
        if mode == "bilinear":
            places = [(below, 1 - t), (below + 1, t)]
        else:
            a = _CUBIC
            outer, far = t + 1, 2 - t
            near = 1 - t
            places = [
                (below - 1, ((a * outer - 5 * a) * outer + 8 * a) * outer - 4 * a),
                (below, ((a + 2) * t - (a + 3)) * t * t + 1),
                (below + 1, ((a + 2) * near - (a + 3)) * near * near + 1),
                (below + 2, ((a * far - 5 * a) * far + 8 * a) * far - 4 * a),
            ]
    taps = []
    for place, weight in places:
        if mode == "bicubic":
            place = _inside(place, size, padding, align_corners)
        outside = ~((place >= 0) & (place <= size - 1))  # NaN is outside
        taps.append((xp.where(outside, -1, xp.where(outside, 0, place)).astype(np.int64), weight))
    return taps


def _check(x: Any, grid: Any, mode: str, padding_mode: str) -> None:
    axes = x.ndim - 2
    if mode not in _MODES or padding_mode not in _PADDINGS:
        raise HyperparameterError(
            f"grid_sample: mode must be one of {', '.join(_MODES)} and padding_mode one of {', '.join(_PADDINGS)}, "
            f"got {mode!r} and {padding_mode!r}"
        )
    if axes not in (2, 3) or grid.ndim != x.ndim or grid.shape[0] != x.shape[0] or grid.shape[-1] != axes:
        raise ShapeError(
            "grid_sample expects x (N, C, H, W) with grid (N, OH, OW, 2), or x (N, C, D, H, W) with grid "
            f"(N, OD, OH, OW, 3), got {tuple(x.shape)} and {tuple(grid.shape)}"
        )
    if mode == "bicubic" and axes == 3:
        raise HyperparameterError("grid_sample: mode 'bicubic' is for images (N, C, H, W), not for volumes")
    if 0 in x.shape[2:]:
        raise ShapeError(f"grid_sample: no pixels in {tuple(x.shape)}")
    for name, a in (("x", x), ("grid", grid)):
        if a.dtype.kind in "biuc":
            raise DTypeError(f"grid_sample expects real floating arrays, {name} is {a.dtype}")


def grid_sample(
    x: Any, grid: Any, mode: str = "bilinear", padding_mode: str = "zeros", align_corners: bool = False
) -> Any:
    """Read images at given places.

    Shapes: x (N, C, H, W), grid (N, OH, OW, 2) -> (N, C, OH, OW); or volumes x (N, C, D, H, W), grid (N, OD, OH, OW, 3)
    -> (N, C, OD, OH, OW). The grid's last axis is (x, y) or (x, y, z), -1 the left, upper or front edge and 1 the other:
    of the image, or of the outermost pixels' centres with ``align_corners``.

    ``mode`` is "bilinear" (trilinear for volumes), "nearest" or "bicubic" (images only, a = -0.75). Outside of the image
    ``padding_mode`` "zeros" reads 0, "border" the nearest pixel, "reflection" the mirrored image. Differentiable in x and,
    but for "nearest", in the grid, to any order. A NaN in the grid reads 0 where the padding is zeros.

    Source: M. Jaderberg et al., Spatial Transformer Networks, arXiv:1506.02025; conventions are PyTorch's.
    """
    _check(x, grid, mode, padding_mode)
    sizes = tuple(x.shape[2:])
    axes = len(sizes)
    batch, channels = x.shape[:2]
    points = grid.reshape((batch, -1, axes))
    taps = []
    for i, size in enumerate(sizes):
        place = _coordinates(points[..., axes - 1 - i], size, padding_mode, align_corners, mode == "bicubic")
        taps.append(_taps(place, size, mode, padding_mode, align_corners))
    flat = x.reshape((batch, channels, -1))
    out: Any = None
    for index, weight in _corners(taps, sizes):
        part = read_pixels(flat, index)
        if weight is not None:
            part = part * weight.reshape((batch, 1, -1))
        out = part if out is None else out + part
    return out.reshape((batch, channels, *grid.shape[1:-1]))


def _corners(taps: list[list[tuple[Any, Any]]], sizes: tuple[int, ...]) -> list[tuple[Any, Any]]:
    """All combinations of the axes' taps: number of the pixel, -1 if one axis is outside, and product of weights."""
    corners = taps[0]
    for axis, size in zip(taps[1:], sizes[1:]):
        combined = []
        for index, weight in corners:
            for place, w in axis:
                xp = backend.of(place).xp
                number = xp.where((index < 0) | (place < 0), -1, index * size + place)
                combined.append((number, w if weight is None else weight if w is None else weight * w))
        corners = combined
    return corners


def affine_grid(theta: Any, size: Any, align_corners: bool = False) -> Any:
    """The grid of :func:`grid_sample` for affine maps of the output's coordinates.

    Shapes: theta (N, 2, 3) and ``size`` (N, C, H, W) -> (N, H, W, 2); or theta (N, 3, 4) and (N, C, D, H, W)
    -> (N, D, H, W, 3).
    """
    size = tuple(int(n) for n in size)
    axes = len(size) - 2
    if axes not in (2, 3) or tuple(theta.shape) != (size[0], axes, axes + 1) or min(size) < 1:
        raise ShapeError(
            "affine_grid expects theta (N, 2, 3) with size (N, C, H, W) or theta (N, 3, 4) with size (N, C, D, H, W), "
            f"got {tuple(theta.shape)} and {size}"
        )
    lines = []
    for n in size[2:]:
        steps = np.linspace(-1, 1, n) if n > 1 else np.zeros(1)
        lines.append(steps if align_corners else steps * ((n - 1) / n))
    mesh = np.meshgrid(*lines, indexing="ij")[::-1]  # the last axis is x
    points = np.stack([*mesh, np.ones_like(mesh[0])], axis=-1).reshape(-1, axes + 1)
    raw = _detached(theta)
    owner = backend.of(raw)
    base = owner.from_numpy(points.astype(raw.dtype), owner.device_of(raw))
    grid = matmul(Tensor(base) if isinstance(theta, Tensor) else base, theta.swapaxes(-1, -2))
    return grid.reshape((size[0], *size[2:], axes))
