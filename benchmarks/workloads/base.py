"""What a workload is, and the steps that are timed: forward, cross-entropy, backward and AdamW; or the forward alone."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

Arrays = tuple[np.ndarray, np.ndarray]


class Workload(NamedTuple):
    """One network and its batch.

    ``ours()`` and ``theirs()`` build the network here and in PyTorch, with parameters of the same shapes in the same order;
    ``batch(rng)`` gives inputs and class indices. ``train`` says whether the training step is measured too, or only
    inference. ``jax(parameters, x)`` is the same network in JAX for parameters in PyTorch's order, where it is written down.
    """

    name: str
    about: str
    ours: Callable[[], Any]
    theirs: Callable[[], Any]
    batch: Callable[[np.random.Generator], Arrays]
    train: bool = True
    jax: Callable[[list[Any], Any], Any] | None = None

    def arrays(self) -> Arrays:
        """The batch, the same in every process."""
        return self.batch(np.random.default_rng(0))


class Steps(NamedTuple):
    """What one side offers: a training step that gives its loss, and inference that gives the logits."""

    train: Callable[[], float]
    infer: Callable[[], np.ndarray]


def our_steps(workload: Workload, weights: Sequence[np.ndarray] | None = None, *, autocast: str | None = None) -> Steps:
    """The steps of LunarLearn, from ``weights`` in PyTorch's order if given; ``autocast`` names the low precision."""
    import contextlib

    import lunar_core as lc
    from lunar_core import ops

    inputs, labels = workload.arrays()
    x, y = lc.tensor(inputs), lc.tensor(labels.reshape(-1))
    model = workload.ours()
    with lc.no_grad():
        model.eval()(x)  # sizes are known from here on
    if weights is not None:
        state = model.state_dict()
        names = [name for name in state if not name.endswith("num_batches_tracked")]
        model.load_state_dict({**state, **dict(zip(names, weights, strict=True))})
    optimizer = lc.optimizers.AdamW(model.parameters(), lr=1e-3, weight_decay=1e-2) if workload.train else None

    def precision() -> Any:
        return contextlib.nullcontext() if autocast is None else lc.autocast(autocast)

    def train() -> float:
        if not model.training:
            model.train()
        optimizer.zero_grad()
        with precision():
            logits = model(x)
            loss = ops.mean(ops.cross_entropy(logits.reshape((-1, logits.shape[-1])), y))
        loss.backward()
        optimizer.step()
        return float(loss.data)

    def infer() -> np.ndarray:
        if model.training:
            model.eval()
        with lc.no_grad(), precision():
            return model(x).data  # type: ignore[no-any-return]

    return Steps(train, infer)


def their_steps(
    workload: Workload, *, compiled: bool = False, autocast: str | None = None
) -> tuple[Steps, list[np.ndarray]]:
    """The steps of PyTorch, eager with its fused AdamW or through ``torch.compile``, and the weights that it starts from."""
    import contextlib

    import torch

    torch.manual_seed(0)
    inputs, labels = workload.arrays()
    x, y = torch.from_numpy(inputs), torch.from_numpy(labels.reshape(-1))
    model = workload.theirs()
    run = torch.compile(model) if compiled else model
    loss_of = torch.nn.CrossEntropyLoss()
    optimizer = None
    if workload.train:
        optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3, weight_decay=1e-2, fused=True)

    def precision() -> Any:
        return contextlib.nullcontext() if autocast is None else torch.autocast("cpu", getattr(torch, autocast))

    def train() -> float:
        if not model.training:
            model.train()
        optimizer.zero_grad()
        with precision():
            logits = run(x)
            loss = loss_of(logits.reshape(-1, logits.shape[-1]), y)
        loss.backward()
        optimizer.step()
        return float(loss.item())

    def infer() -> np.ndarray:
        if model.training:
            model.eval()
        with torch.no_grad(), precision():
            return run(x).float().numpy()  # type: ignore[no-any-return]

    # PyTorch also counts the batches that a norm has seen; nothing depends on it
    weights = [v.numpy().copy() for k, v in model.state_dict().items() if not k.endswith("num_batches_tracked")]
    return Steps(train, infer), weights


def jax_steps(workload: Workload, parameters: list[np.ndarray]) -> Steps:
    """The steps of JAX, compiled by ``jit``: the network, its loss, its gradients and AdamW as one function each."""
    import jax
    import jax.numpy as jnp

    network = workload.jax
    assert network is not None
    inputs, labels = workload.arrays()
    x, y = jnp.asarray(inputs), jnp.asarray(labels.reshape(-1))
    state: dict[str, Any] = {"p": [jnp.asarray(p) for p in parameters], "step": 0}
    state["m"] = state["v"] = [jnp.zeros_like(p) for p in state["p"]]

    def loss_of(p: list[Any]) -> Any:
        logits = network(p, x)
        logits = logits.reshape(-1, logits.shape[-1])
        return -jnp.take_along_axis(jax.nn.log_softmax(logits), y[:, None], axis=1).mean()

    @jax.jit
    def step(p: Any, m: Any, v: Any, t: Any) -> Any:
        loss, grads = jax.value_and_grad(loss_of)(p)
        m = [0.9 * a + 0.1 * g for a, g in zip(m, grads)]
        v = [0.999 * a + 0.001 * g * g for a, g in zip(v, grads)]
        c1, c2 = 1 - 0.9**t, 1 - 0.999**t
        p = [a * (1 - 1e-5) - 1e-3 * (b / c1) / (jnp.sqrt(c / c2) + 1e-8) for a, b, c in zip(p, m, v)]
        return loss, p, m, v

    run = jax.jit(network)

    def train() -> float:
        state["step"] += 1
        loss, state["p"], state["m"], state["v"] = step(state["p"], state["m"], state["v"], float(state["step"]))
        return float(loss)

    def infer() -> np.ndarray:
        return np.asarray(run(state["p"], x))

    return Steps(train, infer)
