"""L-BFGS."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar

from lunar_core import backend
from lunar_core.autograd import note_write
from lunar_core.component import field, non_negative, one_of, positive
from lunar_core.contracts.optimizer import Optimizer
from lunar_core.errors import HyperparameterError

from .arrays import nothing, state_array
from .entries import evaluated, places
from .hyperparameters import rate
from .line_search import Point, dot, strong_wolfe


def _history(p: Any) -> Any:
    return state_array(p, (0, *p.shape))


class LBFGS(Optimizer):
    """Quasi-Newton steps from the last ``history`` changes of parameters and gradients; for full batches.

    ``step(closure)`` does up to ``max_iter`` iterations. The closure clears the gradients, computes the loss, calls
    ``backward`` and returns the loss; it is called at least once and at most about ``max_eval`` times::

        def closure():
            opt.zero_grad()
            loss = objective()
            loss.backward()
            return loss

    Liu and Nocedal, On the Limited Memory BFGS Method for Large Scale Optimization (1989); Nocedal and Wright,
    Numerical Optimization (2006), algorithm 7.5. The variant is ``torch.optim.LBFGS``: the first step has length
    ``lr * min(1, 1 / |g|_1)``, later ones ``lr``, or what the strong Wolfe line search finds. It ends early when no
    gradient exceeds ``tolerance_grad`` or step and loss change less than ``tolerance_change``. The step returns the
    loss at its beginning.

    All parameters are one vector, in the dtype of the widest; a parameter without a gradient has gradient zero. Raises
    HyperparameterError for more than one group and for a step without a closure.
    """

    lr: float = rate(1.0)
    max_iter: int = field(default=20, validator=positive, doc="most iterations of one step")
    max_eval: int | None = field(
        default=None, validator=positive, doc="most calls of the closure; 1.25 max_iter if None"
    )
    tolerance_grad: float = field(default=1e-7, validator=non_negative, doc="gradient at which it is done")
    tolerance_change: float = field(default=1e-9, validator=non_negative, doc="change at which it is done")
    history: int = field(default=100, validator=positive, doc="changes that are kept")
    line_search: str | None = field(default=None, validator=one_of(None, "strong_wolfe"), doc="how far to go")
    iterations: int = field(default=0, init=False, config=False, doc="iterations so far")
    last_t: float = field(default=0.0, init=False, config=False, doc="length of the last step, in directions")
    scale: float = field(default=1.0, init=False, config=False, doc="first guess of the inverse Hessian's diagonal")

    state: ClassVar = {"direction": nothing, "gradient": nothing, "y": _history, "s": _history}
    elementwise = False
    needs = "closure"

    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        if closure is None:
            raise HyperparameterError("LBFGS: step needs a closure", hint="opt.step(closure), see help(LBFGS)")
        if self.master_weights:
            raise HyperparameterError("LBFGS keeps no master weights", hint="train in float32 or float64")
        if len(self.groups) > 1:
            raise HyperparameterError(f"LBFGS takes one group of parameters, got {len(self.groups)}")
        values = self.groups[0].values
        tolerance, limit = values["tolerance_grad"], values["max_eval"] or values["max_iter"] * 5 // 4
        result = evaluated(closure)
        loss, g = float(result), self._gradient()
        calls = 1
        if not float(abs(g).max()) > tolerance:
            return result
        d, before, ys, ss = self._recall(g)
        t = values["last_t"]
        for iteration in range(1, values["max_iter"] + 1):
            values["iterations"] += 1
            if values["iterations"] == 1:
                d = -g
                t = min(1.0, 1.0 / float(abs(g).sum())) * values["lr"]
            else:
                y, s = g - before, d * t
                if dot(y, s) > 1e-10:
                    ys, ss = [*ys, y][-values["history"] :], [*ss, s][-values["history"] :]
                    values["scale"] = dot(y, s) / dot(y, y)
                d, t = two_loops(g, ys, ss, values["scale"]), values["lr"]
            before, loss_before = g, loss
            slope = dot(g, d)
            if slope > -values["tolerance_change"]:
                break
            origin = self._parameters()
            if values["line_search"]:

                def objective(t: float, origin: Any = origin, d: Any = d) -> tuple[float, Any]:
                    self._write(origin + t * d)
                    return float(evaluated(closure)), self._gradient()

                end, count = strong_wolfe(objective, Point(0.0, loss, g, slope), d, t)
                t, loss, g = end.t, end.f, end.g
                self._write(origin + t * d)
                calls += count
            else:
                self._write(origin + t * d)
                if iteration == values["max_iter"]:
                    break
                loss, g = float(evaluated(closure)), self._gradient()
                calls += 1
            small = float(abs(d * t).max()) <= values["tolerance_change"]
            still = abs(loss - loss_before) < values["tolerance_change"]
            if calls >= limit or not float(abs(g).max()) > tolerance or small or still:
                break
        values["last_t"] = t
        self._keep(d, before, ys, ss)
        return result

    # -- all parameters as one vector -----------------------------------------------------------------------------------

    def _parameters(self) -> Any:
        return concatenated([place.entry.data.ravel() for place in places(self)])

    def _gradient(self) -> Any:
        parts = []
        for place in places(self):
            entry = place.entry
            has = entry.leaf is not None and entry.leaf.grad is not None
            parts.append((entry.grad if has else 0 * entry.data).ravel())
        return concatenated(parts)

    def _write(self, vector: Any) -> None:
        at = 0
        for place in places(self):
            data = place.entry.data
            data[...] = vector[at : at + data.size].reshape(data.shape)
            at += data.size
            note_write(data)

    def _recall(self, like: Any) -> tuple[Any, Any, list[Any], list[Any]]:
        own = [place.entry.own for place in places(self)]
        if not self.groups[0].values["iterations"]:
            return like, like, [], []
        d, g = (concatenated([o[name].ravel() for o in own]) for name in ("direction", "gradient"))
        count = own[0]["y"].shape[0]
        ys, ss = ([concatenated([o[name][i].ravel() for o in own]) for i in range(count)] for name in ("y", "s"))
        return d, g, ys, ss

    def _keep(self, d: Any, g: Any, ys: list[Any], ss: list[Any]) -> None:
        at = 0
        for place in places(self):
            entry, shape = place.entry, place.entry.data.shape
            part = slice(at, at + entry.data.size)
            at = part.stop
            entry.own["direction"], entry.own["gradient"] = d[part].reshape(shape), g[part].reshape(shape)
            for name, vectors in (("y", ys), ("s", ss)):
                stacked = [v[part].reshape(shape) for v in vectors]
                entry.own[name] = place.buffer.xp.stack(stacked) if stacked else entry.own[name][:0]
        for buffer in self.groups[0].buffers:
            buffer.step = (buffer.step or 0) + 1


def concatenated(parts: list[Any]) -> Any:
    return backend.of(parts[0]).xp.concatenate(parts)


def two_loops(g: Any, ys: list[Any], ss: list[Any], scale: float) -> Any:
    """Minus the approximate inverse Hessian times ``g``: algorithm 7.4 of Nocedal and Wright."""
    q = -g
    kept = []
    for y, s in zip(reversed(ys), reversed(ss)):
        inverse = 1.0 / dot(y, s)
        share = inverse * dot(s, q)
        q = q - share * y
        kept.append((inverse, share))
    q = scale * q
    for y, s, (inverse, share) in zip(ys, ss, reversed(kept)):
        q = q + (share - inverse * dot(y, q)) * s
    return q
