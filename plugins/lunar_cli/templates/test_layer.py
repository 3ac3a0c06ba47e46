import numpy as np
from template_package.template_entry import TemplateClass

import lunar_core as lc
from lunar_core.testing import LayerConformance
from lunar_training import Trainer


class TestTemplateClass(LayerConformance):
    component = TemplateClass
    inputs = (np.linspace(-2, 2, 12).reshape(3, 4),)


def test_values_are_those_of_the_formula():
    x = np.array([[-1.0, 0.0, 2.0]])
    np.testing.assert_allclose(TemplateClass(gain=0.5)(lc.Tensor(x)).data, x / (1 + np.exp(-0.5 * x)), rtol=1e-12)


def test_a_model_with_it_learns_the_digits():
    train, test = lc.datasets.Digits().split(0.25)
    model = lc.layers.Sequential(
        lc.layers.Flatten(), lc.layers.Dense(32), lc.layers["template-dist/template_entry"](), lc.layers.Dense(10)
    )
    trainer = Trainer(model, "cross_entropy", {"@optimizer": "adamw", "lr": 5e-3}, metrics=["accuracy"], seed=0)
    trainer.fit(train, epochs=5)
    assert trainer.evaluate(test)["accuracy"] > 0.8
