"""Commands, kernel providers and hook plugins: what is an object rather than a class."""

from __future__ import annotations

from functools import partial
from typing import Any, ClassVar

import numpy as np

from ...hookdispatch import collect
from ...op import OPS
from ...plugins import registry
from .component import Conformance


class CommandConformance(Conformance):
    """Commands of ``lunar``: ``component`` is the click command."""

    kind: ClassVar[str] = "command"

    def record(self) -> Any:
        function = type(self).component.callback
        for record in registry.components("command"):
            if (record.module, record.class_name) == (function.__module__, function.__name__):
                return record
        return None

    def test_it_says_what_it_is(self) -> None:
        assert type(self).component.help and len(type(self).component.help) > 10, "write a docstring; it is the help"

    def test_its_help_is_shown(self, lunar_run: Any) -> None:
        done = lunar_run(self.record().address, "--help")
        assert done.returncode == 0, done.stderr
        assert "Usage: lunar" in done.stdout


class KernelConformance(Conformance):
    """Kernel providers: ``component`` is the provider, or a class without arguments.

    Each kernel that it offers is compared with the reference over the op's sample table, at ``rtol``.
    """

    kind: ClassVar[str] = "kernel"
    rtol: ClassVar[float] = 1e-6

    def provider(self) -> Any:
        target = type(self).component
        return target() if isinstance(target, type) else target

    def test_it_has_a_name_and_a_priority(self) -> None:
        provider = self.provider()
        assert isinstance(provider.name, str) and provider.name
        assert isinstance(provider.priority, int)
        assert isinstance(getattr(provider, "reason", ""), str)

    def test_it_says_what_it_is(self) -> None:
        assert type(self.provider()).__doc__

    def test_it_has_nothing_for_an_op_or_an_array_that_it_does_not_know(self) -> None:
        assert self.provider().kernel("no such op", np.ndarray) is None
        assert self.provider().kernel("matmul", type("Strange", (), {})) is None

    def test_its_kernels_compute_what_the_reference_computes(self) -> None:
        provider = self.provider()
        for name, op in sorted(OPS.items()):
            kernel = provider.kernel(name, np.ndarray) if op.heavy else None
            if kernel is None:
                continue
            for number, sample in enumerate(op.samples()):
                arrays = [a.astype(np.float32) if getattr(a, "dtype", None) == np.float64 else a for a in sample.args]
                try:
                    found = kernel(*arrays, **sample.static)
                except TypeError as error:
                    raise AssertionError(f"the kernel for {name} does not take what the op passes: {error}") from error
                if found is NotImplemented:
                    continue
                forward = getattr(np, op.forward) if isinstance(op.forward, str) else partial(op.forward, np)
                expected = forward(*arrays, **sample.static)
                for a, b in zip(_list(found), _list(expected)):
                    np.testing.assert_allclose(a, b, rtol=self.rtol, atol=self.rtol, err_msg=f"{name}, sample {number}")


def _list(values: Any) -> list[Any]:
    return list(values) if isinstance(values, (tuple, list)) else [values]


class InstrumentationConformance(Conformance):
    """Hook plugins of group ``lunar.plugins``: ``component`` is the object, the module, or a class without arguments."""

    kind: ClassVar[str] = "plugin"

    def record(self) -> Any:
        target = type(self).component
        module = getattr(target, "__module__", None) or getattr(target, "__name__", "")
        return next((c for c in registry.components("plugin") if c.module == module), None)

    def test_its_hooks_exist_and_offer_what_it_asks_for(self) -> None:
        target = type(self).component
        assert collect(target() if isinstance(target, type) else target, "plugin", 0), "it implements no hook"

    def test_a_small_run_with_it_comes_to_its_end(self, lunar_run: Any) -> None:
        done = lunar_run("doctor", self.record().dist)
        assert "in a small run" not in done.stdout, done.stdout
