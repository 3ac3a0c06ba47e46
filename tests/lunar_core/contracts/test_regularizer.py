"""What a regularizer looks at, and how it is called."""

from __future__ import annotations

from typing import ClassVar

import lunar_core as lc
from lunar_core.contracts.regularizer import Regularizer, Seen


class OfWeights(Regularizer):
    def terms(self, model):
        return lc.tensor(6.0), 2.0


class OfOutputs(Regularizer):
    looks_at: ClassVar[str] = "activations"

    def terms(self, model, seen=None):
        return lc.tensor(0.0) if seen is None else seen.outputs.sum(), 1.0


def test_one_of_weights_is_asked_without_a_pass():
    assert OfWeights.looks_at == "weights"
    assert OfWeights()(None).item() == 3.0
    OfWeights().attach(None)()


def test_one_of_outputs_gets_the_pass():
    assert OfOutputs()(None).item() == 0.0
    assert OfOutputs()(None, Seen(outputs=lc.tensor([1.0, 2.0]))).item() == 3.0
