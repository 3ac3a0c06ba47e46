"""Diagnosis: each trouble is provoked in a real run and said in words; a healthy run says nothing."""

from __future__ import annotations

import io
import time

import numpy as np
import pytest
from instrument_parts import images, run
from training_parts import plugin

import lunar_core as lc
from lunar_training.callbacks.diagnosis import Diagnosis
from lunar_training.callbacks.progress import Progress
from lunar_training.diagnosis import GradientFlow, LossSpike, Plateau, Subnormals


def found(*plugins, every="1step", **options):
    """Findings by kind, and the records of event "diagnosis"."""
    diagnosis = Diagnosis(every=every)
    _, records = run(diagnosis, *plugins, **options)
    return {f.kind: f for f in diagnosis.findings}, records.of("diagnosis")


def flat(*parts):
    return lc.layers.Sequential(lc.layers.Flatten(), *parts)


def test_a_healthy_run_says_nothing():
    findings, records = found(epochs=4, val=images(32, seed=9))
    assert findings == {} and records == []


def test_dead_units_are_found_in_the_layer_where_they_are():
    model = flat(lc.layers.Dense(16), lc.layers.ReLU(), lc.layers.Dense(16), lc.layers.ReLU(), lc.layers.Dense(4))
    model(lc.Tensor(images()[0][:2]))
    model[3].bias.data[...] = -100.0
    findings, records = found(model=model, epochs=1)
    dead = findings["dead_units"]
    assert dead.where == "4" and dead.evidence == {"dead": 16, "units": 16, "share": 1.0}
    assert dead.text.startswith("16 of 16 units of 4 gave 0 for every example of the 3 batches")
    assert "leaky_relu" in dead.suggestion
    assert records[0]["event"] == "diagnosis" and records[0]["text"] == dead.text


def test_vanishing_gradients_are_found_in_a_deep_sigmoid_network():
    parts = [part for _ in range(10) for part in (lc.layers.Dense(8), lc.activations.Sigmoid())]
    findings, _ = found(model=flat(*parts, lc.layers.Dense(4)), epochs=1)
    vanishing = findings["vanishing_gradients"]
    assert vanishing.where == "1.weight" and vanishing.evidence["first"] < 1e-4 * vanishing.evidence["largest"]
    assert "residual connections" in str(vanishing)


def test_exploding_gradients_are_found_when_weights_blow_up():
    def lunar_before_forward(self, inputs, ctx):
        return inputs * 3000.0 if ctx.clock.step == 8 else None

    model = flat(lc.layers.Dense(16), lc.layers.ReLU(), lc.layers.Dense(4))
    findings, _ = found(plugin(lunar_before_forward=lunar_before_forward), model=model, epochs=2)
    exploding = findings["exploding_gradients"]
    assert "in step 9" in exploding.text and exploding.evidence["norm"] > 100 * exploding.evidence["median"]
    assert "clip_norm" in exploding.suggestion


def test_a_loss_spike_is_told_with_the_losses_before():
    def lunar_after_fetch(self, batch, ctx):
        return (-30 * batch[0], batch[1]) if ctx.clock.step == 10 else None

    findings, _ = found(plugin(lunar_after_fetch=lunar_after_fetch), epochs=2, every="1ep")
    spike = findings["loss_spike"]
    assert "in step 11" in spike.text and spike.evidence["loss"] > 3 * spike.evidence["median"]


def test_steps_that_wait_for_data_are_told():
    class Slow:
        def __init__(self, loader):
            self.loader = loader

        def __len__(self):
            return len(self.loader)

        def __iter__(self):
            for batch in self.loader:
                time.sleep(0.03)
                yield batch

    slow = plugin(lunar_configure_loader=lambda self, loader: Slow(loader))
    findings, _ = found(slow, epochs=4, every="1ep")
    assert findings["data_bound"].evidence["share"] > 0.4 and "workers" in findings["data_bound"].suggestion
    assert "data_bound" not in found(epochs=4, every="1ep")[0]


def test_a_plateau_and_overfitting_are_told_apart():
    findings, records = found(epochs=7, optimizer={"@optimizer": "sgd", "lr": 0.0}, model=flat(lc.layers.Dense(4)))
    assert findings["plateau"].where == "loss" and len(records) == 1
    x, _ = images(48)
    noise = np.random.default_rng(1).integers(0, 4, 48)
    model = flat(lc.layers.Dense(64), lc.layers.ReLU(), lc.layers.Dense(4))
    findings, _ = found(model=model, data=(x, noise), val=(images(48, seed=2)[0], noise[::-1].copy()), epochs=15)
    assert "overfitting" in findings and "early_stopping" in findings["overfitting"].suggestion


def test_subnormal_numbers_are_told_with_the_place_and_the_remedy():
    def lunar_after_step(self, ctx):
        ctx.model[2].weight.data[...] *= np.float32(1e-40)

    findings, _ = found(plugin(lunar_after_step=lunar_after_step), epochs=1, model=flat(
        lc.layers.Dense(8), lc.layers.Dense(8), lc.layers.Dense(4)))  # fmt: skip
    small = findings["subnormals"]
    assert small.evidence["share"] > 0.5 and small.evidence["arrays"] >= 2
    assert small.text.startswith("100.0% of the values of the gradient of 1.bias are subnormal numbers and in ")
    assert "set_flush_denormal(True)" in small.suggestion


def test_the_progress_display_says_what_was_found():
    out = io.StringIO()
    model = flat(lc.layers.Dense(16), lc.layers.ReLU(), lc.layers.Dense(4))
    model(lc.Tensor(images()[0][:2]))
    model[1].bias.data[...] = -100.0
    run(Diagnosis(every="1step"), Progress(mode="lines", stream=out), model=model, epochs=1)
    assert "dead units: 16 of 16 units of 2 gave 0" in out.getvalue()


# --- the detectors by themselves --------------------------------------------------------------------------------------


def test_ordinary_noise_is_no_spike():
    rng = np.random.default_rng(0)
    detector = LossSpike()
    assert not any(detector.see(float(v), i) for i, v in enumerate(rng.lognormal(0, 0.3, 500)))
    assert detector.see(30.0, 501).kind == "loss_spike"
    assert detector.see(float("nan"), 502) is None  # that is the business of others


def test_a_gradient_that_is_not_finite_explodes_at_once():
    (finding,) = GradientFlow().see({"a": 1.0, "b": float("nan"), "c": 2.0}, float("nan"), 1)
    assert finding.kind == "exploding_gradients" and finding.where == "b"


def test_a_slow_but_steady_improvement_is_no_plateau():
    detector = Plateau(patience=3)
    assert [detector.see({"loss": 0.99**i}) for i in range(20)] == [None] * 20


@pytest.mark.parametrize("late, said", [(0.01, "1 times"), (0.03, "3 times")])
def test_subnormals_come_with_how_much_slower_steps_are(late, said):
    detector = Subnormals()
    for took in [0.01] * 10 + [late] * 10:
        detector.time(took)
    assert detector.see({"w": 0.005}) is None
    assert f"steps take {said} as long" in detector.see({"w": 0.2, "v": 0.1}).text
