"""What the trainer hands to schedulers that follow a figure and to regularizers that look at more than weights."""

import numpy as np

import lunar_core as lc
from lunar_layers.dense import Dense
from lunar_layers.sequential import Sequential
from lunar_losses.mse import MSE
from lunar_optimizers.sgd import SGD
from lunar_regularizers.activations import Activity
from lunar_regularizers.l2 import L2
from lunar_schedulers.metric_driven import Plateau
from lunar_training import Trainer


def data(n=32):
    rng = np.random.default_rng(0)
    x = rng.normal(size=(n, 4))
    return x, x @ rng.normal(size=(4, 1))


def trainer(**kwargs):
    lc.seed(0)
    model = Sequential(Dense(3), Dense(1))
    kwargs.setdefault("optimizer", SGD(model.parameters(), lr=0.01))
    return Trainer(model, loss=MSE(), progress="off", installed_plugins=False, **kwargs)


def test_a_plateau_scheduler_sees_the_figure_that_it_monitors():
    run = trainer(scheduler=Plateau(monitor="loss", patience=0, factor=0.5, threshold=10.0, threshold_mode="abs"))
    run.fit(data(), epochs=4, batch_size=8)
    # no epoch is better by 10, so every one after the first halves the rate
    assert run.optimizer.lr < 0.01


def test_a_penalty_on_activations_changes_the_weights_and_lets_go_of_the_model():
    plain, penalised = trainer(), trainer(regularizers=[Activity(l2=0.5)])
    for run in (plain, penalised):
        run.fit(data(), epochs=2, batch_size=8)
    a, b = (run.model.state_dict() for run in (plain, penalised))
    assert any(not np.array_equal(a[name], b[name]) for name in a)
    assert penalised.history["penalty"][-1] > 0
    assert not any(module._pre_hooks or module._post_hooks for module in penalised.model.modules())


def test_penalties_on_weights_and_on_activations_add_up():
    both = trainer(regularizers=[Activity(l2=0.5), L2(strength=0.1)])
    one = trainer(regularizers=[Activity(l2=0.5)])
    for run in (both, one):
        run.fit(data(), epochs=1, batch_size=32)
    assert both.history["penalty"][0] > one.history["penalty"][0] > 0
