"""mixup, CutMix, label smoothing, freezing, gradual unfreezing, a time limit."""

from __future__ import annotations

import numpy as np
import pytest
from instrument_parts import images, network, run
from training_parts import plugin

import lunar_core as lc
from lunar_core.errors import DataError, HyperparameterError, StateError
from lunar_training.callbacks.cutmix import CutMix
from lunar_training.callbacks.freeze import Freeze
from lunar_training.callbacks.gradual_unfreeze import GradualUnfreeze, parts_of
from lunar_training.callbacks.label_smoothing import LabelSmoothing
from lunar_training.callbacks.mixup import Mixup
from lunar_training.callbacks.time_limit import TimeLimit


def seen_by_the_loss(*plugins, **options):
    """(inputs of the model, targets of the loss) of the first training batch, and the batch as it was."""
    found = {}

    class Spy:
        band = "reader"

        def lunar_batch_start(self, batch):
            found.setdefault("batch", [np.array(part) for part in batch])

        def lunar_module_forward_pre(self, path, inputs, ctx):
            if path == "0" and ctx.stage == "train":
                found.setdefault("x", inputs[0].data.copy())

        def lunar_before_loss(self, outputs, targets):
            found.setdefault("y", targets.data.copy())

    run(*plugins, Spy(), epochs=1, **options)
    return found


def test_mixup_averages_inputs_and_targets_with_one_share():
    found = seen_by_the_loss(Mixup(alpha=1.0))
    x, labels = found["batch"]
    one_hot = np.eye(4)[labels]
    rng = lc.random.generator("mixup", 0)
    rng.random()
    order = rng.permutation(16)
    share = rng.beta(1.0, 1.0)
    np.testing.assert_allclose(found["x"], share * x + (1 - share) * x[order], rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(found["y"], share * one_hot + (1 - share) * one_hot[order], rtol=1e-5)
    assert 0.01 < share < 0.99


def test_mixup_averages_targets_of_a_regression():
    x = np.random.default_rng(0).normal(size=(32, 1, 6, 6)).astype(np.float32)
    y = x.mean((1, 2, 3))[:, None].repeat(4, 1)
    found = seen_by_the_loss(Mixup(alpha=1.0), data=(x, y), loss="mse")
    np.testing.assert_allclose(found["y"][:, 0], found["x"].mean((1, 2, 3)), rtol=1e-4, atol=1e-6)


def test_cutmix_takes_a_box_and_mixes_the_targets_by_the_pixels():
    found = seen_by_the_loss(CutMix(), seed=3)
    x, labels = found["batch"]
    own = (found["x"] == x).all(axis=(0, 1))
    assert 0 < own.sum() < 36
    rows, columns = np.where(~own)
    assert (~own).sum() == (np.ptp(rows) + 1) * (np.ptp(columns) + 1)  # a rectangle
    share = own.mean()
    one_hot = np.eye(4)[labels]
    changed = np.where((found["y"] != one_hot).any(1))[0]
    np.testing.assert_allclose(found["y"][changed].max(1), max(share, 1 - share), rtol=1e-6)
    np.testing.assert_allclose(found["y"].sum(1), 1, rtol=1e-6)


def test_cutmix_wants_images():
    with pytest.raises(DataError, match=r"expects images \(N, C, H, W\), got inputs of shape \(16, 36\)"):
        run(CutMix(), data=(images()[0].reshape(96, 36), images()[1]), model=lc.layers.Sequential(lc.layers.Dense(4)))


def test_label_smoothing_comes_after_mixup_and_is_that_of_the_loss():
    found = seen_by_the_loss(LabelSmoothing(amount=0.2))
    np.testing.assert_allclose(found["y"], 0.8 * np.eye(4)[found["batch"][1]] + 0.05, rtol=1e-6)
    both = seen_by_the_loss(LabelSmoothing(amount=0.2), Mixup(alpha=1.0))
    mixed = seen_by_the_loss(Mixup(alpha=1.0))
    np.testing.assert_allclose(both["y"], 0.8 * mixed["y"] + 0.05, rtol=1e-5)
    t, _ = run(LabelSmoothing(amount=0.2), optimizer={"@optimizer": "sgd", "lr": 0.05})
    other, _ = run(loss={"@loss": "cross_entropy", "label_smoothing": 0.2}, optimizer={"@optimizer": "sgd", "lr": 0.05})
    assert t.history["loss"] == pytest.approx(other.history["loss"], rel=1e-5)


def test_evaluation_is_not_mixed_and_a_probability_leaves_steps_as_they_are():
    plain, _ = run(val=images(32, seed=5))
    never, _ = run(Mixup(probability=0.0), val=images(32, seed=5))
    assert plain.history["val_loss"] == never.history["val_loss"]
    mixed, _ = run(Mixup(alpha=1.0), optimizer={"@optimizer": "sgd", "lr": 0.0}, val=images(32, seed=5))
    still, _ = run(optimizer={"@optimizer": "sgd", "lr": 0.0}, val=images(32, seed=5))
    assert mixed.history["loss"] != still.history["loss"]


def test_ignored_targets_cannot_be_mixed():
    x, y = images()
    with pytest.raises(DataError, match="ignored cannot be mixed"):
        run(Mixup(), data=(x, np.where(np.arange(96) % 2, y, -100)))


# --- freezing --------------------------------------------------------------------------------------------------------


def weights_by_epoch():
    def lunar_epoch_start(self, ctx):
        self.states.append({k: v.copy() for k, v in ctx.model.state_dict().items()})

    return plugin(lunar_epoch_start=lunar_epoch_start, lunar_fit_end=lunar_epoch_start, states=[], band="reader")


def changed(before, after):
    return {name for name in before if not np.array_equal(before[name], after[name])}


def test_frozen_parts_keep_weights_and_statistics_until_their_epoch():
    spy = weights_by_epoch()
    t, _ = run(Freeze(what=("0", "1"), until=2), spy, epochs=3)
    first = changed(spy.states[0], spy.states[2])
    assert first == {"5.weight", "5.bias", "7.weight", "7.bias"}
    assert {"0.weight", "1.weight", "1.running_mean"} <= changed(spy.states[2], spy.states[3])
    assert all(p.requires_grad for p in t.model.parameters())


def test_freezing_what_is_not_there_is_an_error():
    with pytest.raises(StateError, match="encoder"):
        run(Freeze(what=("encoder.*",)))


def test_gradual_unfreezing_goes_from_the_back_one_part_an_epoch():
    spy = weights_by_epoch()
    t, _ = run(GradualUnfreeze(), spy, epochs=4)
    trained = [{n.split(".")[0] for n in changed(a, b)} for a, b in zip(spy.states, spy.states[1:])]
    assert trained == [{"7"}, {"5", "7"}, {"1", "5", "7"}, {"0", "1", "5", "7"}]
    assert all(p.requires_grad for p in t.model.parameters())


def test_the_parts_of_a_model_are_its_children_or_those_of_an_only_child():
    model = network()
    model(lc.Tensor(images()[0][:2]))
    assert parts_of(model) == ["0", "1", "5", "7"]
    assert parts_of(lc.layers.Sequential(model)) == ["0.0", "0.1", "0.5", "0.7"]


def test_what_was_frozen_before_stays_so():
    model = network()
    model(lc.Tensor(images()[0][:2]))
    model.freeze("5")
    run(GradualUnfreeze(), model=model, epochs=1)
    run(Freeze(what=("7",), until=1), model=model, epochs=2)
    assert [n for n, p in model.named_parameters() if not p.requires_grad] == ["5.weight", "5.bias"]


# --- time ------------------------------------------------------------------------------------------------------------


def test_a_time_limit_stops_in_good_order():
    t, _ = run(TimeLimit(limit=1e-9), epochs=5, val=images(16))
    assert t.context.stop_reason == "the time limit of 1e-09 was reached"
    assert t.context.clock.step == 1 and len(t.history) == 1 and "val_loss" in t.history[0]
    assert len(run(TimeLimit(limit="1h"), epochs=2)[0].history) == 2


def test_a_time_limit_is_a_time():
    with pytest.raises(HyperparameterError, match="limit must be a time"):
        TimeLimit(limit="5step")
