"""fit, evaluate and predict: exactness, reproducibility, what goes in and what is refused."""

from __future__ import annotations

import math

import numpy as np
import pytest
from training_parts import Descent, LazyLine, Line, MeanError, SquaredError, plugin, regression

import lunar_core as lc
from lunar_core import ops, random
from lunar_core.contracts.dataset import ArrayDataset
from lunar_core.contracts.regularizer import Regularizer
from lunar_core.contracts.scheduler import Scheduler
from lunar_core.errors import DataError, HyperparameterError, ShapeError, UnknownNameError
from lunar_training import DivergenceError, Trainer


def trainer(model=None, **options):
    model = Line() if model is None else model
    options.setdefault("metrics", {"mae": MeanError()})
    options.setdefault("progress", "off")
    lr = options.pop("lr", 0.05)
    return Trainer(model, SquaredError(), Descent(model.parameters(), lr), **options)


def mean_squared(model, x, y):
    return float(((x @ model.w.data + model.b.data - y) ** 2).sum(1).mean())


# --- fit -------------------------------------------------------------------------------------------------------------


def test_fit_learns_and_returns_one_row_per_epoch():
    x, y = regression()
    t = trainer()
    history = t.fit((x, y), val=(x, y), epochs=8, batch_size=8)
    assert [row["epoch"] for row in history] == list(range(1, 9))
    assert history["step"] == [7 * e for e in range(1, 9)]
    assert history["val_loss"][-1] < 0.05 * history["val_loss"][0]
    assert list(history[0])[:6] == ["epoch", "step", "loss", "mae", "val_loss", "val_mae"]
    np.testing.assert_allclose(t.model.w.data[:, 0], [1, 2, 3], atol=0.1)


def test_the_steps_are_those_of_a_loop_written_by_hand():
    x, y = regression(n=37)
    t = trainer(seed=4)
    t.fit((x, y), epochs=3, batch_size=8)

    lc.seed(4)
    model, loss = Line(), SquaredError()
    optimizer = Descent(model.parameters())
    for epoch in range(3):
        order = random.generator("shuffle", epoch).permutation(37)
        for i in range(0, 37, 8):
            index = order[i : i + 8]
            optimizer.zero_grad()
            loss(model(lc.tensor(x[index])), lc.tensor(y[index])).backward()
            optimizer.step()
    np.testing.assert_array_equal(t.model.w.data, model.w.data)


def test_evaluation_of_uneven_batches_equals_that_of_all_examples_at_once():
    x, y = regression(n=53)
    t = trainer()
    expected = mean_squared(t.model, x, y)
    mae = float(np.abs(x @ t.model.w.data - y).mean())
    for batch_size in (1, 7, 52, 53, 1000):
        found = t.evaluate((x, y), batch_size=batch_size)
        assert found == {"loss": pytest.approx(expected, rel=1e-13), "mae": pytest.approx(mae, rel=1e-13)}


def test_training_figures_of_uneven_batches_are_those_of_all_examples():
    x, y = regression(n=53)
    t = trainer(lr=0.0)
    row = t.fit((x, y), batch_size=7)[0]
    assert row["loss"] == pytest.approx(mean_squared(t.model, x, y), rel=1e-13)
    assert row["mae"] == pytest.approx(float(np.abs(x @ t.model.w.data - y).mean()), rel=1e-13)


def test_sample_weights_count_in_loss_metrics_and_gradient():
    x, y = regression(n=20)
    weights = np.arange(20, dtype=float) % 3
    t = trainer(lr=0.0)
    expected = float((((x @ t.model.w.data - y) ** 2).sum(1) * weights).sum() / weights.sum())
    assert t.evaluate((x, y, weights), batch_size=6)["loss"] == pytest.approx(expected, rel=1e-13)
    assert t.fit((x, y, weights), batch_size=6)[0]["loss"] == pytest.approx(expected, rel=1e-13)

    doubled, repeated = trainer(), trainer()
    doubled.fit((x, y, np.where(np.arange(20) < 5, 2.0, 1.0)), batch_size=20)
    repeated.fit((np.concatenate([x, x[:5]]), np.concatenate([y, y[:5]])), batch_size=25)
    np.testing.assert_allclose(doubled.model.w.data, repeated.model.w.data, rtol=1e-12)


def test_a_dataset_trains_like_its_arrays():
    x, y = regression(n=30)

    class Points(ArrayDataset):
        def read(self):
            return x, y

    a, b = trainer(), trainer()
    a.fit(Points(), val=Points(), epochs=2, batch_size=8)
    b.fit((x, y), val=(x, y), epochs=2, batch_size=8)
    assert a.history["val_loss"] == b.history["val_loss"]
    assert a.evaluate(Points()) == b.evaluate((x, y))
    np.testing.assert_array_equal(a.predict(Points()), b.predict(x))


def test_lists_and_tensors_are_data_too():
    x, y = regression(n=6)
    a, b = trainer(), trainer()
    a.fit((x.tolist(), y.tolist()))
    b.fit((lc.tensor(x), lc.tensor(y)))
    np.testing.assert_array_equal(a.model.w.data, b.model.w.data)


def test_a_second_fit_goes_on_where_the_first_ended():
    x, y = regression()
    once, twice = trainer(seed=1), trainer(seed=1)
    once.fit((x, y), epochs=4)
    twice.fit((x, y), epochs=2)
    history = twice.fit((x, y), epochs=2)
    assert [row["epoch"] for row in history] == [1, 2, 3, 4]
    np.testing.assert_array_equal(once.model.w.data, twice.model.w.data)


def test_a_model_is_built_from_the_data_before_the_optimizer_asks_for_its_parameters():
    x, y = regression(dtype=np.float32)
    model = LazyLine()
    t = trainer(model, seed=0)
    t.fit((x, y), epochs=5, batch_size=8)
    assert model.built
    assert model.w.shape == (3, 1)
    assert t.history["loss"][-1] < t.history["loss"][0]


def test_floating_data_is_converted_to_the_models_dtype_and_the_default_for_a_model_to_be_built():
    x, y = regression()  # float64
    lazy = LazyLine()
    trainer(lazy).fit((x, y))
    assert lazy.w.dtype == np.float32
    single = Line(dtype=np.float32)
    assert trainer(single).predict(x).dtype == np.float32
    double = LazyLine()
    trainer(double, dtype="float64").fit((x, y))
    assert double.w.dtype == np.float64


def test_shuffling_depends_on_seed_and_epoch_and_nothing_else():
    x, y = regression(n=16)
    taken = []
    spy = plugin(
        lunar_after_fetch=lambda self, batch: taken.append(batch[0].copy()) or None, band="reader", draws=False
    )

    def orders(seed, disturb):
        taken.clear()
        if disturb:
            random.stream("shuffle").next()
            np.random.random(7)
        trainer(seed=seed, plugins=[spy]).fit((x, y), epochs=2, batch_size=16)
        return [a.copy() for a in taken]

    first, again, other = orders(0, False), orders(0, True), orders(1, False)
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first[0], first[1])
    assert not np.array_equal(first[0], other[0])
    assert sorted(first[0][:, 0]) == sorted(x[:, 0])


def test_without_shuffling_the_examples_come_in_their_order_and_a_short_batch_can_be_dropped():
    x, y = regression(n=10)
    sizes, firsts = [], []

    def lunar_after_fetch(self, batch):
        sizes.append(len(batch[0]))
        firsts.append(batch[0][0])

    spy = plugin(lunar_after_fetch=lunar_after_fetch)
    trainer(plugins=[spy]).fit((x, y), batch_size=4, shuffle=False)
    assert sizes == [4, 4, 2]
    np.testing.assert_array_equal(firsts, x[::4])
    sizes.clear()
    trainer(plugins=[spy]).fit((x, y), batch_size=4, drop_last=True)
    assert sizes == [4, 4]


def test_a_fraction_is_held_out_by_the_seed_and_never_trained_on():
    x, y = regression(n=40)
    seen = set()
    spy = plugin(lunar_after_fetch=lambda self, batch: seen.update(batch[0][:, 0]))
    held = set()
    watch = plugin(lunar_eval_batch_start=lambda self, batch: held.update(batch[0][:, 0]))
    trainer(seed=3, plugins=[spy, watch]).fit((x, y), val=0.25, epochs=2)
    assert len(seen) == 30
    assert len(held) == 10
    assert not seen & held
    before = set(held)
    trainer(seed=3, plugins=[watch]).fit((x, y), val=0.25)
    assert held == before


def test_several_validation_sets_have_figures_under_their_names():
    x, y = regression()
    row = trainer().fit((x, y), val={"clean": (x, y), "shifted": (x + 1, y)})[0]
    assert {"clean_loss", "clean_mae", "shifted_loss", "shifted_mae"} <= row.keys()
    assert row["shifted_loss"] > row["clean_loss"]


def test_evaluation_leaves_modes_gradients_and_running_metrics_alone():
    x, y = regression()

    class Pair(Line):
        def __init__(self):
            super().__init__()
            self.frozen = Line()
            self.frozen.training = False

    model = Pair()
    modes = []
    spy = plugin(lunar_eval_batch_end=lambda self, ctx: modes.append(ctx.model.training))
    t = trainer(model, plugins=[spy])
    t.fit((x, y), val=(x, y))
    assert modes and not any(modes)
    model.train()
    model.frozen.training = False
    model.w.grad = lc.tensor(np.ones((3, 1)))
    t.evaluate((x, y))
    assert model.training and not model.frozen.training
    np.testing.assert_array_equal(model.w.grad.data, 1)


@pytest.mark.parametrize("parts", [2, 3, 7])
@pytest.mark.parametrize("weighted", [False, True])
def test_micro_batches_make_the_step_of_the_whole_batch(parts, weighted):
    x, y = regression(n=23)
    data = (x, y, np.arange(23) % 4 + 0.5) if weighted else (x, y)
    whole, cut = (
        trainer(micro_batches=k, regularizers=[Ridge(strength=0.3)], lr=0.02, seed=0, clip_norm=2.0) for k in (1, parts)
    )
    whole.fit(data, epochs=3, batch_size=10)
    cut.fit(data, epochs=3, batch_size=10)
    np.testing.assert_allclose(cut.model.w.data, whole.model.w.data, rtol=1e-12)
    np.testing.assert_allclose(cut.history["loss"], whole.history["loss"], rtol=1e-12)
    np.testing.assert_allclose(cut.history["penalty"], whole.history["penalty"], rtol=1e-12)


class Ridge(Regularizer):
    strength: float = 1.0

    def terms(self, model):
        return ops.sum(ops.square(model.w)) * self.strength, 2.0


def test_regularizers_move_the_weights_but_not_the_loss_figure():
    x, y = regression()
    t = trainer(regularizers=[Ridge(strength=0.5), Ridge(strength=0.7)], lr=0.0)
    row = t.fit((x, y), batch_size=50)[0]
    assert row["loss"] == pytest.approx(mean_squared(t.model, x, y), rel=1e-12)
    assert row["penalty"] == pytest.approx(0.6 * float((t.model.w.data**2).sum()), rel=1e-12)
    moved = trainer(regularizers=[Ridge(strength=0.5)], lr=0.1)
    w = moved.model.w.data.copy()
    residual = x @ w - y
    moved.fit((x, y), batch_size=50)
    np.testing.assert_allclose(moved.model.w.data, w - 0.1 * (2 * x.T @ residual / 50 + 0.5 * w), rtol=1e-12)


def test_clipping_bounds_the_global_norm_and_keeps_the_direction():
    x, y = regression()
    norms, before, after = [], {}, {}
    spy = plugin(
        lunar_after_accumulate=lambda self, grads: before.update({k: v.copy() for k, v in grads.items()}),
        lunar_grads_ready=lambda self, grads, norm: norms.append(norm) or after.update(grads),
        band="reader",
        draws=False,
    )
    trainer(clip_norm=0.5, plugins=[spy]).fit((x, y), batch_size=50)
    total = math.sqrt(sum(float((g**2).sum()) for g in before.values()))
    assert norms == [pytest.approx(total)] and total > 0.5
    assert math.sqrt(sum(float((g**2).sum()) for g in after.values())) == pytest.approx(0.5)
    for name in before:
        np.testing.assert_allclose(after[name], before[name] * 0.5 / total)


def test_a_plain_function_is_a_loss():
    x, y = regression(n=53)
    model = Line()
    t = Trainer(
        model, lambda p, target: ops.mean(ops.square(p - target)), Descent(model.parameters(), 0.0), progress="off"
    )
    expected = mean_squared(model, x, y)
    assert t.evaluate((x, y), batch_size=7)["loss"] == pytest.approx(expected, rel=1e-12)
    assert t.fit((x, y), batch_size=7)[0]["loss"] == pytest.approx(expected, rel=1e-12)
    with pytest.raises(HyperparameterError, match="no sample weights"):
        t.fit((x, y, np.ones(53)))


def test_several_optimizers_step_in_turn():
    x, y = regression()
    model = Line()
    only_b = Descent([model.b])
    w = model.w.data.copy()
    Trainer(model, SquaredError(), [only_b], progress="off").fit((x, y))
    np.testing.assert_array_equal(model.w.data, w)
    Trainer(model, SquaredError(), [only_b, Descent([model.w])], progress="off").fit((x, y))
    assert not np.array_equal(model.w.data, w)


def test_a_scheduler_is_advanced_after_each_step():
    x, y = regression(n=10)
    positions = []

    class Watch:
        def step(self, position):
            positions.append(position)

    trainer(scheduler=Watch()).fit((x, y), batch_size=4, epochs=2)
    assert positions == [1, 2, 3, 4, 5, 6]


class Falling(Scheduler):
    """From the base value to zero over the run."""

    def value(self, position, base):
        return base * (1 - position / self.length)


def rates(*plugins, optimizer=None, **options):
    seen = []
    spy = plugin(lunar_after_step=lambda self, ctx: seen.append(ctx.optimizer.lr), band="reader", draws=False)
    model = Line()
    t = Trainer(
        model, SquaredError(), optimizer or Descent(model.parameters(), 0.08), plugins=[*plugins, spy], progress="off",
        **options,
    )  # fmt: skip
    return t, seen


def test_a_scheduler_is_bound_to_the_optimizer_and_told_the_length_of_the_run():
    t, seen = rates(scheduler=Falling())
    t.fit(regression(n=8), batch_size=4, epochs=2)
    assert seen == [0.08, pytest.approx(0.06), pytest.approx(0.04), pytest.approx(0.02)]
    assert t.optimizer.lr == 0
    t.fit(regression(n=8), batch_size=4, epochs=2)  # the run is now four epochs long and half over
    assert seen[5:] == [pytest.approx(0.03), pytest.approx(0.02), pytest.approx(0.01)]


def test_a_scheduler_counts_in_its_own_unit():
    t, seen = rates(scheduler=Falling(unit="epoch"))
    t.fit(regression(n=8), batch_size=4, epochs=2)
    assert seen == [0.08, 0.08, 0.04, 0.04]
    t, seen = rates(scheduler=Falling(unit="sample"))
    t.fit(regression(n=10), batch_size=8)
    assert seen == [0.08, pytest.approx(0.016)]
    with pytest.raises(HyperparameterError, match="no unit 'moon'"):
        rates(scheduler=Falling(unit="moon"))[0].fit(regression())


def test_a_scheduler_that_is_bound_to_something_else_moves_that():
    class Weight:
        strength = 1.0

    held = Weight()
    other = Weight()
    t, seen = rates(scheduler=[Halving(held, attribute="strength"), Halving().bind(other, "strength")])
    t.fit(regression(n=8), batch_size=4)
    assert set(seen) == {0.08}
    assert held.strength == other.strength == 0.25


class Halving(Scheduler):
    def value(self, position, base):
        return base * 0.5**position


def test_a_hook_moves_a_scheduler_elsewhere():
    stay = plugin(lunar_scheduler_step=lambda self, value, unit: 1 if unit == "step" else None)
    t, seen = rates(stay, scheduler=Falling())
    t.fit(regression(n=8), batch_size=2)
    assert seen == [0.08, pytest.approx(0.06), pytest.approx(0.06), pytest.approx(0.06)]


# --- predict ---------------------------------------------------------------------------------------------------------


def test_predict_gives_all_outputs_in_order_on_the_host():
    x, y = regression(n=23)
    t = trainer()
    for data in (x, (x, y), lc.tensor(x), x.tolist()):
        found = t.predict(data, batch_size=5)
        assert type(found) is np.ndarray
        np.testing.assert_allclose(found, x @ t.model.w.data + t.model.b.data, rtol=1e-14)
    t.predict(x)[...] = 0  # a fresh array, not the model's memory
    np.testing.assert_allclose(t.predict(x), x @ t.model.w.data, rtol=1e-14)


def test_predict_keeps_the_containers_that_a_model_returns():
    class Two(Line):
        def forward(self, x):
            out = super().forward(x)
            return {"mean": out, "both": (out, out * 2)}

    x, _ = regression(n=7)
    found = trainer(Two()).predict(x, batch_size=3)
    assert found["mean"].shape == (7, 1)
    np.testing.assert_allclose(found["both"][1], 2 * found["mean"])


# --- what is refused -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ((np.zeros((0, 3)), np.zeros((0, 1))), "training data: there are no examples"),
        ((np.zeros((4, 3)), np.zeros((5, 1))), "training data: the numbers of examples differ: 4 inputs, 5 targets"),
        (np.zeros((4, 3)), "expected a pair"),
        ((np.zeros((4, 3)),), "a tuple of 1"),
        ("digits", "got str"),
        ((np.zeros((4, 3)), ["a", "b", "c", "d"]), "targets: expected numbers"),
        ((np.zeros((4, 3)), 5), "got a single number"),
        (([[1, 2], [3]], [1, 2]), "inputs: examples of uneven shape"),
        ((np.zeros((4, 3)), np.zeros((4, 1)), np.array([1, 1, -1, 1])), "weights must be finite and >= 0"),
        ((np.zeros((4, 3)), np.zeros((4, 1)), np.ones((4, 2))), "one weight per example"),
    ],
)
def test_data_that_cannot_be_used_is_one_clear_error(data, message):
    t = trainer()
    with pytest.raises(DataError, match=message):
        t.fit(data)
    assert t.context.clock.step == 0


@pytest.mark.parametrize("bad", [3, -1])
def test_a_class_that_the_model_does_not_have_is_found_before_the_first_step(bad):
    cross_entropy = pytest.importorskip("lunar_losses.cross_entropy")
    model = Wide()
    x, labels = regression(n=40)[0], np.arange(40) % 3
    labels[17] = bad

    def trainer():
        return Trainer(model, cross_entropy.CrossEntropy(), Descent(model.parameters()), progress="off")

    t = trainer()
    with pytest.raises(
        DataError, match=rf"example 17 is of class {bad}, but the model gives 3 classes \(0\.\.2\); 1 target"
    ):
        t.fit((x, labels), batch_size=4)
    assert t.context.clock.step == 0
    with pytest.raises(
        DataError, match=rf"targets hold classes {min(bad, 0)}\.\.{max(bad, 2)}, but the model gives 3 classes"
    ):
        trainer().evaluate((x, labels))
    labels[17] = -100  # the class that does not count
    trainer().fit((x, labels), batch_size=4)
    with pytest.raises(ShapeError):
        trainer().fit((x, labels[:, None].astype(float)))


class Wide(Line):
    def __init__(self):
        super().__init__()
        self.w = lc.Parameter(np.random.default_rng(0).standard_normal((3, 3)))
        self.b = lc.Parameter(np.zeros(3))


def test_wrong_settings_are_named():
    x, y = regression()
    with pytest.raises(HyperparameterError, match="epochs must be an int > 0, got 0"):
        trainer().fit((x, y), epochs=0)
    with pytest.raises(HyperparameterError, match=r"batch_size must be an int > 0, got 2\.5"):
        trainer().fit((x, y), batch_size=2.5)
    with pytest.raises(HyperparameterError, match="clip_norm"):
        trainer(clip_norm=-1)
    with pytest.raises(DataError, match=r"val=1.5: no of 50 examples"):
        trainer().fit((x, y), val=1.5)
    with pytest.raises(DataError, match="drop_last=True leaves nothing of 50 examples"):
        trainer().fit((x, y), batch_size=64, drop_last=True)
    with pytest.raises(HyperparameterError, match="needs an optimizer"):
        Trainer(Line(), SquaredError(), progress="off").fit((x, y))
    with pytest.raises(HyperparameterError, match="evaluate\\(\\) needs a loss"):
        Trainer(Line(), progress="off").evaluate((x, y))
    with pytest.raises(HyperparameterError, match="model must be a Module"):
        Trainer(3)
    with pytest.raises(UnknownNameError, match="crossentropi"):
        Trainer(Line(), "crossentropi")


def test_a_shape_that_the_model_cannot_take_is_its_own_error_and_leaves_nothing_running():
    t = trainer()
    with pytest.raises(ShapeError):
        t.fit((np.zeros((4, 5)), np.zeros((4, 1))))
    assert t.context.bus is None
    t.fit(regression())  # the trainer is as usable as before


def test_a_lost_loss_stops_with_epoch_batch_step_and_cause():
    x, y = regression(n=20)
    bad = x.copy()
    bad[13, 1] = np.nan
    t = trainer()
    with pytest.raises(DivergenceError, match=r"loss is nan in epoch 1, batch 4 \(step 4\); the batch's inputs hold 1"):
        t.fit((bad, y), batch_size=4, shuffle=False)
    assert np.isfinite(t.model.w.data).all()

    exploding = trainer(lr=1e200)
    with pytest.raises(DivergenceError, match=r"loss is (inf|nan) in epoch 1, batch 2"), np.errstate(all="ignore"):
        exploding.fit((x, y), batch_size=4)

    lost = trainer()
    lost.model.b.data[...] = np.inf
    with pytest.raises(DivergenceError, match="weights were lost before it: b"), np.errstate(all="ignore"):
        lost.fit((x, y))


def test_gradients_that_are_not_finite_are_not_stepped_when_clipping_is_on():
    class Root(Line):
        def forward(self, x):
            return ops.sqrt(ops.square(super().forward(x) * 0.0))

    model = Root()
    w = model.w.data.copy()
    t = trainer(model, clip_norm=1.0)
    with pytest.raises(DivergenceError, match="gradients' norm is nan in epoch 1, batch 1"), np.errstate(all="ignore"):
        t.fit(regression())
    np.testing.assert_array_equal(model.w.data, w)


# --- optimizers ------------------------------------------------------------------------------------------------------


def test_what_is_no_optimizer_is_refused_at_construction():
    with pytest.raises(HyperparameterError, match="got 3, which has no step and no zero_grad"):
        Trainer(Line(), SquaredError(), 3)


def test_an_optimizer_of_another_model_is_refused_by_fit():
    model, other = Line(), Line()
    adam = lc.registry.get("optimizer", "adam")
    with pytest.raises(HyperparameterError, match="none of the 2 parameters of Adam belongs to the model"):
        Trainer(model, SquaredError(), adam(other.parameters()), progress="off").fit(regression())
    both = adam([*model.parameters(), *other.parameters()])
    assert Trainer(model, SquaredError(), both, progress="off").fit(regression())


def test_averages_are_in_place_for_evaluation_and_out_again_for_training():
    model = Line()
    ema = lc.registry.get("optimizer", "ema")(lc.registry.get("optimizer", "sgd")(model.parameters(), lr=0.1))
    x, y = regression()
    t = Trainer(model, SquaredError(), ema, progress="off")
    history = t.fit((x, y), val=(x, y), epochs=2, batch_size=8)
    trained = mean_squared(model, x, y)
    ema.eval()
    averaged = mean_squared(model, x, y)
    predicted = x @ model.w.data + model.b.data
    ema.train()
    assert averaged != trained
    np.testing.assert_allclose([history["val_loss"][-1], t.evaluate((x, y))["loss"]], averaged)
    np.testing.assert_allclose(t.predict(x), predicted)
    assert mean_squared(model, x, y) == trained
