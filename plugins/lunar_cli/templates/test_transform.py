import numpy as np
from template_package.template_entry import TemplateClass

import lunar_core as lc
from lunar_core.contracts.transform import example_generators
from lunar_core.testing import TransformConformance
from lunar_training import Trainer


class TestTemplateClass(TransformConformance):
    component = TemplateClass
    source = "definition"  # or name the paper in the docstring


def test_the_noise_has_its_standard_deviation():
    noise = TemplateClass(std=0.5)(np.zeros((100, 100)), np.random.default_rng(0))
    np.testing.assert_allclose(noise.std(), 0.5, rtol=0.02)


def test_a_model_learns_from_transformed_digits():
    train, test = lc.datasets.Digits().split(0.25)
    x, y = train.arrays()
    x = lc.transforms["template-dist/template_entry"]().batch(x, example_generators(0, range(len(x))))
    trainer = Trainer(
        lc.models.MLP(), "cross_entropy", {"@optimizer": "adamw", "lr": 5e-3}, metrics=["accuracy"], seed=0
    )
    trainer.fit((x, y), epochs=5)
    assert trainer.evaluate(test)["accuracy"] > 0.8
