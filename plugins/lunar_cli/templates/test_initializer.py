import numpy as np
from template_package.template_entry import TemplateClass

import lunar_core as lc
from lunar_core.testing import InitializerConformance
from lunar_training import Trainer


class TestTemplateClass(InitializerConformance):
    component = TemplateClass


def test_the_spread_is_that_of_the_formula():
    values = TemplateClass(scale=2.0).sample((400, 100), np.random.default_rng(0))
    assert abs(values).max() <= 0.2
    np.testing.assert_allclose(values.std(), 0.2 / np.sqrt(3), rtol=0.02)


def test_a_model_that_starts_so_learns_the_digits():
    train, test = lc.datasets.Digits().split(0.25)
    start = lc.initializers["template-dist/template_entry"]()
    model = lc.layers.Sequential(
        lc.layers.Flatten(), lc.layers.Dense(32, weight_init=start), lc.layers.ReLU(), lc.layers.Dense(10)
    )
    trainer = Trainer(model, "cross_entropy", {"@optimizer": "adamw", "lr": 5e-3}, metrics=["accuracy"], seed=0)
    trainer.fit(train, epochs=5)
    assert trainer.evaluate(test)["accuracy"] > 0.8
