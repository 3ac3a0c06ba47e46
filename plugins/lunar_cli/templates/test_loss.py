import numpy as np
from template_package.template_entry import TemplateClass

from lunar_core.testing import LossConformance

PRED = np.array([[1.0, 2.0, 0.5], [0.1, -1.0, 3.0]])
TARGET = np.array([1, 0])


class TestTemplateClass(LossConformance):
    component = TemplateClass
    inputs = (PRED, TARGET)


def test_the_value_is_that_of_the_formula():
    p = np.exp(PRED) / np.exp(PRED).sum(1, keepdims=True)
    expected = ((1 - p[[0, 1], TARGET] ** 0.4) / 0.4).mean()
    np.testing.assert_allclose(float(TemplateClass(q=0.4)(PRED, TARGET)), expected, rtol=1e-12)


def test_it_trains_the_digits_by_name(lunar_train):
    assert lunar_train("loss=template-dist/template_entry", "epochs=3")["accuracy"] > 0.7
