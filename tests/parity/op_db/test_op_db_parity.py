"""PyTorch's own operator table through our operators: every sample, forward and gradient, and the inputs it refuses."""

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("expecttest", reason="PyTorch's operator table needs the package expecttest")

if not torch.__version__.startswith("2.13."):
    pytest.skip(f"the tables follow PyTorch 2.13's samples, this is {torch.__version__}", allow_module_level=True)

from parity.op_db import runner
from parity.op_db.unmapped import DECLINED, REASONS, accepted

pytestmark = pytest.mark.parity


@pytest.mark.parametrize("name", sorted(runner.SPELLINGS))
def test_operator_agrees_with_pytorch_on_all_samples(name):
    for dtype in runner.dtypes(runner.table()[name]):
        outcome = runner.run(name, dtype)
        assert not outcome.failures, "\n".join(outcome.failures[:5])
        if dtype == torch.float64:
            assert outcome.passed and len(outcome.reasons) == DECLINED.get(name, 0), outcome.reasons


@pytest.mark.parametrize("name", sorted(runner.SPELLINGS))
def test_operator_refuses_what_pytorch_refuses_with_an_error_of_ours(name):
    _, wrong = runner.run_errors(name)
    assert not [line for line in wrong if not accepted(name, line[0])]


def test_every_operator_of_pytorch_is_mapped_or_has_a_reason():
    explained = {name for names in REASONS.values() for name in names}
    assert set(runner.table()) - set(runner.SPELLINGS) == explained


def test_at_least_300_operators_are_mapped_and_at_most_2_percent_of_their_float64_samples_are_declined():
    assert len(runner.SPELLINGS) >= 300
    samples = sum(
        runner.count(name, torch.float64)
        for name in runner.SPELLINGS
        if torch.float64 in runner.dtypes(runner.table()[name])
    )
    assert sum(DECLINED.values()) <= 0.02 * samples
