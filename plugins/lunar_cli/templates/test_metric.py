import numpy as np
from template_package.template_entry import TemplateClass

from lunar_core.testing import MetricConformance

PRED = np.array([[0.9, 0.1], [0.2, 0.8], [0.6, 0.4], [0.3, 0.7]])
TARGET = np.array([0, 0, 0, 1])


class TestTemplateClass(MetricConformance):
    component = TemplateClass
    source = "definition"  # or name the paper in the docstring
    inputs = (PRED, TARGET)


def test_the_value_is_counted_by_hand():
    metric = TemplateClass()
    metric.update(PRED, TARGET)
    assert metric.compute() == 0.25
    metric.reset()
    metric.update(PRED, TARGET, np.array([1.0, 3.0, 1.0, 1.0]))
    assert metric.compute() == 0.5


def test_it_is_reported_by_name_beside_the_accuracy(lunar_train):
    figures = lunar_train('metrics=["accuracy", "template-dist/template_entry"]', "epochs=2")
    np.testing.assert_allclose(figures["template_entry"], 1 - figures["accuracy"], atol=1e-6)
