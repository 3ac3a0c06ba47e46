import numpy as np
from template_package.template_entry import TemplateClass

import lunar_core as lc
from lunar_core.testing import RegularizerConformance


class TestTemplateClass(RegularizerConformance):
    component = TemplateClass


def test_the_value_is_that_of_the_formula():
    layer = lc.layers.Dense(1, in_features=2)
    layer.weight.data = np.array([[3.0, -4.0]])
    np.testing.assert_allclose(float(TemplateClass(rate=0.5, eps=1e-9)(layer)), 3.5, rtol=1e-6)


def test_it_takes_part_in_a_run_by_name(lunar_train):
    assert lunar_train('regularizers=["template-dist/template_entry"]', "epochs=3")["accuracy"] > 0.7
