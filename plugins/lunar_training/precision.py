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
    PyTorch's GradScaler; powers of two change no digit of a gradient. ``good_steps`` counts towards the next raise,
    ``skipped`` all steps that were left out and ``bad_steps`` those in a row until now.

    Raises HyperparameterError for factors that do not lower, raise or bound the scale.
    """

    _COUNTS = ("good_steps", "bad_steps", "skipped")

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
        self.bad_steps = 0
        # What was unscaled since the last update, by id, and whether it was finite. It is held, so that the id stays its.
        self._found: dict[int, tuple[Any, bool]] = {}

    def scale(self, loss: Any) -> Any:
        """``loss`` times the scale, in the graph."""
        return loss * self.value

    def unscale(self, grads: Any) -> bool:
        """Divide gradients by the scale, in place; whether all of them are finite.

        ``grads`` is an optimizer, a model, an iterable of parameters, or a dict or list of raw arrays. Several
        optimizers are unscaled one after the other; raises StateError for one that is unscaled twice without an
        :meth:`update`.
        """
        if id(grads) in self._found and self._found[id(grads)][0] is grads:
            raise StateError(
                "LossScaler.unscale() was called twice for the same gradients", hint="call update() after each step"
            )
        finite = self.divide(_arrays(grads))
        self._found[id(grads)] = (grads, finite)
        return finite

    def divide(self, arrays: Iterable[Any]) -> bool:
        """Divide raw arrays by the scale, in place; whether all are finite. What it finds is for :meth:`update`."""
        arrays = list(arrays)
        if self.value != 1.0:
            for array in arrays:
                array *= array.dtype.type(1.0 / self.value)
                note_write(array)
        return all_finite(arrays)

    def step(self, optimizer: Any) -> bool:
        """``unscale``, if that was not done, and ``optimizer.step()`` if all gradients are finite; whether it stepped."""
        known, finite = self._found.get(id(optimizer), (None, False))
        if not (finite if known is optimizer else self.unscale(optimizer)):
            return False
        optimizer.step()
        return True

    def update(self, finite: bool | None = None) -> None:
        """Draw the conclusion from the gradients since the last update: lower, keep or raise the scale.

        ``finite``: what :meth:`divide` found, where that was used in the place of :meth:`unscale`.
        """
        found, self._found = self._found, {}
        if finite is None:
            if not found:
                return
            finite = all(good for _, good in found.values())
        if not finite:
            self.skipped += 1
            self.bad_steps += 1
            self.good_steps = 0
            if self.dynamic:
                self.value = max(self.value * self.backoff, self.minimum)
            return
        self.bad_steps = 0
        self.good_steps += 1
        if self.dynamic and self.good_steps >= self.every:
            self.good_steps = 0
            self.value = min(self.value * self.growth, self.maximum)

    def state_dict(self) -> dict[str, Any]:
        """The scale and the counts."""
        return {"scale": self.value, **{name: getattr(self, name) for name in self._COUNTS}}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take over what :meth:`state_dict` gave. Raises StateError for anything else."""
        try:
            value, counts = float(state["scale"]), {name: int(state[name]) for name in self._COUNTS}
        except (KeyError, TypeError, ValueError, OverflowError) as exc:
            raise StateError(f"not the state of a LossScaler: {state!r}") from exc
        if not 0 < value < math.inf or min(counts.values()) < 0:
            raise StateError(f"not the state of a LossScaler: {state!r}")
        self.value, self._found = value, {}
        self.__dict__.update(counts)

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


def precision_of(value: Any) -> str | None:
    """What ``precision`` means, checked: "bfloat16", "float16" or None (float32 and "float32" are as it is)."""
    if value is None or value == "float32":
        return None
    name = getattr(value, "__name__", None) or str(value)
    if name not in ("bfloat16", "float16"):
        raise hyperparameter_error("Trainer", "precision", value, '"bfloat16", "float16" or None')
    return name


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
