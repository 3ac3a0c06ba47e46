"""Anomaly mode names op, line and module of the first non-finite value or gradient."""

import numpy as np
import pytest

import lunar_core as lc
from lunar_core.errors import GradientError


class Bad(lc.Module):
    def forward(self, x):
        return (x - 1.0).log()


class Outer(lc.Module):
    def __init__(self):
        self.stages = [Bad()]

    def forward(self, x):
        return self.stages[0](x).sum()


def test_the_first_bad_result_is_named_with_op_line_and_module():
    with np.errstate(all="ignore"), lc.anomaly_mode(), pytest.raises(GradientError) as info:
        Outer()(lc.tensor([0.5, 3.0], requires_grad=True))
    text = str(info.value)
    assert "log gave 1 NaN and 0 infinite of 2 values" in text
    assert "test_anomaly.py:" in text and 'module "stages.0" (Bad)' in text


def test_a_bad_gradient_of_a_good_value_is_named():
    x = lc.tensor([0.0, 4.0], requires_grad=True)
    with np.errstate(all="ignore"), lc.anomaly_mode():
        y = x.sqrt().sum()
        with pytest.raises(GradientError, match="gradient of sqrt for its input 0 has 0 NaN and 1 infinite of 2"):
            y.backward()


def test_the_mode_ends_with_its_block_also_after_an_error():
    with np.errstate(all="ignore"):
        with pytest.raises(GradientError), lc.anomaly_mode():
            lc.tensor([-1.0]).log()
        assert np.isnan(lc.tensor([-1.0]).log().item())


def test_a_sound_run_gives_the_same_gradients():
    x = lc.tensor([0.5, 2.0], requires_grad=True)
    (a,) = lc.grad((x.sin() * x).sum(), x)
    with lc.anomaly_mode():
        (b,) = lc.grad((x.sin() * x).sum(), x)
    np.testing.assert_array_equal(a.numpy(), b.numpy())
