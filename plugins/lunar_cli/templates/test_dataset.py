import numpy as np
from template_package.template_entry import TemplateClass

from lunar_core.testing import DatasetConformance


class TestTemplateClass(DatasetConformance):
    component = TemplateClass


def test_the_arms_are_opposite_each_other():
    x, y = TemplateClass(noise=0.0).arrays()
    assert set(y.tolist()) == {0, 1}
    radius = np.hypot(x[:, 0], x[:, 1])
    turned = np.cos(2 * np.pi * radius + np.pi * y)
    np.testing.assert_allclose(x[:, 0], radius * turned, atol=1e-5)


def test_a_model_learns_it_by_name(lunar_train):
    figures = lunar_train("dataset=template-dist/template_entry", "model=mlp", "model.num_classes=2", "epochs=30")
    assert figures["accuracy"] > 0.9
