"""Composite: the sum, its terms, what the Trainer logs of them; and masks and half precision of every loss."""

from __future__ import annotations

import math

import numpy as np
import pytest

import lunar_core as lc
from lunar_core.errors import HyperparameterError, ShapeError
from lunar_losses.composite import Composite
from lunar_losses.cross_entropy import CrossEntropy
from lunar_losses.mae import MAE
from lunar_losses.mse import MSE
from lunar_training import Trainer

RNG = np.random.default_rng(3)
X, Y = RNG.normal(size=(10, 3)), RNG.normal(size=(10, 3))


def both():
    return Composite({"square": MSE(), "absolute": MAE()}, weights={"absolute": 0.25})


def test_the_sum_of_weighted_means_and_each_term_by_its_name():
    loss = both()
    square, absolute = ((X - Y) ** 2).mean(), abs(X - Y).mean()
    assert loss(X, Y).item() == pytest.approx(square + 0.25 * absolute, rel=1e-13)
    assert {n: (t.item(), w) for n, (t, w) in loss.parts.items()} == {
        "square": pytest.approx((square * 30, 30)),
        "absolute": pytest.approx((absolute * 30, 30)),
    }
    assert all(t.node is None for t, _ in loss.parts.values())


def test_the_gradient_is_the_sum_of_the_terms_gradients():
    x = lc.tensor(X, requires_grad=True)
    both()(x, Y).backward()
    np.testing.assert_allclose(x.grad.numpy(), (2 * (X - Y) + 0.25 * np.sign(X - Y)) / 30, rtol=1e-12)


def test_of_dicts_each_term_gets_its_own_entry():
    loss = Composite({"class": CrossEntropy(), "size": MSE()})
    pred = {"class": X, "size": Y[:, 0], "unused": X}
    labels = RNG.integers(0, 3, 10)
    expected = CrossEntropy()(X, labels).item() + MSE()(Y[:, 0], X[:, 0]).item()
    assert loss(pred, {"class": labels, "size": X[:, 0]}).item() == pytest.approx(expected, rel=1e-13)
    with pytest.raises(ShapeError, match="predictions have class, but nothing for the term 'size'"):
        loss({"class": X}, {"class": labels, "size": X[:, 0]})


def test_a_term_that_counts_nothing_adds_nothing():
    labels = np.full(10, -100)
    loss = Composite({"class": CrossEntropy(), "again": CrossEntropy(ignore_index=None)})
    pred = {"class": X, "again": X}
    total, weight = loss.terms(pred, {"class": labels, "again": labels * 0})
    assert total.item() / weight == pytest.approx(CrossEntropy()(X, labels * 0).item())


def test_a_composite_among_the_terms_names_its_own():
    loss = Composite({"inner": both(), "plain": MAE()})
    expected = both()(X, Y).item() + MAE()(X, Y).item()
    assert loss(X, Y).item() == pytest.approx(expected, rel=1e-13)
    assert list(loss.parts) == ["inner", "plain", "inner.square", "inner.absolute"]


def test_it_refuses_what_makes_no_sum():
    with pytest.raises(HyperparameterError, match="at least one loss"):
        Composite({})
    with pytest.raises(HyperparameterError, match="'absolut', which is none of square, absolute\n.*absolute"):
        Composite({"square": MSE(), "absolute": MAE()}, weights={"absolut": 1.0})
    with pytest.raises(HyperparameterError, match="mean or sum"):
        Composite({"square": MSE()}, reduction="none")


class Listener:
    """Keeps what is logged."""

    def __init__(self):
        self.records = []

    @lc.hookimpl
    def lunar_log(self, record):
        self.records.append(dict(record))


@pytest.mark.parametrize("micro_batches", [1, 3])
def test_the_trainer_logs_each_term_exactly_over_uneven_batches(micro_batches):
    lc.seed(0)
    model = lc.layers.Dense(3)
    listener = Listener()
    loss = both()
    trainer = Trainer(
        model, loss, lc.optimizers.SGD(model.parameters(), lr=0.0), plugins=[listener], dtype="float64",
        micro_batches=micro_batches, progress="off",
    )  # fmt: skip
    history = trainer.fit((X, Y), val=(X[:7], Y[:7]), epochs=2, batch_size=4, val_batch_size=3)
    out = trainer.predict(X)
    square, absolute = ((out - Y) ** 2).mean(), abs(out - Y).mean()
    row = history[-1]
    assert row["loss.square"] == pytest.approx(square, rel=1e-12)
    assert row["loss.absolute"] == pytest.approx(absolute, rel=1e-12)
    assert row["loss"] == pytest.approx(square + 0.25 * absolute, rel=1e-12)
    assert row["val_loss.square"] == pytest.approx(((out[:7] - Y[:7]) ** 2).mean(), rel=1e-12)
    steps = [r for r in listener.records if r["event"] == "step"]
    assert len(steps) == 6
    for record in steps:
        assert record["loss"] == pytest.approx(record["loss.square"] + 0.25 * record["loss.absolute"], rel=1e-12)


def test_a_loss_of_one_part_logs_no_terms():
    model = lc.layers.Dense(3)
    trainer = Trainer(model, "mse", lc.optimizers.SGD(model.parameters(), lr=0.1), dtype="float64", progress="off")
    assert not any("loss." in column for column in trainer.fit((X, Y), epochs=1).columns)


def test_a_mask_hides_even_what_is_not_a_number():
    x = X.copy()
    x[3] = math.nan
    mask = np.arange(10) != 3
    expected = ((X - Y)[mask] ** 2).mean()
    assert MSE()(x, Y, mask).item() == pytest.approx(expected, rel=1e-13)
    assert math.isnan(MSE()(x, Y, mask.astype(float)).item())
    assert MSE()(X, Y, RNG.random((10, 3)) < 0.5).item() > 0


def test_sums_in_half_precision_do_not_overflow():
    total, weight = MSE().terms(lc.tensor(np.full(70000, 2.0), dtype="float16"), np.zeros(70000, np.float16))
    assert (total.item(), weight) == (280000, 70000) and total.dtype == np.float32


def test_weights_are_counted_exactly_beyond_single_precision():
    n = 2**24 + 3
    _, weight = MSE().terms(np.zeros(n, np.float32), np.zeros(n, np.float32), np.ones(n, bool))
    assert weight == n
