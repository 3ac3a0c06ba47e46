import numpy as np
from template_package.template_entry import TemplateClass

from lunar_core.testing import SchedulerConformance


class TestTemplateClass(SchedulerConformance):
    component = TemplateClass
    source = "definition"  # or name the paper in the docstring


def test_values_are_those_of_the_formula():
    values = TemplateClass(timescale=10.0).simulate(31, base=2.0)
    np.testing.assert_allclose(values[[0, 10, 30]], [2.0, 2 / np.sqrt(2), 1.0], rtol=1e-12)


def test_it_schedules_a_run_by_name(lunar_train):
    assert lunar_train("scheduler=template-dist/template_entry", "epochs=3")["accuracy"] > 0.7
