import numpy as np
from template_package.template_entry import TemplateClass

import lunar_core as lc
from lunar_core.testing import CallbackConformance
from lunar_training import Trainer


class TestTemplateClass(CallbackConformance):
    component = TemplateClass
    source = "definition"  # or name the paper in the docstring


def trained(*plugins):
    x = np.random.default_rng(0).standard_normal((16, 3)).astype(np.float32)
    lc.seed(0)
    model = lc.layers.Dense(2, in_features=3)
    Trainer(model, "mse", {"@optimizer": "sgd", "lr": 0.1}, plugins=list(plugins), seed=0, progress="off").fit(
        (x, x[:, :2]), epochs=1
    )
    return model.weight.data


def test_it_moves_the_weights_and_does_nothing_at_zero():
    assert not np.array_equal(trained(TemplateClass(std=1.0)), trained())
    np.testing.assert_array_equal(trained(TemplateClass(std=0.0)), trained())


def test_it_takes_part_in_a_run_by_name(lunar_train):
    assert lunar_train('callbacks=["template-dist/template_entry"]', "epochs=3")["accuracy"] > 0.7
