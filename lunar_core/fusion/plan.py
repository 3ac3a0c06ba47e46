"""A fused function made ready for one kind of call, and the compilers that may take it over."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from typing import Any

from .program import Compiler, Program
from .run import Runner
from .source import compile_source, scalars_source
from .trace import Trace, evaluate

compilers: list[Compiler] = []


class Plan:
    """A fused function made ready for one kind of call: dtypes, static arguments and branches on numbers are settled.

    ``program`` is what a compiler gets; ``runner`` executes it on NumPy arrays. ``touched`` are the names of the array
    parameters that are read or written: an optimizer need not even make the others.
    """

    def __init__(self, traced: Trace, program: Program, positions: dict[str, int], scalars: Sequence[int]) -> None:
        names = list(positions)
        self.program = program
        self.touched = program.touched
        self.trace = traced
        self.runner = Runner(program)
        self.compiled_by: str | None = None
        program.use = self._use
        program.after = self.runner.after
        self._positions = positions
        self._scalars = scalars
        self._wanted = [c.node for c in program.constants]
        self.scalars_source, namespace = scalars_source([names[i] for i in scalars], self._wanted, traced.guards)
        self._compute = compile_source(self.scalars_source, "scalars", namespace)
        #: For each kernel argument the position of its array among the function's arguments.
        self.inputs = [positions[str(s.source)] for s in program.arguments if isinstance(s.source, str)]
        self._take_compiled()

    def constants(self, values: Sequence[Any]) -> Sequence[Any] | None:
        """The kernel's constants for a call, or ``None`` where this plan was made for other branches."""
        try:
            return self._compute(*[values[i] for i in self._scalars])
        except (ArithmeticError, ValueError):  # where Python raises, NumPy has infinity or NaN
            return self._constants_by_numpy(values)

    def _constants_by_numpy(self, values: Sequence[Any]) -> Sequence[Any] | None:
        numbers = {}
        for path in self.trace.numbers:
            value = values[self._positions[path[0]]]
            numbers[path] = value[path[1]] if len(path) > 1 else value
        guards = evaluate([node for node, _ in self.trace.guards], numbers)
        if any(bool(value) != taken for value, (_, taken) in zip(guards, self.trace.guards)):
            return None
        return evaluate(self._wanted, numbers)

    def _take_compiled(self) -> None:
        for name, compiler in _all_compilers():
            try:
                kernel = compiler(self.program)
            except Exception as exc:  # a compiler that fails must not take the program down: the reference is there
                warnings.warn(
                    f"fused function {self.program.name}: compiler {name} failed and is passed over: {exc!r}",
                    RuntimeWarning,
                    stacklevel=2,
                )
                continue
            if kernel is not None:
                self._use(kernel, name)
            if self.runner.compiled is not None:
                return

    def _use(self, kernel: Callable[..., None], name: str = "") -> None:
        self.compiled_by = name or getattr(kernel, "__name__", "compiler")
        self.runner.compiled = kernel


def _all_compilers() -> list[tuple[str, Compiler]]:
    """Those of ``fused.compilers``, then the method ``fused`` of the kernel providers in use."""
    from ..kernels import providers

    own = [(str(getattr(c, "__name__", c)), c) for c in compilers]
    provided = [(p.name, getattr(p, "fused", None)) for p in providers.active()]
    return own + [(name, compiler) for name, compiler in provided if compiler is not None]
