"""Model-agnostic meta-learning."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import lunar_core as lc
from lunar_core.component import field, positive
from lunar_core.errors import HyperparameterError
from lunar_core.tensor import Tensor

from .entries import places
from .wrapper import Wrapper

Task = tuple[Callable[[], Any], Callable[[], Any]]


class MAML(Wrapper):
    """Learns a start from which a few steps of gradient descent on a new task go far::

        p_i = p - inner_lr * gradient of support_i at p, repeated ``inner_steps`` times from where it came to
        step of the wrapped optimizer with the gradient in p of the mean over tasks of query_i(p_i)

    ``step(tasks)`` takes pairs of functions ``(support, query)``, each of which computes a task's loss with the model, on
    the examples to adapt to and on others, without ``backward``; it gives the mean of the query losses::

        opt = MAML(Adam(model.parameters(), lr=1e-3), inner_lr=0.01, inner_steps=5)
        opt.step([(lambda: loss(model(xs), ys), lambda: loss(model(xq), yq)) for xs, ys, xq, yq in episodes])

    The gradient passes through the inner steps, by second derivatives; with ``first_order`` it does not, and is that of
    the queries at p_i (the paper's section 5.2). Every parameter of the optimizer that a support loss depends on is
    adapted. :meth:`adapted` holds the model at a task's weights, to use or to judge it.

    C. Finn, P. Abbeel and S. Levine, Model-Agnostic Meta-Learning for Fast Adaptation of Deep Networks (2017),
    arXiv:1703.03400, algorithms 1 and 2.

    Raises HyperparameterError for a step without tasks.
    """

    inner_lr: float = field(default=0.01, validator=positive, doc="step size of the adaptation")
    inner_steps: int = field(default=1, validator=positive, doc="steps of gradient descent on a task")
    first_order: bool = field(default=False, doc="leave out the second derivatives")

    needs = "tasks"

    def step(self, closure: Iterable[Task] | Any = None) -> Any:
        tasks = list(closure) if isinstance(closure, Iterable) else []
        if not tasks or not all(isinstance(task, (tuple, list)) and len(task) == 2 for task in tasks):
            raise HyperparameterError(
                f"MAML: step needs tasks, pairs of functions (support, query), got {closure!r}",
                hint="opt.step([(lambda: loss(model(xs), ys), lambda: loss(model(xq), yq)), ...])",
            )
        self.optimizer.zero_grad()
        total = 0.0
        for support, query in tasks:
            with lc.enable_grad():
                with self._adapted(support, self.inner_steps, create_graph=not self.first_order):
                    loss = query()
                (loss * (1.0 / len(tasks))).backward()
            total = total + loss.detach()
        self.optimizer.step()
        self._count += 1
        return total * (1.0 / len(tasks))

    @contextlib.contextmanager
    def adapted(self, support: Callable[[], Any], steps: int | None = None) -> Iterator[None]:
        """Within its block the model has the weights after ``steps`` (default ``inner_steps``) on the loss ``support``.

        ::

            with opt.adapted(lambda: loss(model(xs), ys), steps=10):
                accuracy(model(xq), yq)
        """
        with self._adapted(support, self.inner_steps if steps is None else steps, create_graph=False):
            yield

    @contextlib.contextmanager
    def _adapted(self, support: Callable[[], Any], steps: int, create_graph: bool) -> Iterator[None]:
        """The parameters replaced by what gradient descent on ``support`` makes of them; the graph leads back to them."""
        parameters = [place.entry.parameter for place in places(self)]
        kept = [(p.data, p.node) for p in parameters]
        try:
            with lc.enable_grad():
                for _ in range(steps):
                    # retained: from the second step on the weights have a graph, which the query needs
                    grads = lc.grad(
                        support(), parameters, create_graph=create_graph, retain_graph=True, allow_unused=True
                    )
                    # a parameter takes over the array and the place in the graph of its adapted value
                    moved = [None if g is None else _same(p) - self.inner_lr * g for p, g in zip(parameters, grads)]
                    for p, new in zip(parameters, moved):
                        if new is not None:
                            p.data, p.node = new.data, new.node
            yield
        finally:
            for p, (data, node) in zip(parameters, kept):
                p.data, p.node = data, node


def _same(parameter: Any) -> Tensor:
    """The parameter as it is now, as a tensor of its own."""
    new = Tensor(parameter.data)
    new.node = parameter.node
    return new
