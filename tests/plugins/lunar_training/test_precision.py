"""Mixed precision: the loss scaler, by hand and in the Trainer."""

from __future__ import annotations

import numpy as np
import pytest
from resuming import classes, digests, make_trainer
from training_parts import plugin

import lunar_core as lc
from lunar_core.errors import HyperparameterError, StateError
from lunar_training import DivergenceError, LossScaler


def line(values):
    return lc.Parameter(np.array(values, np.float32))


def test_scaling_by_a_power_of_two_changes_no_digit_of_a_gradient():
    w, v = line([0.3, -1.7]), line([0.3, -1.7])
    (w * w).sum().backward()
    scaler = LossScaler(2.0**16)
    scaler.scale((v * v).sum()).backward()
    assert scaler.unscale([v])
    np.testing.assert_array_equal(v.grad.data, w.grad.data)


def test_small_float16_gradients_survive_under_the_scaler():
    def gradient(scaler):
        w = line([1.0])
        with lc.autocast("float16"):
            loss = lc.ops.matmul(w.reshape((1, 1)), lc.tensor(np.full((1, 1), 1e-4, np.float32))).sum() * 1e-4
        scaler.scale(loss).backward()
        scaler.unscale([w])
        return float(w.grad.data[0])

    assert gradient(LossScaler(1.0)) == 0.0
    assert gradient(LossScaler(2.0**12)) == pytest.approx(1e-8, rel=1e-3)


def test_the_scale_follows_its_rules():
    scaler = LossScaler(8.0, every=2, minimum=2.0, maximum=16.0)
    seen = []
    for finite in (True, True, True, True, False, False, False, False, True, True):
        scaler.update(finite)
        seen.append(scaler.value)
    assert seen == [8, 16, 16, 16, 8, 4, 2, 2, 2, 4]
    assert (scaler.skipped, scaler.bad_steps, scaler.good_steps) == (4, 0, 0)


def test_a_static_scale_stays_and_still_leaves_bad_steps_out():
    w = line([1.0])
    optimizer = lc.optimizers.SGD([w], lr=0.1)
    scaler = LossScaler(1024.0, dynamic=False)
    for factor, moves in ((1.0, True), (np.inf, False), (np.nan, False), (1.0, True)):
        optimizer.zero_grad()
        before = w.data.copy()
        scaler.scale((w * float(factor)).sum()).backward()
        assert scaler.step(optimizer) is moves
        scaler.update()
        assert (w.data != before).any() == moves
    assert (scaler.value, scaler.skipped) == (1024.0, 2)


def test_unscaling_before_clipping_does_not_unscale_again_in_the_step():
    w = line([3.0])
    optimizer = lc.optimizers.SGD([w], lr=1.0)
    scaler = LossScaler(4.0)
    scaler.scale((w * 2.0).sum()).backward()
    assert scaler.unscale(optimizer)
    with pytest.raises(StateError, match="twice"):
        scaler.unscale(optimizer)
    scaler.step(optimizer)
    scaler.update()
    assert w.data[0] == 1.0


def test_the_state_goes_back_and_forth_and_is_checked():
    scaler = LossScaler(every=3)
    for finite in (True, False, True, True):
        scaler.update(finite)
    other = LossScaler(every=3)
    other.load_state_dict(scaler.state_dict())
    assert other.state_dict() == scaler.state_dict()
    for bad in ({}, {"scale": 0, "good_steps": 0, "bad_steps": 0, "skipped": 0}, {"scale": "x"}):
        with pytest.raises(StateError):
            other.load_state_dict(bad)


@pytest.mark.parametrize(
    "options", [{"scale": 0}, {"growth": 1}, {"backoff": 1}, {"every": 0}, {"minimum": 0}, {"minimum": 4, "maximum": 2}]
)
def test_factors_that_make_no_sense_are_refused(options):
    with pytest.raises(HyperparameterError, match="LossScaler"):
        LossScaler(**options)


def test_the_scale_moves_as_pytorchs_does_and_so_do_the_weights():
    torch = pytest.importorskip("torch")
    theirs = torch.nn.Parameter(torch.tensor([1.0, -2.0]))
    their_optimizer = torch.optim.SGD([theirs], lr=0.05, momentum=0.9)
    their_scaler = torch.amp.GradScaler("cpu", init_scale=2.0**10, growth_interval=3)
    ours = line([1.0, -2.0])
    our_optimizer = lc.optimizers.SGD([ours], lr=0.05, momentum=0.9)
    our_scaler = LossScaler(2.0**10, every=3)
    generator = np.random.default_rng(0)
    for step in range(40):
        factor = np.inf if step in (4, 5, 17) else float(generator.uniform(0.5, 1.5))
        their_optimizer.zero_grad()
        their_scaler.scale((theirs * theirs * factor).sum()).backward()
        their_scaler.unscale_(their_optimizer)
        their_scaler.step(their_optimizer)
        their_scaler.update()
        our_optimizer.zero_grad()
        our_scaler.scale((ours * ours * factor).sum()).backward()
        our_scaler.unscale(our_optimizer)
        our_scaler.step(our_optimizer)
        our_scaler.update()
        assert our_scaler.value == their_scaler.get_scale()
        np.testing.assert_allclose(ours.data, theirs.detach().numpy(), rtol=1e-6)


# --- in the Trainer --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("precision", ["bfloat16", "float16"])
def test_a_run_in_low_precision_learns_with_float32_parameters(precision):
    lc.seed(0)
    trainer = make_trainer(precision=precision)
    dtypes = set()
    trainer.plugins.append(plugin(lunar_after_forward=lambda self, outputs: dtypes.add(str(outputs.dtype))))
    history = trainer.fit(classes(n=200), epochs=15, batch_size=16)
    assert dtypes == {precision}
    assert {str(p.dtype) for p in trainer.model.parameters()} == {"float32"}
    assert {str(p.grad.dtype) for p in trainer.model.parameters()} == {"float32"}
    assert history["loss"][-1] < 0.7 * history["loss"][0]
    assert (trainer.context.scaler is not None) == (precision == "float16")


def test_a_scale_of_a_power_of_two_leaves_a_float32_run_bitwise_as_it_is():
    found = []
    for scale in (None, 2.0**10, LossScaler(2.0**8, every=4, maximum=2.0**20)):
        lc.seed(5)
        trainer = make_trainer(loss_scale=scale, clip_norm=0.5, micro_batches=2)
        trainer.fit(classes(n=64), epochs=3, batch_size=8)
        found.append({name: d for name, d in digests(trainer).items() if name in ("weights", "optimizers", "log")})
    assert found[0] == found[1] == found[2]


def test_steps_with_infinite_gradients_are_left_out_before_hooks_and_clipping_see_them():
    seen, steps = [], []
    watch = plugin(
        lunar_before_backward=lambda self, loss, ctx: loss * float("inf") if ctx.clock.batch in (2, 3) else None,
        lunar_grads_ready=lambda self, grads, norm: seen.append(norm),
        lunar_after_step=lambda self, step: steps.append(step),
    )
    trainer = make_trainer(loss_scale="dynamic", clip_norm=1.0, plugins=[watch])
    trainer.fit(classes(n=64), epochs=1, batch_size=8)
    assert len(seen) == len(steps) == 6
    assert np.isfinite(seen).all()
    assert trainer.context.scaler.skipped == 2
    assert trainer.context.scaler.value == 2.0**14
    assert trainer.context.clock.step == 6
    assert all(np.isfinite(p.data).all() for p in trainer.model.parameters())


def test_gradients_that_never_become_finite_are_an_error():
    trainer = make_trainer(
        loss_scale="dynamic", plugins=[plugin(lunar_before_backward=lambda self, loss: loss * float("nan"))]
    )
    with pytest.raises(DivergenceError, match="50 steps in a row"):
        trainer.fit(classes(n=64), epochs=20, batch_size=8)


def test_evaluation_and_prediction_compute_in_the_same_precision():
    trainer = make_trainer(precision="bfloat16")
    trainer.fit(classes(), epochs=1)
    dtypes = []
    trainer.plugins.append(plugin(lunar_after_forward=lambda self, outputs: dtypes.append(str(outputs.dtype))))
    trainer.evaluate(classes(seed=5))
    trainer.predict(classes(seed=5)[0])
    assert dtypes == ["bfloat16", "bfloat16"]


@pytest.mark.parametrize(
    "options", [{"precision": "int8"}, {"precision": "fp16"}, {"loss_scale": "big"}, {"loss_scale": -1}]
)
def test_unknown_settings_are_refused(options):
    with pytest.raises(HyperparameterError):
        make_trainer(**options)
