import numpy as np
from template_package.template_entry import TemplateClass

from lunar_core import Parameter, Tensor
from lunar_core.testing import OptimizerConformance


class TestTemplateClass(OptimizerConformance):
    component = TemplateClass


def test_the_first_step_is_worked_out_by_hand():
    p = Parameter(np.array([1.0, -2.0, 3.0]))
    p.grad = Tensor(np.array([0.5, -4.0, 0.0]))
    TemplateClass([p], lr=0.1, weight_decay=0.5).step()
    np.testing.assert_allclose(p.data, [1.0 - 0.1 - 0.05, -2.0 + 0.1 + 0.1, 3.0 - 0.15], rtol=1e-12)


def test_it_trains_the_digits_by_name(lunar_train):
    figures = lunar_train("optimizer=template-dist/template_entry", "epochs=3")
    assert figures["accuracy"] > 0.7
