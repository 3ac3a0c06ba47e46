"""The node test cases of ONNX: for each operator with a counterpart here, every case gives the result that it comes with."""

import pytest

onnx = pytest.importorskip("onnx", reason="the node test cases come with the package onnx")
if not onnx.__version__.startswith("1.23."):
    pytest.skip(f"the functions follow the cases of ONNX 1.23, this is {onnx.__version__}", allow_module_level=True)

from parity.onnx_cases import runner
from parity.onnx_cases.unmapped import REASONS

pytestmark = pytest.mark.parity


@pytest.mark.parametrize("name", sorted(runner.OPERATORS))
def test_operator_gives_the_results_of_all_its_onnx_cases(name):
    outcomes = {case.name: runner.outcome(case) for case in runner.cases()[name]}
    wrong = {case: text for case, text in outcomes.items() if text.startswith("wrong")}
    assert not wrong
    assert "" in outcomes.values(), f"no case of {name} was compared: {outcomes}"


def test_at_least_120_onnx_operators_have_a_counterpart_and_every_other_one_a_reason():
    present = set(runner.cases())
    assert len(present & set(runner.OPERATORS)) >= 120
    assert present - set(runner.OPERATORS) == {name for names in REASONS.values() for name in names}


def test_at_most_2_percent_of_the_onnx_cases_carry_a_reason():
    outcomes = [runner.outcome(case) for name in runner.OPERATORS for case in runner.cases()[name]]
    here = [text for text in outcomes if not text.startswith("not here")]
    assert sum(text.startswith("differs") for text in here) <= 0.02 * len(here)
