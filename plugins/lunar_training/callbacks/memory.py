"""What a training step holds in memory, module by module."""

from __future__ import annotations

import weakref
from collections.abc import Mapping
from typing import Any

from lunar_core import backend
from lunar_core.autograd import storage
from lunar_core.component import field
from lunar_core.tensor import Tensor

from .watching import Listening


class Memory(Listening):
    """Logs bytes: of parameters, gradients, optimizer state, kept activations by module, and the peak of a step.

    Figures: ``memory/parameters``, ``memory/gradients``, ``memory/optimizer``; ``memory/activations``, what the forward
    pass made and the backward pass still needs when it begins, and ``memory_kept/PATH`` of it by the module in whose call
    it was made (innermost; the model itself is ``model``); ``memory/peak``, the most that the results of ops and gradient
    rules took at once in the step; ``memory/process``, the largest resident size of the process so far. Scratch memory
    inside of an op is in the last only.
    """

    every: Any = field(default="1ep", doc="how often to look: a period such as '50step' or '1ep'")

    def listener(self) -> Any:
        return MemoryMeter()

    def heard(self, ctx: Any, ears: Any) -> None:
        parameters = list(ctx.model.parameters())
        figures: dict[str, Any] = {
            "memory/parameters": sum(p.data.nbytes for p in parameters),
            "memory/gradients": sum(p.grad.data.nbytes for p in parameters if p.grad is not None),
            "memory/optimizer": sum(_bytes_of(o.state_dict()) for o in ctx.optimizers if hasattr(o, "state_dict")),
            "memory/activations": sum(ears.kept.values()),
            "memory/peak": ears.peak,
        }
        resident = process_bytes()
        if resident is not None:
            figures["memory/process"] = resident
        figures |= {f"memory_kept/{path or 'model'}": n for path, n in ears.kept.items()}
        self.tell(ctx, figures, max(ctx.clock.step, 1))


class MemoryMeter:
    """A plugin for one batch: ``peak`` bytes of results at once, and those ``kept`` for the backward pass, by module."""

    band = "reader"
    draws = False

    def __init__(self) -> None:
        self.within = [""]
        self.made: dict[int, tuple[Any, int, str]] = {}
        self.kept: dict[str, int] = {}
        self.live = self.peak = 0

    def lunar_module_forward_pre(self, path: str) -> None:
        self.within.append(path)

    def lunar_module_forward_post(self, path: str) -> None:
        while len(self.within) > 1 and self.within.pop() != path:
            pass  # the call of a module inside raised

    def lunar_op_forward_post(self, outputs: Any) -> None:
        for value in outputs if isinstance(outputs, tuple) else (outputs,):
            if isinstance(value, Tensor) and backend.is_array(value.data):
                owner = storage(value.data)
                known = self.made.get(id(owner))
                if known is None or known[0]() is not owner:
                    self.made[id(owner)] = weakref.ref(owner), owner.nbytes, self.within[-1]

    def lunar_before_backward(self) -> None:
        for reference, nbytes, path in self.made.values():
            if reference() is not None:
                self.kept[path] = self.kept.get(path, 0) + nbytes
        self.made.clear()

    def lunar_alloc(self, nbytes: int) -> None:
        self.live += nbytes
        self.peak = max(self.peak, self.live)

    def lunar_free(self, nbytes: int) -> None:
        self.live -= nbytes


def _bytes_of(state: Any) -> int:
    if isinstance(state, Mapping):
        return sum(_bytes_of(value) for value in state.values())
    if isinstance(state, (list, tuple)):
        return sum(_bytes_of(value) for value in state)
    return getattr(state, "nbytes", 0)


def process_bytes() -> int | None:
    """The largest resident size of this process so far; None where the system does not say."""
    try:
        import resource
    except ImportError:
        return None
    import sys

    largest = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return largest if sys.platform == "darwin" else largest * 1024
