"""The Trainer with the real parts on the real digits, and components by name and configuration."""

from __future__ import annotations

import numpy as np
import pytest
from training_parts import Line, MeanError, SquaredError, regression

import lunar_core as lc
from lunar_activations.relu import ReLU
from lunar_core.errors import ConfigError, HyperparameterError, UnknownNameError
from lunar_core.plugins import registry
from lunar_data.digits import Digits
from lunar_layers.dense import Dense
from lunar_layers.dropout import Dropout
from lunar_layers.flatten import Flatten
from lunar_layers.sequential import Sequential
from lunar_losses.cross_entropy import CrossEntropy
from lunar_metrics.accuracy import Accuracy
from lunar_optimizers.adam import Adam
from lunar_optimizers.sgd import SGD
from lunar_regularizers.l2 import L2
from lunar_schedulers.cosine import Cosine
from lunar_training import Trainer
from lunar_training.callbacks.early_stopping import EarlyStopping
from lunar_training.callbacks.lr_monitor import LRMonitor


@pytest.fixture(scope="module")
def digits():
    return Digits().split(0.25)


def network():
    return Sequential(Flatten(), Dense(48), ReLU(), Dropout(0.1), Dense(10))


def run(digits, seed=0, epochs=6, **options):
    train, test = digits
    model = network()
    optimizer = Adam(model.parameters(), lr=5e-3)  # before the model knows its sizes
    options = {"scheduler": Cosine(warmup=10), "metrics": [Accuracy()], "progress": "off", "seed": seed, **options}
    trainer = Trainer(model, CrossEntropy(), optimizer, **options)
    trainer.fit(train, val=test, epochs=epochs)
    return trainer


def test_a_network_learns_the_digits(digits):
    trainer = run(digits, epochs=12, plugins=[LRMonitor()])
    assert trainer.history[-1]["val_accuracy"] > 0.95
    assert trainer.evaluate(digits[1])["accuracy"] == trainer.history[-1]["val_accuracy"]
    found = trainer.predict(digits[1])
    assert (found.argmax(1) == digits[1].arrays()[1]).mean() == trainer.history[-1]["val_accuracy"]
    assert trainer.history["lr"][-1] == pytest.approx(0, abs=1e-9)
    assert trainer.history["lr"][0] < 5e-3


def test_the_same_seed_gives_the_same_weights_and_another_seed_others(digits):
    def weights(trainer):
        return b"".join(p.data.tobytes() for p in trainer.model.parameters())

    first = weights(run(digits, epochs=2))
    np.random.default_rng(0).random(5)
    lc.random.stream("default").next()
    assert weights(run(digits, epochs=2)) == first
    assert weights(run(digits, epochs=2, seed=1)) != first


def test_best_weights_survive_the_flat_memory_of_the_optimizer(digits):
    stop = EarlyStopping(monitor="val_accuracy", patience=1, restore_best=True)
    trainer = run(digits, epochs=30, plugins=[stop])
    best = trainer.history.best("val_accuracy")["val_accuracy"]
    assert trainer.evaluate(digits[1])["accuracy"] == best
    before = [p.data.copy() for p in trainer.model.parameters()]
    trainer.fit(digits[0], val=digits[1])
    assert all(not np.array_equal(a, p.data) for a, p in zip(before, trainer.model.parameters()))


def test_weight_decay_and_an_l2_penalty_are_the_same_for_plain_descent():
    def weights(decay, regularizers):
        model = Line()
        optimizer = SGD([model.w], lr=0.05, weight_decay=decay)
        trainer = Trainer(model, SquaredError(), optimizer, regularizers=regularizers, progress="off", seed=0)
        trainer.fit(regression(), epochs=3)
        return model.w.data

    np.testing.assert_allclose(weights(0.1, []), weights(0.0, [L2(strength=0.1)]), rtol=1e-12)


# --- by name and configuration ---------------------------------------------------------------------------------------


@pytest.fixture
def named():
    parts = {"loss": SquaredError, "metric": MeanError, "optimizer": SGD, "callback": LRMonitor, "scheduler": Cosine}
    for kind, cls in parts.items():
        registry.register(kind, f"test_{kind}", cls)
    yield
    registry._records = [
        record for record in registry._records if record.name not in {f"test_{kind}" for kind in parts}
    ]
    registry._arrange()


def test_components_are_given_by_name_or_configuration(named):
    trainer = Trainer(
        Line(),
        loss="test_loss",
        optimizer={"@optimizer": "test_optimizer", "lr": 0.05},
        metrics=["test_metric", {"@metric": "test_metric"}],
        scheduler={"name": "test_scheduler", "warmup": 1},
        plugins=["test_callback"],
        progress="off",
    )
    history = trainer.fit(regression(), epochs=2)
    assert list(history[0])[2:6] == ["loss", "test_metric", "mean_error", "lr"]
    assert isinstance(trainer.loss, SquaredError) and trainer.optimizer.lr == pytest.approx(0, abs=1e-12)


def test_a_name_that_does_not_exist_or_a_wrong_hyperparameter_is_named(named):
    with pytest.raises(UnknownNameError, match="test_los'"):
        Trainer(Line(), loss="test_los")
    with pytest.raises(UnknownNameError, match="no callback 'erly_stopping'"):
        Trainer(Line(), plugins=["erly_stopping"])
    with pytest.raises((ConfigError, HyperparameterError), match="lr"):
        Trainer(Line(), optimizer={"@optimizer": "test_optimizer", "lr": float("nan")})
    with pytest.raises(HyperparameterError, match="does not say which optimizer"):
        Trainer(Line(), optimizer={"lr": 0.1})
    with pytest.raises(HyperparameterError, match="expected a metric"):
        Trainer(Line(), metrics=[3])
    with pytest.raises(HyperparameterError, match="expected a loss"):
        Trainer(Line(), loss=3)
