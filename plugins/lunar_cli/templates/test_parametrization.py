import numpy as np
from template_package.template_entry import TemplateClass

import lunar_core as lc
from lunar_core.contracts.parametrization import parametrize
from lunar_core.testing import ParametrizationConformance
from lunar_training import Trainer


class TestTemplateClass(ParametrizationConformance):
    component = TemplateClass
    source = "definition"  # or name the paper in the docstring


def test_weights_stay_within_the_limit():
    layer = parametrize(lc.layers.Dense(3, in_features=4), "weight", TemplateClass(limit=0.5))
    layer.weight = np.full((3, 4), 7.0, np.float32)
    assert abs(layer.weight.data).max() <= 0.5


def test_a_model_with_it_learns_the_digits():
    train, test = lc.datasets.Digits().split(0.25)
    model = lc.models.MLP(input_shape=(1, 8, 8))
    for layer in model.modules():
        if isinstance(layer, lc.layers.Dense):
            parametrize(layer, "weight", lc.parametrizations["template-dist/template_entry"]())
    trainer = Trainer(model, "cross_entropy", {"@optimizer": "adamw", "lr": 5e-3}, metrics=["accuracy"], seed=0)
    trainer.fit(train, epochs=5)
    assert trainer.evaluate(test)["accuracy"] > 0.8
