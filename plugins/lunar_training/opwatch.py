"""Every op of a step with its module, the range of its values and how many are not finite."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np

from lunar_core import autograd, backend
from lunar_core.tensor import Tensor


class Row(NamedTuple):
    """One result of one op, or of its gradient rule."""

    phase: str  # "forward" or "backward"
    op: str
    module: str  # the path of the innermost module; "" for the model itself and beside it
    low: float  # smallest and largest value; NaN where there is one
    high: float
    nonfinite: int

    def __str__(self) -> str:
        what = f"the gradient of {self.op}" if self.phase == "backward" else self.op
        place = f'module "{self.module}"' if self.module else "the model itself or the loss"
        count = "1 value that is" if self.nonfinite == 1 else f"{self.nonfinite} values that are"
        return f"{what} in {place} gave {count} not finite"


class OpWatch:
    """A plugin (band reader) that keeps a :class:`Row` for each result, and looks closer at the first bad one.

    ``first`` is the row of the first result that is not finite, or None; ``cause`` says what went into it: "" where all
    inputs were finite, else which of them was not, by the name of the parameter where it is one.
    """

    band = "reader"
    draws = False

    def __init__(self) -> None:
        self.begin()

    def begin(self) -> None:
        """Forget everything: a batch begins."""
        self.rows: list[Row] = []
        self.first: Row | None = None
        self.cause = ""
        self.examples: list[int] = []  # positions along the first axis of the first bad result, if that is the batch's
        self.size: int | None = None  # examples in the batch
        self._within = [""]
        self._paths: dict[int, str] = {}

    def lunar_batch_start(self, batch: Any) -> None:
        self.begin()
        self.size = len(batch[0])

    def lunar_module_forward_pre(self, path: str) -> None:
        self._within.append(path)

    def lunar_module_forward_post(self, path: str) -> None:
        while len(self._within) > 1 and self._within.pop() != path:
            pass  # the call of a module inside raised

    def lunar_op_forward_post(self, op: Any, inputs: Any, outputs: Any, ctx: Any) -> None:
        if ctx.stage != "train":
            return
        path = self._within[-1]
        several = type(outputs) is tuple
        for value in outputs if several else (outputs,):
            if not isinstance(value, Tensor):
                continue
            node: Any = value.node
            if node is not None:
                self._paths[(node.parents[0] if type(node) is autograd.Pick else node).age] = path
            self._note("forward", op.name, path, value.data, inputs, ctx)

    def lunar_op_backward_post(self, op: Any, node: Any, grads: Any, ctx: Any) -> None:
        path = self._paths.get(node.age, "")
        for g in grads:
            if g is not None:
                self._note("backward", op.name, path, g.data if isinstance(g, Tensor) else g, (), ctx)

    def _note(self, phase: str, op: str, path: str, array: Any, inputs: Any, ctx: Any) -> None:
        if array.dtype.kind not in "fV" or not array.size:
            return
        low, high = float(array.min()), float(array.max())
        bad = 0
        if not (math.isfinite(low) and math.isfinite(high)):
            finite = backend.of(array).xp.isfinite(array)
            bad = int(array.size - finite.sum())
        row = Row(phase, op, path, low, high, bad)
        self.rows.append(row)
        if bad and self.first is None:
            self.first = row
            self.cause = _cause(inputs, ctx.model)
            if array.ndim and len(array) == self.size:
                finite = backend.of(array).to_numpy(finite).reshape(len(array), -1)
                self.examples = [int(i) for i in np.flatnonzero(~finite.all(axis=1))]


def _cause(inputs: Any, model: Any) -> str:
    names = {id(p): name for name, p in model.named_parameters()}
    for i, value in enumerate(inputs):
        array = value.data if isinstance(value, Tensor) else value
        if (
            backend.is_array(array)
            and array.dtype.kind in "fV"
            and not bool(backend.of(array).xp.isfinite(array).all())
        ):
            return f"the parameter {names[id(value)]}" if id(value) in names else f"input {i} of it"
    return ""
