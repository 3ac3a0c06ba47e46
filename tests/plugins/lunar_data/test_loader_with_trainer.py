"""A loader as the training and validation data of a Trainer."""

import numpy as np
import pytest
from loader_parts import Counting

import lunar_core as lc
from lunar_core.errors import DataError
from lunar_data import Digits, Loader, Weighted
from lunar_training import Trainer

X, Y = Digits().arrays()
X, Y = X[:200], Y[:200]


def trained(data, val=None, epochs=2, **fit):
    lc.seed(4)
    model = lc.layers.Sequential(lc.layers.Flatten(), lc.layers.Dense(10))
    trainer = Trainer(model, loss="cross_entropy", optimizer={"@optimizer": "sgd", "lr": 0.1}, progress="off", seed=4)
    trainer.fit(data, val, epochs=epochs, **fit)
    return trainer, np.concatenate([p.data.ravel() for p in model.parameters()])


def brighter(example, rng):
    return example[0] * np.float32(rng.uniform(0.9, 1.1)), example[1]


def test_training_from_a_loader_equals_training_from_its_arrays():
    plain, expected = trained((X, Y), (X[:50], Y[:50]), batch_size=32)
    for workers in (0, 2):
        with Loader((X, Y), 32, shuffle=True, workers=workers) as loader:
            other, weights = trained(loader, Loader((X[:50], Y[:50]), 16))
        np.testing.assert_array_equal(weights, expected)
        np.testing.assert_allclose(other.history["val_loss"], plain.history["val_loss"], rtol=1e-6)
        assert other.history["loss"] == plain.history["loss"]


def test_the_number_of_workers_does_not_change_an_augmented_run():
    def run(workers):
        weights = Weighted(np.arange(1.0, 201))
        with Loader((X, Y), 32, sampler=weights, transform=brighter, workers=workers) as loader:
            return trained(loader)[1]

    first = run(0)
    for workers in (1, 2):
        np.testing.assert_array_equal(run(workers), first)


def test_a_loader_is_evaluated_and_predicted_from():
    trainer, _ = trained((X, Y), batch_size=32)
    loader = Loader((X, Y), 64)
    inputs = Loader(X, 64)
    assert trainer.evaluate(loader)["loss"] == pytest.approx(trainer.evaluate((X, Y))["loss"], rel=1e-6)
    for data in (loader, inputs):
        np.testing.assert_allclose(trainer.predict(data), trainer.predict(X), rtol=1e-5, atol=1e-6)


def test_what_the_trainer_cannot_use_is_refused():
    with pytest.raises(DataError, match="has no length"):
        trained(Loader(Counting(), 4))
    with pytest.raises(DataError, match=r"expected batches \(inputs, targets\)"):
        trained(Loader(X, 4))
    with pytest.raises(DataError, match="a loader's examples cannot be divided"):
        trained(Loader((X, Y), 4), 0.2)


@pytest.mark.parametrize("workers", [0, 2])
def test_a_run_that_was_stopped_within_an_epoch_goes_on_from_its_loader(workers, tmp_path):
    def run(workers, **fit):
        lc.seed(4)
        model = lc.layers.Sequential(lc.layers.Flatten(), lc.layers.Dense(10))
        trainer = Trainer(model, "cross_entropy", {"@optimizer": "adam", "lr": 0.01}, progress="off", seed=4)
        sampler = Weighted(np.arange(1.0, 201))
        with Loader((X, Y), 32, sampler=sampler, transform=brighter, workers=workers) as loader:
            trainer.fit(loader, epochs=3, **fit)
        return trainer.context.clock.step, np.concatenate([p.data.ravel() for p in model.parameters()])

    steps, expected = run(0)
    stopped, _ = run(0, out=tmp_path / "run", max_time="10step")
    resumed, weights = run(workers, out=tmp_path / "run", resume=True)
    assert (steps, stopped, resumed) == (21, 10, 21)
    np.testing.assert_array_equal(weights, expected)


def test_a_plugin_decides_on_the_order_of_a_loader_as_on_that_of_arrays():
    class Backwards:
        def __init__(self):
            self.seen = []

        def lunar_sampler_order(self, epoch, indices):
            self.seen.append(indices)
            return indices[::-1]

    def run(data, **fit):
        lc.seed(4)
        plugin = Backwards()
        model = lc.layers.Sequential(lc.layers.Flatten(), lc.layers.Dense(10))
        trainer = Trainer(model, "cross_entropy", {"@optimizer": "sgd", "lr": 0.1}, plugins=[plugin], progress="off")
        trainer.fit(data, epochs=2, **fit)
        return plugin.seen, np.concatenate([p.data.ravel() for p in model.parameters()])

    arrays, loader = run((X, Y), batch_size=32), run(Loader((X, Y), 32, shuffle=True))
    np.testing.assert_array_equal(arrays[0], loader[0])
    np.testing.assert_array_equal(arrays[1], loader[1])
