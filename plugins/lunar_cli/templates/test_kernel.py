import numpy as np
from template_package.template_entry import provider

from lunar_core import Tensor, kernels, ops
from lunar_core.testing import KernelConformance


class TestTemplateClass(KernelConformance):
    component = provider


def test_it_computes_matrix_products():
    assert kernels.chosen("matmul")[0] == "template_entry"
    rng = np.random.default_rng(0)
    a, b = rng.standard_normal((3, 5)), rng.standard_normal((5, 2))
    before = provider.calls
    np.testing.assert_allclose(ops.matmul(Tensor(a), Tensor(b)).data, a @ b, rtol=1e-12)
    assert provider.calls == before + 1


def test_a_run_with_it_learns_the_digits(lunar_train):
    assert lunar_train("epochs=3")["accuracy"] > 0.7
