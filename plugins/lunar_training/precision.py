"""Loss scaling: what keeps float16 gradients from underflowing."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any

from lunar_core import backend
from lunar_core.autograd import note_write
from lunar_core.component import hyperparameter_error
from lunar_core.errors import StateError


class LossScaler:
    """Multiplies the loss before the backward pass and divides the gradients by the same number after it.

    ::

        scaler = LossScaler()
        with lc.autocast("float16"):
            loss = loss_fn(model(x), y)
        scaler.scale(loss).backward()
        if scaler.unscale(optimizer):      # all gradients are finite: clip them here
            optimizer.step()
        scaler.update()

    Small gradients survive float16 in this way; where one overflows all the same, the step is left out.

    - ``scale``: the factor to begin with.
    - ``dynamic``: lower the scale by ``backoff`` after a step with a gradient that is not finite, and raise it by
      ``growth`` after ``every`` good steps in a row. ``dynamic=False`` keeps it (a static scale).
    - ``minimum``, ``maximum``: bounds of the scale.

    Micikevicius et al., Mixed Precision Training (ICLR 2018), arXiv:1710.03740, section 3.2, with the defaults of
    PyTorch's GradScaler; powers of two change no digit of a gradient. ``good_steps`` counts towards the next raise and
    ``skipped`` all steps that were left out.

    Raises HyperparameterError for factors that do not lower, raise or bound the scale.
    """

    def __init__(
        self,
        scale: float = 2.0**16,
        *,
        dynamic: bool = True,
        growth: float = 2.0,
        backoff: float = 0.5,
        every: int = 2000,
        minimum: float = 1.0,
        maximum: float = 2.0**24,
    ) -> None:
        for name, value, good, expected in (
            ("minimum", minimum, 0 < minimum < math.inf, "a finite number > 0"),
            ("maximum", maximum, minimum <= maximum < math.inf, f"a finite number >= minimum ({minimum})"),
            ("scale", scale, 0 < scale < math.inf, "a finite number > 0"),
            ("growth", growth, 1 < growth < math.inf, "a number > 1"),
            ("backoff", backoff, 0 < backoff < 1, "a number between 0 and 1"),
            ("every", every, isinstance(every, int) and every > 0, "an int > 0"),
        ):
            if not good:
                raise hyperparameter_error("LossScaler", name, value, expected)
        self.dynamic = dynamic
        self.growth = float(growth)
        self.backoff = float(backoff)
        self.every = every
        self.minimum = float(minimum)
        self.maximum = float(maximum)
        self.value = min(max(float(scale), self.minimum), self.maximum) if dynamic else float(scale)
        self.good_steps = 0
        self.skipped = 0
        self._found: dict[int, bool] = {}  # what was unscaled since the last update, and whether it was finite

    def scale(self, loss: Any) -> Any:
        """``loss`` times the scale, in the graph."""
        return loss * self.value

    def unscale(self, grads: Any) -> bool:
        """Divide gradients by the scale, in place; whether all of them are finite.

        ``grads`` is an optimizer, a model, an iterable of parameters, or a dict or list of raw arrays. Several
        optimizers are unscaled one after the other; raises StateError for one that is unscaled twice without an
        :meth:`update`.
        """
        if id(grads) in self._found:
            raise StateError(
                "LossScaler.unscale() was called twice for the same gradients", hint="call update() after each step"
            )
        arrays = _arrays(grads)
        if self.value != 1.0:
            for array in arrays:
                array *= array.dtype.type(1.0 / self.value)
                note_write(array)
        finite = self._found[id(grads)] = all_finite(arrays)
        return finite

    def step(self, optimizer: Any) -> bool:
        """``unscale``, if that was not done, and ``optimizer.step()`` if all gradients are finite; whether it stepped."""
        finite = self._found.get(id(optimizer))
        if not (self.unscale(optimizer) if finite is None else finite):
            return False
        optimizer.step()
        return True

    def update(self) -> None:
        """Draw the conclusion from the gradients since the last update: lower, keep or raise the scale."""
        found, self._found = self._found, {}
        if not found:
            return
        if not all(found.values()):
            self.skipped += 1
            self.good_steps = 0
            if self.dynamic:
                self.value = max(self.value * self.backoff, self.minimum)
            return
        self.good_steps += 1
        if self.dynamic and self.good_steps >= self.every:
            self.good_steps = 0
            self.value = min(self.value * self.growth, self.maximum)

    def state_dict(self) -> dict[str, Any]:
        """The scale and the counts."""
        return {"scale": self.value, "good_steps": self.good_steps, "skipped": self.skipped}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take over what :meth:`state_dict` gave. Raises StateError for anything else."""
        try:
            value, good, skipped = float(state["scale"]), int(state["good_steps"]), int(state["skipped"])
        except (KeyError, TypeError, ValueError, OverflowError) as exc:
            raise StateError(f"not the state of a LossScaler: {state!r}") from exc
        if not 0 < value < math.inf or good < 0 or skipped < 0:
            raise StateError(f"not the state of a LossScaler: {state!r}")
        self.value, self.good_steps, self.skipped, self._found = value, good, skipped, {}

    def __repr__(self) -> str:
        return f"LossScaler({self.value:g}, {'dynamic' if self.dynamic else 'static'}, skipped={self.skipped})"


def all_finite(arrays: Iterable[Any]) -> bool:
    """Whether every element of every array is finite."""
    for array in arrays:
        # A product with itself is finite only if all elements are, and costs one pass without a temporary. It may
        # overflow though they are: then they are looked at one by one.
        flat = array.reshape(-1)
        xp = backend.of(array).xp
        if not math.isfinite(abs(xp.vdot(flat, flat))) and not bool(xp.isfinite(flat).all()):
            return False
    return True


def _arrays(grads: Any) -> list[Any]:
    if isinstance(grads, Mapping):
        return list(grads.values())
    groups = getattr(grads, "groups", None)
    if groups is not None:
        bind = getattr(grads, "bind", None)
        if callable(bind):
            bind()
        grads = [parameter for group in groups for parameter in group.params]
    elif callable(getattr(grads, "parameters", None)):
        grads = grads.parameters()
    elif hasattr(grads, "params"):
        grads = grads.params
    found = []
    for item in grads:
        if backend.is_array(item):
            found.append(item)
        elif item.grad is not None:
            found.append(item.grad.data)
    return found


def scaler_of(value: Any, precision: str | None) -> LossScaler | None:
    """The scaler that ``loss_scale`` means: one made, a number (static), ``"dynamic"``, or the default of a precision."""
    if isinstance(value, LossScaler):
        return value
    if value is None:
        return LossScaler() if precision == "float16" else None
    if value == "dynamic":
        return LossScaler()
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        return None if value == 1 else LossScaler(value, dynamic=False)
    raise hyperparameter_error("Trainer", "loss_scale", value, 'a LossScaler, "dynamic", a number or None')
