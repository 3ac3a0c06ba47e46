"""How regularizers hear what modules give, and run the model again."""

from __future__ import annotations

import fnmatch
import threading
from collections.abc import Callable
from typing import Any, ClassVar

from lunar_core.component import field, non_negative
from lunar_core.contracts.regularizer import Regularizer, Seen
from lunar_core.dtypes import is_floating
from lunar_core.errors import HyperparameterError, StateError
from lunar_core.modes import enable_grad
from lunar_core.tensor import Tensor

from .choosing import nothing

_state = threading.local()


def rerun(model: Any, *inputs: Any) -> Any:
    """The model's outputs for other inputs, in the graph; nobody that listens hears it.

    It is a training pass like any other for the model itself: dropout draws, running statistics move.
    """
    before = getattr(_state, "deaf", False)
    _state.deaf = True
    try:
        with enable_grad():
            return model(*inputs)
    finally:
        _state.deaf = before


class Listening(Regularizer):
    """Base of regularizers that need a training pass.

    ``attach(model)`` makes it hear the inputs of the model and the outputs of the chosen ``modules`` in each training
    pass; a new pass replaces what was heard. Without hooks, it lives on the :class:`Seen` that it is given.
    """

    strength: float = field(default=1.0, validator=non_negative, doc="what the penalty is multiplied by")

    def __attrs_post_init__(self) -> None:
        self._inputs: tuple[Any, ...] | None = None
        self._heard: list[tuple[str, Any]] = []

    def listened(self, model: Any) -> dict[str, Any]:
        """Name -> module of those whose outputs are wanted."""
        return {"": model}

    def attach(self, model: Any) -> Callable[[], None]:
        """Listen to ``model`` from now on; gives a function that ends it."""

        def start(module: Any, args: tuple[Any, ...]) -> None:
            if self._listens(module):
                self._inputs, self._heard = args, []

        def note(name: str) -> Callable[..., None]:
            def hook(module: Any, args: Any, output: Any) -> None:
                if self._listens(module):
                    self._heard.append((name, output))

            return hook

        chosen = self.listened(model)
        removals = [model.register_forward_pre_hook(start)]
        removals += [module.register_forward_hook(note(name)) for name, module in chosen.items()]

        def detach() -> None:
            for remove in removals:
                remove()
            self._inputs, self._heard = None, []

        return detach

    @staticmethod
    def _listens(module: Any) -> bool:
        return module.training and not getattr(_state, "deaf", False)

    def inputs_of(self, seen: Seen | None) -> Tensor:
        """The first input of the pass."""
        found = seen.inputs if seen is not None else self._inputs
        if isinstance(found, tuple):
            found = found[0] if found else None
        if found is None:
            raise self._unheard()
        return found if isinstance(found, Tensor) else Tensor(found)

    def _unheard(self) -> StateError:
        return StateError(
            f"{type(self).__name__} has seen no training pass",
            hint="attach(model) before the forward pass in training mode, or give terms(model, Seen(...))",
        )


class Activations(Listening):
    """Base of penalties on what modules give: write ``penalty(a)`` for one output Tensor (batch first).

    ``modules`` are glob patterns over dotted module names; ``("",)``, the default, is the model itself. For others
    ``attach`` is needed. The penalty is the sum over all outputs that were heard in the pass, times ``strength``. Of a
    tuple or dict of outputs the floating Tensors count.

    Raises StateError for a pattern that matches no module, or when nothing was heard.
    """

    looks_at: ClassVar[str] = "activations"

    modules: tuple[str, ...] = field(default=("",), doc='globs over dotted module names; "" is the model')

    def __attrs_post_init__(self) -> None:
        if not self.modules:
            raise HyperparameterError(f"{type(self).__name__}: modules is empty", hint='modules=("",) is the model')
        super().__attrs_post_init__()

    def listened(self, model: Any) -> dict[str, Any]:
        named = dict(model.named_modules())
        chosen: dict[str, Any] = {}
        for pattern in self.modules:
            hits = {n: m for n, m in named.items() if (n == pattern if pattern == "" else n and _fits(n, pattern))}
            if not hits:
                raise StateError(
                    f"{type(self).__name__}: no module matches {pattern!r}",
                    hint=f"names are like {', '.join(n for n in list(named)[1:5])}",
                )
            chosen.update(hits)
        return chosen

    def penalty(self, a: Tensor) -> Tensor:
        """The penalty on one output before it is multiplied by ``strength``."""
        raise NotImplementedError(f"{type(self).__name__} defines no penalty()")

    def activations(self, seen: Seen | None) -> list[Tensor]:
        """The outputs of the pass."""
        heard = [output for _, output in self._heard]
        if not heard and seen is not None and self.modules == ("",) and seen.outputs is not None:
            heard = [seen.outputs]
        if not heard:
            raise self._unheard()
        return [t for output in heard for t in tensors_of(output)]

    def terms(self, model: Any, seen: Seen | None = None) -> tuple[Tensor, float]:
        total: Any = None
        for a in self.activations(seen):
            part = self.penalty(a)
            total = part if total is None else total + part
        return (nothing(model) if total is None else total * self.strength), 1.0


def _fits(name: str, pattern: str) -> bool:
    return fnmatch.fnmatchcase(name, pattern)


def tensors_of(output: Any) -> list[Tensor]:
    """The floating Tensors in what a module returned."""
    if isinstance(output, Tensor):
        return [output] if is_floating(output.dtype) else []
    if isinstance(output, dict):
        output = list(output.values())
    if isinstance(output, (list, tuple)):
        return [t for item in output for t in tensors_of(item)]
    return []
