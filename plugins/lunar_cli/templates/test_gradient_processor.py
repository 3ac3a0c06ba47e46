import numpy as np
from template_package.template_entry import TemplateClass

import lunar_core as lc
from lunar_core.testing import GradientProcessorConformance
from lunar_training import Trainer


class TestTemplateClass(GradientProcessorConformance):
    component = TemplateClass
    source = "definition"  # or name the paper in the docstring


def test_values_are_those_of_the_formula():
    g = np.array([-8.0, 0.0, 0.5])
    TemplateClass(limit=2.0).process({"w": g})
    np.testing.assert_allclose(g, 2 * np.tanh([-4.0, 0.0, 0.25]), rtol=1e-12)


def test_a_model_trained_with_it_learns_the_digits():
    train, test = lc.datasets.Digits().split(0.25)
    processor = lc.gradient_processors["template-dist/template_entry"]()
    trainer = Trainer(
        lc.models.MLP(), "cross_entropy", {"@optimizer": "adamw", "lr": 5e-3},
        metrics=["accuracy"], plugins=[processor], seed=0,
    )  # fmt: skip
    trainer.fit(train, epochs=5)
    assert trainer.evaluate(test)["accuracy"] > 0.8
