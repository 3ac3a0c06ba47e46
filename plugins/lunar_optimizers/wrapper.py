"""Optimizers around optimizers."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from lunar_core.autograd import note_write
from lunar_core.component import field
from lunar_core.contracts.gradient_processor import GradientProcessor
from lunar_core.contracts.optimizer import BaseOptimizer
from lunar_core.errors import HyperparameterError, StateError
from lunar_core.tensor import Tensor

from .entries import Place, needs, places, ready


class Wrapper(BaseOptimizer):
    """Base of what changes another optimizer's steps: ``Lookahead(Adam(model.parameters(), lr=1e-3), k=5)``.

    Attributes and methods that the wrapper does not have are the wrapped optimizer's: ``groups``, ``zero_grad``,
    ``add_group``, its hyperparameters, which can be set through the wrapper as well. Wrappers nest. In a
    configuration stands the wrapper alone; the optimizer is given beside it, as parameters are to an optimizer.

    A subclass overrides ``step``, and keeps arrays for each parameter by :meth:`array`. They and the count of steps
    are part of ``state_dict()``: ``{"optimizer": ..., "count": n, "state": {name: {array name: array}}}``.

    Raises HyperparameterError for something that is no optimizer.
    """

    optimizer: Any = field(config=False)

    def __attrs_post_init__(self) -> None:
        if not all(hasattr(self.optimizer, name) for name in ("step", "zero_grad", "groups", "state_dict")):
            raise HyperparameterError(
                f"{type(self).__name__} wraps an optimizer, got {type(self.optimizer).__name__}",
                hint=f"{type(self).__name__}(Adam(model.parameters()), ...)",
            )
        self._count = 0
        self._arrays: dict[str, dict[str, Any]] = {}

    @property
    def needs(self) -> str:  # type: ignore[override]
        """What the wrapped optimizer needs."""
        return needs(self.optimizer)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__") or "optimizer" not in self.__dict__:
            raise AttributeError(name)
        return getattr(self.__dict__["optimizer"], name)

    def __setattr__(self, name: str, value: Any) -> None:
        own = name.startswith("_") or name in self.__lunar_checks__ or name in self.config_names()
        if own or name == "optimizer" or name in self.__dict__ or not hasattr(self.__dict__.get("optimizer"), name):
            super().__setattr__(name, value)
        else:
            setattr(self.optimizer, name, value)

    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """One step of the optimizer; what ``closure``, if given, computes is the result."""
        return self.optimizer.step(closure)

    def array(self, place: Place, name: str, start: Callable[[Any], Any]) -> Any:
        """The wrapper's array for a parameter; ``start`` makes it, from the parameter's values, at the first call."""
        own = self._arrays.setdefault(place.entry.name, {})
        if name not in own:
            own[name] = start(place.entry.data.astype(place.buffer.state_dtype))
        return own[name]

    def state_dict(self) -> dict[str, Any]:
        """See the class. The arrays are the live ones."""
        arrays = {name: dict(own) for name, own in self._arrays.items()}
        return {"optimizer": self.optimizer.state_dict(), "count": self._count, "state": arrays}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take over what :meth:`state_dict` gave. Raises StateError, with nothing changed, for what does not fit."""
        own = {"optimizer", "count", "state"}
        if not isinstance(state, Mapping) or set(state) != own:
            got = sorted(map(str, state)) if isinstance(state, Mapping) else type(state).__name__
            raise StateError(f"the state does not fit {type(self).__name__}: expected {sorted(own)}, got {got}")
        shapes = {place.entry.name: place.entry.data.shape for place in places(self)}
        for name, arrays in state["state"].items():
            for key, array in arrays.items():
                if name not in shapes or tuple(array.shape) != tuple(shapes[name]):
                    raise StateError(
                        f"the state does not fit {type(self).__name__}: {key} of {name} has shape {tuple(array.shape)}, "
                        f"expected {shapes.get(name, 'no such parameter')}"
                    )
        self.optimizer.load_state_dict(state["optimizer"])
        self._count = int(state["count"])
        self._arrays = {name: {k: a.copy() for k, a in arrays.items()} for name, arrays in state["state"].items()}


class GradientWrapper(Wrapper):
    """Base of wrappers that change gradients, in place, before the optimizer sees them.

    :meth:`processor` gives the gradient processor that does it; in a run by the Trainer it can be used directly.
    """

    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        if closure is None:
            self._process()
            return self.optimizer.step()

        def processed() -> Any:
            loss = closure()
            self._process()
            return loss

        return self.optimizer.step(processed)

    def _process(self) -> None:
        processor = self.processor()
        found = {place.entry.name: place.entry for place in ready(self)}
        grads = {name: entry.grad for name, entry in found.items()}
        if processor.needs_parameters:
            processor.process(grads, {name: entry.data for name, entry in found.items()})
        else:
            processor.process(grads)
        for entry in found.values():
            note_write(entry.grad)
            # A gradient that was assigned from outside would be copied in again by the step.
            entry.parameter.grad = Tensor(entry.grad)

    def processor(self) -> GradientProcessor:
        """What processes the gradients of one step."""
        raise NotImplementedError


class Averaging(Wrapper):
    """Base of wrappers that keep an average of the parameters: ``eval()`` puts it in their place, ``train()`` takes it
    out again; both may be called twice. A step in between raises StateError.

    Buffers, such as the running statistics of batch norms, are not averaged: run some batches in training mode with the
    averages in place before evaluation.
    """

    _swapped = False

    @property
    def averaged(self) -> bool:
        """Whether the averages are in the parameters' place."""
        return self._swapped

    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        if self._swapped:
            raise StateError(
                f"{type(self).__name__}: the parameters are averages now, not what is trained",
                hint="call train() on the optimizer before the step, and eval() before evaluation",
            )
        loss = self.optimizer.step(closure)
        self._count += 1
        weight = self.weight(self._count)
        if weight:
            for place in places(self):
                average = self.array(place, "average", lambda p: p)
                average += weight * (place.entry.data - average)
        return loss

    def weight(self, count: int) -> float:
        """How far the average moves to the parameters after the step ``count``; 0 leaves it."""
        raise NotImplementedError

    def eval(self) -> None:
        """Put the averages in the parameters' place."""
        if not self._swapped:
            self._swap()
            self._swapped = True

    def train(self) -> None:
        """Put the parameters back."""
        if self._swapped:
            self._swap()
            self._swapped = False

    def _swap(self) -> None:
        for place in places(self):
            if "average" in self._arrays.get(place.entry.name, {}):
                average = self._arrays[place.entry.name]["average"]
                kept = place.entry.data.astype(average.dtype)
                place.entry.data[...] = average
                average[...] = kept
                note_write(place.entry.data)

    def state_dict(self) -> dict[str, Any]:
        """As of every wrapper; of the training weights, whichever are in place."""
        swapped = self._swapped
        self.train()
        state = super().state_dict()
        if swapped:
            state["state"] = {n: {k: a.copy() for k, a in own.items()} for n, own in state["state"].items()}
            self.eval()
        return state
