import numpy as np
from template_package.template_entry import TemplateClass

import lunar_core as lc
from lunar_core.testing import ModelConformance


class TestTemplateClass(ModelConformance):
    component = TemplateClass
    inputs = (np.linspace(-1, 1, 128).reshape(2, 1, 8, 8),)


def test_it_gives_one_logit_for_each_class():
    model = TemplateClass(num_classes=7, input_shape=(1, 8, 8))
    assert model(lc.Tensor(np.zeros((5, 1, 8, 8), np.float32))).shape == (5, 7)


def test_it_learns_the_digits_by_name(lunar_train):
    assert lunar_train("model=template-dist/template_entry", "epochs=3")["accuracy"] > 0.7
