"""How layers made of other layers see to it that these have their parameters."""

from __future__ import annotations

from typing import Any

from lunar_core.modes import no_grad
from lunar_core.module import Module
from lunar_core.op import Spec
from lunar_core.ops.creation import zeros


def run_once(parts: list[Module], function: Any, *inputs: Any) -> None:
    """Call ``function(*inputs)`` so that the ``parts`` that it uses are built, and nothing else happens.

    They are in evaluation mode meanwhile: no statistics move and no masks are drawn. A :class:`Spec` among the inputs
    becomes zeros. Parts that are built already are not run.
    """
    if all(part.built for part in parts):
        return
    before = [(part, part.training, {id(m): m.training for m in part.modules()}) for part in parts]
    for part in parts:
        part.eval()
    try:
        with no_grad():
            function(*(zeros(x.shape, dtype=x.dtype) if isinstance(x, Spec) else x for x in inputs))
    finally:
        for part, own, each in before:
            for module in part.modules():  # those that were made while it ran are in their part's mode
                module.training = each.get(id(module), own)
