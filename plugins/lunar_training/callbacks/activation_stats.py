"""What modules give: size, spread, and units that are always off."""

from __future__ import annotations

from typing import Any

from lunar_core import backend
from lunar_core.component import field, non_negative
from lunar_core.tensor import Tensor
from lunar_core.trees import tree_leaves

from .watching import Listening, chosen, histogram, summary


class ActivationStats(Listening):
    """Logs the outputs of modules in training batches.

    Figures for each module, by its path (the model itself is ``model``): ``act_mean/PATH``, ``act_std/PATH``,
    ``act_norm/PATH``, ``act_max/PATH`` (of absolute values), ``act_nonfinite/PATH``, ``act_zeros/PATH``, the share of
    values that are 0, and ``act_dead/PATH``, the share of units (entries of axis 1) that are 0 for every example and
    position of the batch. With ``bins``, ``act_hist/PATH`` holds ``edges`` and ``counts``. A module that is called
    several times in a batch shows its last call; one with several outputs its first floating one.
    """

    only: tuple[str, ...] = field(default=("*",), doc="glob patterns of module paths or class names")
    bins: int = field(default=0, validator=non_negative, doc="bins of histograms; 0: none")

    def listener(self) -> Any:
        return _Ears(self)

    def heard(self, ctx: Any, ears: Any) -> None:
        # The step of this batch has been made by now, unless it was skipped.
        self.tell(ctx, ears.figures, max(ctx.clock.step, 1))


class _Ears:
    band = "reader"
    draws = False

    def __init__(self, owner: ActivationStats) -> None:
        self.owner = owner
        self.figures: dict[str, Any] = {}

    def lunar_module_forward_post(self, module: Any, path: str, outputs: Any, ctx: Any) -> None:
        only = self.owner.only
        if ctx.stage != "train" or not (chosen(path, only) or chosen(type(module).__name__, only)):
            return
        array = floating(outputs)
        if array is None:
            return
        where = path or "model"
        for what, value in {**summary(array), "zeros": float((array == 0).mean()), "dead": dead_share(array)}.items():
            self.figures[f"act_{what}/{where}"] = value
        if self.owner.bins:
            self.figures[f"act_hist/{where}"] = histogram(array, self.owner.bins)


def floating(outputs: Any) -> Any:
    """The raw array of the first floating Tensor in what a module gave, or None."""
    for leaf in tree_leaves(outputs):
        if isinstance(leaf, Tensor) and leaf.data.dtype.kind in "fV" and leaf.data.size:
            return leaf.data
    return None


def always_off(array: Any) -> Any:
    """For each unit, an entry of axis 1 (of the only axis, where there is one): whether all of its values are 0."""
    xp = backend.of(array).xp
    on = array != 0
    axes = tuple(i for i in range(array.ndim) if i != min(1, array.ndim - 1))
    return ~xp.any(on, axis=axes)


def dead_share(array: Any) -> float:
    """The share of units that are always off."""
    return float(always_off(array).mean())
