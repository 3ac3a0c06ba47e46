"""Attention within windows of a grid, as in Swin."""

from __future__ import annotations

import functools
import math
from typing import Any

import numpy as np

from lunar_core import ops
from lunar_core.component import field, hyperparameter_error, in_range, non_negative, positive
from lunar_core.contracts.initializer import Initializer
from lunar_core.errors import DTypeError, ShapeError
from lunar_core.modes import modes
from lunar_core.module import Parameter
from lunar_core.op import Spec
from lunar_layers.attention import beside, raw
from lunar_layers.checks import require_floating
from lunar_layers.initializers import TruncatedNormal, as_initializer
from lunar_layers.multi_head_attention import ProjectedAttention, join_heads


class WindowAttention(ProjectedAttention):
    """Self-attention of the tokens of each window of a grid, with a learned bias for each relative place.

    Shapes: x (batch, *grid, width) -> the same. ``window_size`` is a number for all axes of the grid or one for each
    (height and width for images, one number for a sequence (batch, time, width)); the first call settles it.
    ``relative_position_bias_table`` (places, heads) has ``2 * window - 1`` places along each axis. The projections are
    those of :class:`~lunar_layers.multi_head_attention.ProjectedAttention`.

    ``shift`` moves the windows by that many places, cyclically; tokens that only the wrapping brings together do not
    see each other. Blocks of Swin take 0 and ``window_size // 2`` in turn. Along an axis that one window covers there
    is no shift. A grid that windows do not divide is padded at its end; padding is not seen (torchvision lets it be).

    In a Transformer ``key_mask`` (batch, *grid) hides padding and ``is_causal`` what comes later, in C order. ``dropout``
    drops attention weights in training.

    Source: Z. Liu et al., Swin Transformer, arXiv:2103.14030, sections 3.2 and equation 4.

    Raises:
        ShapeError: inputs of another width or number of axes; keys of another sequence, an ``attn_mask``, a position
            scheme or a cache, since windows have no use for them.
    """

    window_size: int | tuple[int, ...] = field(
        default=7, validator=positive, kw_only=True, doc="tokens along each axis"
    )
    shift: int | tuple[int, ...] = field(
        default=0, validator=non_negative, kw_only=True, doc="by how much the windows are moved"
    )
    dropout: float = field(
        default=0.0, validator=in_range(0, 1, include_high=False), kw_only=True, doc="dropout of attention weights"
    )
    table_init: Initializer = field(
        factory=lambda: TruncatedNormal(std=0.02),
        converter=as_initializer,
        kw_only=True,
        doc="initializer of the table",
    )

    def __attrs_post_init__(self) -> None:
        window, shift = self.window_size, self.shift
        sizes = window if isinstance(window, tuple) else (window,) * (len(shift) if isinstance(shift, tuple) else 1)
        shifts = shift if isinstance(shift, tuple) else (shift,) * len(sizes)
        if len(shifts) != len(sizes) or any(s >= w for s, w in zip(shifts, sizes)):
            raise hyperparameter_error(self, "shift", shift, f"below window_size, {window}, along each axis")
        super().__attrs_post_init__()

    def input_spec(self) -> Spec | None:
        if self.embed_dim is None or not isinstance(self.window_size, tuple):  # the axes of the grid are not known
            return None
        return Spec((1, *self.window_size, self.embed_dim), modes.dtype)

    def build(self, query: Any, *_: Any, **__: Any) -> None:
        self._check_grid(query)
        super().build(Spec((1, 1, query.shape[-1]), query.dtype))
        self.window_size = self._along(self.window_size, len(query.shape) - 2)
        places = math.prod(2 * w - 1 for w in self.window_size)
        self.relative_position_bias_table = Parameter(self.table_init((places, self.num_heads)))  # (places, heads)

    def forward(
        self,
        query: Any,
        key: Any = None,
        value: Any = None,
        *,
        attn_mask: Any = None,
        key_mask: Any = None,
        is_causal: bool = False,
        cache: Any = None,
        position: Any = None,
    ) -> Any:
        self.refuse(
            "windows mix the tokens of one sequence, by their places in it", key=key, value=value, attn_mask=attn_mask,
            cache=cache, position=position,
        )  # fmt: skip
        x = query
        self._check_grid(x)
        batch, grid, width = x.shape[0], tuple(x.shape[1:-1]), x.shape[-1]
        windows: Any = self.window_size  # a tuple since the first call
        shifts = tuple(0 if w >= n else s for s, w, n in zip(self._along(self.shift, len(grid)), windows, grid))
        padded = tuple(-(-n // w) * w for n, w in zip(grid, windows))
        axes = tuple(range(1, 1 + len(grid)))
        if padded != grid:
            x = ops.pad(x, [(0, 0), *[(0, p - n) for p, n in zip(padded, grid)], (0, 0)])
        if any(shifts):
            x = ops.roll(x, tuple(-s for s in shifts), axis=axes)
        tokens = math.prod(windows)
        q, k, v = self._project(_cut(x, windows).reshape((-1, tokens, width)), None, None)
        count = math.prod(padded) // tokens
        bias = ops.embedding(beside(x, relative_places(windows)), self.relative_position_bias_table)
        mask: Any = ops.moveaxis(bias, -1, 0)  # (heads, tokens, tokens)
        allowed = allowed_pairs(grid, windows, shifts, is_causal)  # (windows, tokens, tokens)
        seen = None if allowed is None else beside(x, allowed)[:, None]
        if key_mask is not None:
            present = self._present(key_mask, batch, grid, padded, shifts, windows).reshape(
                (batch, count, 1, 1, tokens)
            )
            seen = present if seen is None else seen & present
        if seen is not None:
            mask = ops.where(seen, mask, -np.inf)
            shape = (batch, count, self.num_heads, tokens, tokens)
            mask = ops.broadcast_to(mask, shape).reshape((batch * count, *shape[2:]))
        dropout = self.dropout if self.training else 0.0
        y = self.out_proj(join_heads(ops.scaled_dot_product_attention(q, k, v, mask, dropout_p=dropout)))
        y = _join(y, batch, padded, windows)
        if any(shifts):
            y = ops.roll(y, shifts, axis=axes)
        return y if padded == grid else y[(slice(None), *[slice(0, n) for n in grid])]

    def _along(self, value: int | tuple[int, ...], count: int) -> tuple[int, ...]:
        return value if isinstance(value, tuple) else (value,) * count

    def _check_grid(self, x: Any) -> None:
        name = type(self).__name__
        require_floating(name, x)
        axes = len(self.window_size) if isinstance(self.window_size, tuple) else None
        if len(x.shape) < 3 or (axes is not None and len(x.shape) != axes + 2):
            expected = "(batch, *grid, width)" if axes is None else f"(batch, {axes} axes of the grid, width)"
            raise ShapeError(f"{name} expects inputs {expected}, got {tuple(x.shape)}")
        if self.embed_dim not in (None, x.shape[-1]):
            raise ShapeError(f"{name} expects tokens of width {self.embed_dim}, got inputs {tuple(x.shape)}")

    def _present(self, key_mask: Any, batch: int, grid: Any, padded: Any, shifts: Any, windows: Any) -> Any:
        mask = raw(key_mask)
        if mask.dtype.kind != "b":
            raise DTypeError(
                f"WindowAttention: key_mask must hold bools, True where there is a token, got {mask.dtype}"
            )
        if tuple(mask.shape) != (batch, *grid):
            raise ShapeError(f"WindowAttention: key_mask must be {(batch, *grid)}, got {tuple(mask.shape)}")
        number = mask.astype(np.int8)[..., None]
        number = ops.pad(number, [(0, 0), *[(0, p - n) for p, n in zip(padded, grid)], (0, 0)])
        number = ops.roll(number, tuple(-s for s in shifts), axis=tuple(range(1, 1 + len(grid))))
        return _cut(number, windows) != 0


def _cut(x: Any, windows: tuple[int, ...]) -> Any:
    """(batch, *grid, width) -> (batch, *windows of the grid, *tokens of a window, width)."""
    n = len(windows)
    shape = [x.shape[0]]
    for size, window in zip(x.shape[1:], windows):
        shape += [size // window, window]
    order = (0, *range(1, 2 * n, 2), *range(2, 2 * n + 1, 2), 2 * n + 1)
    return ops.transpose(x.reshape((*shape, x.shape[-1])), order)


def _join(y: Any, batch: int, grid: tuple[int, ...], windows: tuple[int, ...]) -> Any:
    """(batch * windows, tokens, width) -> (batch, *grid, width)."""
    n = len(windows)
    y = y.reshape((batch, *[g // w for g, w in zip(grid, windows)], *windows, y.shape[-1]))
    order = [0]
    for i in range(n):
        order += [1 + i, 1 + n + i]
    return ops.transpose(y, (*order, 2 * n + 1)).reshape((batch, *grid, y.shape[-1]))


def _places(grid: tuple[int, ...]) -> np.ndarray:
    """The coordinates of each token, (tokens, axes)."""
    return np.stack([a.reshape(-1) for a in np.meshgrid(*map(np.arange, grid), indexing="ij")], axis=-1)


@functools.lru_cache(maxsize=32)
def relative_places(windows: tuple[int, ...]) -> np.ndarray:
    """The row of the table for each pair of tokens of a window, (tokens, tokens)."""
    places = _places(windows)
    distance = places[:, None] - places[None] + (np.array(windows) - 1)
    rows = np.zeros(distance.shape[:2], np.int64)
    for axis, window in enumerate(windows):
        rows = rows * (2 * window - 1) + distance[..., axis]
    rows.flags.writeable = False
    return rows


@functools.lru_cache(maxsize=32)
def allowed_pairs(
    grid: tuple[int, ...], windows: tuple[int, ...], shifts: tuple[int, ...], is_causal: bool
) -> np.ndarray | None:
    """Bools (windows, tokens, tokens): which tokens of a window see each other; ``None`` if all do."""
    padded = tuple(-(-n // w) * w for n, w in zip(grid, windows))
    if padded == grid and not any(shifts) and not is_causal:
        return None
    at = np.arange(math.prod(padded)).reshape(padded)
    at = np.roll(at, tuple(-s for s in shifts), axis=tuple(range(len(grid))))
    slot = _places(padded)  # where a token stands after the shift
    place = np.stack(np.unravel_index(at.reshape(-1), padded), axis=-1)  # and before
    wrapped = place < slot  # along these axes it came around the border
    inside = (place < np.array(grid)).all(axis=-1)
    order = np.ravel_multi_index(tuple(place.T), padded)

    def by_window(values: np.ndarray) -> np.ndarray:
        shaped = values.reshape((1, *padded, -1))
        tokens = math.prod(windows)
        return _cut(shaped, windows).reshape((-1, tokens, shaped.shape[-1]))

    wrapped, inside, order = by_window(wrapped), by_window(inside)[..., 0], by_window(order)[..., 0]
    allowed = (wrapped[:, :, None] == wrapped[:, None]).all(axis=-1) & inside[:, None]
    if is_causal:
        allowed &= order[:, None] <= order[:, :, None]
    allowed |= np.eye(allowed.shape[1], dtype=bool)  # padding sees itself, so that no row is empty
    allowed.flags.writeable = False
    return allowed
