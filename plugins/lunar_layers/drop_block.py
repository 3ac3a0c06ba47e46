"""DropBlock: dropout of squares."""

from __future__ import annotations

import math
from typing import Any

from lunar_core import backend, ops
from lunar_core.component import field, in_range, positive
from lunar_core.contracts.layer import Layer
from lunar_core.errors import ShapeError
from lunar_layers.checks import require_floating
from lunar_layers.noise import uniform_beside


class DropBlock(Layer):
    """In training, blocks of ``block_size`` pixels a side become 0, and the rest is scaled up by what is missing.

    ``y = x * mask * size(mask) / sum(mask)``. The corners of the blocks are drawn with probability ``gamma`` wherever
    a whole block fits, for each example and channel by itself, and
    ``gamma = p / block_size^2 * H * W / ((H - block_size + 1) * (W - block_size + 1))``, so that about ``p`` of the
    pixels are dropped (overlapping blocks make it a little less). In evaluation the input is returned as it is.

    Shapes: x (N, C, H, W) -> y of the same; sequences (N, C, L) and volumes (N, C, D, H, W) with the powers that
    belong to them. A side shorter than the block has blocks of its own length. The corners come from the stream
    "drop_block". The paper raises ``p`` from 0 over the training: schedule the attribute ``p``.

    Source: G. Ghiasi, T.-Y. Lin and Q. V. Le, DropBlock, arXiv:1810.12890, algorithm 1 and equation 1, with a mask for
    each channel; blocks are drawn by a corner instead of the centre, which is the same and allows even sizes.
    """

    p: float = field(
        default=0.1, validator=in_range(0, 1, include_high=False), doc="share of the pixels that is dropped, about"
    )
    block_size: int = field(default=7, validator=positive, doc="side of a block")

    def forward(self, x: Any) -> Any:
        require_floating("DropBlock", x)
        shape = tuple(x.shape)
        if len(shape) < 3:
            raise ShapeError(f"DropBlock expects inputs (batch, channels, sizes...), got {shape}")
        if not self.training or self.p == 0 or not math.prod(shape):
            return x
        blocks = [min(self.block_size, n) for n in shape[2:]]
        room = tuple(n - b + 1 for n, b in zip(shape[2:], blocks))
        gamma = self.p / math.prod(blocks) * math.prod(shape[2:]) / math.prod(room)
        corners = uniform_beside(x, "drop_block", (*shape[:2], *room)) < gamma
        xp = backend.of(corners).xp
        dropped = corners
        for axis, (n, block) in enumerate(zip(shape[2:], blocks), start=2):  # corner to block, one axis after the other
            wide = xp.zeros((*dropped.shape[:axis], n, *dropped.shape[axis + 1 :]), bool)
            head, span = (slice(None),) * axis, dropped.shape[axis]
            for offset in range(block):
                wide[(*head, slice(offset, offset + span))] |= dropped
            dropped = wide
        mask = ~dropped
        return ops.masked(x, mask, scale=1.0) * (mask.size / mask.sum().clip(1)).astype(x.dtype)
