"""Custom steps: the same as the loop where they do the same, and a GAN with two optimizers in turn."""

from __future__ import annotations

import numpy as np
import pytest
from training_parts import Descent, Line, MeanError, SquaredError, plugin, recorder, regression

import lunar_core as lc
from lunar_core import ops
from lunar_core.errors import HyperparameterError
from lunar_core.module import Module
from lunar_training import DivergenceError, Trainer


def ordinary(run, batch):
    x, y = batch
    outputs = run.model(x)
    total, weight = run.loss.terms(outputs, y)
    loss = total / weight
    run.minimize(loss)
    return {"loss": loss, "outputs": outputs}


def line(step=None, *plugins, **options):
    model = Line()
    return Trainer(
        model, SquaredError(), Descent(model.parameters()), metrics={"mae": MeanError()}, step=step, plugins=plugins,
        progress="off", **options
    )  # fmt: skip


@pytest.mark.parametrize("options", [{}, {"clip_norm": 0.5}], ids=["plain", "clipped"])
def test_a_custom_step_that_does_what_the_loop_does_gives_the_same(options):
    data = regression(n=21)
    own, loop = line(ordinary, **options), line(**options)
    for t in (own, loop):
        t.fit(data, val=regression(n=8), epochs=3, batch_size=4)
    np.testing.assert_array_equal(own.model.w.data, loop.model.w.data)
    for name in ("loss", "mae", "val_loss", "val_mae"):
        assert own.history[name] == pytest.approx(loop.history[name], rel=1e-12)
    assert own.context.clock.state_dict()["step"] == loop.context.clock.step == 18


def test_the_hooks_of_backward_and_step_fire():
    spy = recorder("before_backward", "after_backward", "after_accumulate", "grads_ready", "before_step", "after_step",
                   "batch_end", band="editor")  # fmt: skip
    line(ordinary, spy).fit(regression(n=4), batch_size=4)
    assert spy.seen == ["before_backward", "after_backward", "after_accumulate", "grads_ready", "before_step", "after_step",
                        "batch_end"]  # fmt: skip


def test_a_plugin_may_leave_the_step_out():
    t = line(ordinary, plugin(lunar_before_step=lambda self: "skip"))
    before = t.model.w.data.copy()
    t.fit(regression(n=8), batch_size=4)
    np.testing.assert_array_equal(t.model.w.data, before)
    assert t.context.clock.step == 0


class GAN(Module):
    """Moves a Gaussian: the generator is a shift, the discriminator a quadratic of its input."""

    def __init__(self):
        self.generator = lc.layers.Linear(1, 1)
        self.discriminator = lc.layers.Sequential(
            lc.layers.Linear(1, 16), lc.activations.Tanh(), lc.layers.Linear(16, 1)
        )

    def forward(self, z):
        return self.generator(z)


def gan_step(run, batch):
    real, _ = batch
    generator, discriminator = run.optimizers
    z = lc.Tensor(run.ctx.rng("noise").standard_normal((len(real), 1)).astype(np.float32))
    model = run.model

    with run.only(discriminator):
        assert all(not p.requires_grad for p in model.generator.parameters())
        loss_d = (
            ops.softplus(-model.discriminator(real)).mean()
            + ops.softplus(model.discriminator(model.generator(z).detach())).mean()
        )
        run.minimize(loss_d, discriminator)
    with run.only(0):
        loss_g = ops.softplus(-model.discriminator(model.generator(z))).mean()
        run.minimize(loss_g, generator)
    return {"loss": loss_d, "generator": loss_g}


def test_a_gan_alternates_two_optimizers_and_each_moves_its_own_part():
    lc.seed(0)
    model = GAN()
    moved = {"generator": 0, "discriminator": 0}
    states = {}

    def lunar_optimizer_step(self, proceed, optimizer):
        before = {k: v.copy() for k, v in model.state_dict().items()}
        proceed()
        parts = {k.split(".")[0] for k, v in model.state_dict().items() if not np.array_equal(v, before[k])}
        (part,) = parts
        moved[part] += 1

    optimizers = [
        lc.optimizers.Adam(model.generator.parameters(), lr=0.02),
        lc.optimizers.Adam(model.discriminator.parameters(), lr=0.02),
    ]
    t = Trainer(model, optimizer=optimizers, step=gan_step, progress="off",
                plugins=[plugin(lunar_optimizer_step=lunar_optimizer_step)])  # fmt: skip
    rng = np.random.default_rng(0)
    x = rng.normal(3.0, 0.5, (512, 1)).astype(np.float32)
    t.fit((x, np.zeros(512)), epochs=25, batch_size=64)
    assert moved == {"generator": 200, "discriminator": 200} and not states
    assert t.context.clock.step == 200
    assert set(t.history.columns) >= {"loss", "loss.generator"}
    z = rng.standard_normal((4000, 1)).astype(np.float32)
    made = np.asarray(t.predict(z))
    assert abs(made.mean() - 3.0) < 0.7  # it began at 0
    assert all(p.requires_grad for p in model.parameters())


def test_what_a_custom_step_gets_wrong_is_said():
    with pytest.raises(HyperparameterError, match="has no 'loss'"):
        line(lambda run, batch: {"value": 1.0}).fit(regression())
    with pytest.raises(HyperparameterError, match='has to return "outputs"'):
        line(lambda run, batch: {"loss": 1.0}).fit(regression())
    with pytest.raises(HyperparameterError, match="optimizer 3; there are 1"):
        line(lambda run, batch: run.minimize(run.model(batch[0]).sum(), 3)).fit(regression())
    with pytest.raises(HyperparameterError, match=r"step must be a function of \(run, batch\)"):
        line("gan").fit(regression())
    with pytest.raises(DivergenceError):
        line(lambda run, batch: run.minimize((run.model(batch[0]) * float("nan")).sum())).fit(regression())


def test_a_custom_step_needs_no_loss_but_an_optimizer():
    model = Line()
    with pytest.raises(HyperparameterError, match="needs an optimizer"):
        Trainer(model, step=ordinary, progress="off").fit(regression())
