import numpy as np
from template_package.template_entry import TemplateClass

import lunar_core as lc
from lunar_core.testing import ActivationConformance
from lunar_training import Trainer


class TestTemplateClass(ActivationConformance):
    component = TemplateClass


def test_values_are_those_of_the_formula():
    x = np.array([-3.0, 0.0, 2.0])
    np.testing.assert_allclose(TemplateClass(beta=2.0)(lc.Tensor(x)).data, x / (1 + np.exp(-2 * x)), rtol=1e-12)


def test_a_model_with_it_learns_the_digits():
    train, test = lc.datasets.Digits().split(0.25)
    model = lc.models.MLP(activation="template-dist/template_entry")
    trainer = Trainer(model, "cross_entropy", {"@optimizer": "adamw", "lr": 5e-3}, metrics=["accuracy"], seed=0)
    trainer.fit(train, epochs=5)
    assert trainer.evaluate(test)["accuracy"] > 0.8
