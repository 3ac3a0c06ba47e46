"""Write the Python source of a :class:`~lunar_core.fusion.program.Program`.

The reference kernel is a loop over cache-sized chunks in which every step is one NumPy call into memory that exists
already; the numbers' part is computed once per call by a function of its own.
"""

from __future__ import annotations

import itertools
import linecache
import math
import re
import weakref
from collections.abc import Sequence
from typing import Any

import numpy as np

from ..dtypes import is_floating
from .program import Constant, Program, Slot, Value
from .trace import FusedError, Node

_serial = itertools.count(1)


def compile_source(source: str, name: str, namespace: dict[str, Any]) -> Any:
    """Run ``source`` and return what it defines as ``name``; tracebacks and debuggers show the generated lines."""
    filename = f"<fused {next(_serial)}>"
    linecache.cache[filename] = (len(source), None, source.splitlines(True), filename)
    exec(compile(source, filename, "exec"), namespace)
    weakref.finalize(namespace[name], linecache.cache.pop, filename, None)
    return namespace[name]


_POSITIONAL = frozenset(("add", "subtract", "multiply", "divide", "sqrt", "square"))  # where `out` needs no keyword


def kernel_source(program: Program) -> tuple[str, dict[str, Any]]:
    """The reference kernel ``kernel(start, stop, chunk, *arrays, *scratch, *constants)`` and the names that it uses.

    Constants may be Python numbers or 0-d arrays of their dtype, which NumPy takes faster.
    """
    names: dict[str, Any] = {"copyto": np.copyto}
    for constant in program.literals:
        value = constant.node.value
        names[constant.name] = np.array(value, constant.dtype) if is_floating(constant.dtype) else value
    body = []

    def function(func: Any, name: str) -> str:
        name = f"np_{re.sub(r'[^0-9A-Za-z_]', '_', name)}"
        while names.setdefault(name, func) is not func:
            name += "_"
        return name

    for step in program.steps:
        out = _chunk(step.out)
        args = [_chunk(a) for a in step.args]
        if step.op == "copy":
            body += [f"copyto({out}, {args[0]})"] if args[0] != out else []
        elif step.op == "where" and isinstance(step.args[0], Constant):
            body.append(f"copyto({out}, {args[1]} if {args[0]} else {args[2]})")
        elif step.op == "where":
            body += [f"copyto({out}, {args[2]})"] if args[2] != out else []
            body.append(f"copyto({out}, {args[1]}, where={args[0]})")
        else:
            last = out if step.op in _POSITIONAL else f"out={out}"
            body.append(f"{function(step.func, step.op)}({', '.join([*args, last])})")
    body += [f"copyto({_chunk(slot)}, {_chunk(x)}, casting='same_kind')" for slot, x in program.moves]

    arrays = [slot.name for slot in program.arguments]
    scratch = [slot.name for slot in program.scratch]
    constants = [c.name for c in program.constants]
    lines = [f"def kernel({', '.join(['start', 'stop', 'chunk', *arrays, *scratch, *constants])}):"]
    lines += [f"    {s} = {s}[:chunk]" for s in scratch]
    lines += ["    for i in range(start, stop, chunk):", "        j = i + chunk", "        if j > stop:"]
    lines += ["            j = stop", *[f"            {s} = {s}[:j - i]" for s in scratch]]
    lines += [f"        {name}_ = {name}[i:j]" for name in arrays]
    lines += [f"        {line}" for line in body]
    return "\n".join(lines) + "\n", names


def _chunk(x: Value | Constant | Slot) -> str:
    if isinstance(x, Constant):
        return x.name
    slot = x if isinstance(x, Slot) else x.slot
    return f"{slot.name}_" if slot.argument else slot.name


# -- a loop over elements, for compilers -------------------------------------------------------------------------------

_OPERATORS = {
    "add": "{} + {}",
    "subtract": "{} - {}",
    "multiply": "{} * {}",
    "divide": "{} / {}",
    "power": "{} ** {}",
    "negative": "-{}",
    "square": "{0} * {0}",
    "greater": "{} > {}",
    "greater_equal": "{} >= {}",
    "less": "{} < {}",
    "less_equal": "{} <= {}",
    "equal": "{} == {}",
    "not_equal": "{} != {}",
    "bitwise_and": "{} & {}",
    "bitwise_or": "{} | {}",
    "bitwise_xor": "{} ^ {}",
}


def loop_source(program: Program, name: str) -> str:
    """See :meth:`Program.loop_source`."""
    arguments = [slot.name for slot in program.arguments] + [c.name for c in program.constants]
    lines = [f"def {name}({', '.join(['start', 'stop', *arguments])}):"]
    lines += [f"    {c.name} = {_typed(c.dtype, c.name)}" for c in program.constants]
    lines += [f"    {c.name} = {_typed(c.dtype, _literal(c.node.value))}" for c in program.literals]
    body: list[str] = []
    known: dict[Value, str] = {}

    def term(x: Value | Constant) -> str:
        if isinstance(x, Constant):
            return x.name
        if x not in known:  # an input
            known[x] = f"{x.slot.name}_"
            body.append(f"{known[x]} = {x.slot.name}[i]")
        return known[x]

    made = {step.out for step in program.steps}
    for step in program.steps:  # inputs are read before anything is stored
        for arg in step.args:
            if arg not in made:
                term(arg)
    for index, step in enumerate(program.steps):
        args = [term(a) for a in step.args]
        if step.op == "where":
            text = f"{args[1]} if {args[0]} else {args[2]}"
        elif step.op == "copy":
            text = _typed(step.out.dtype, args[0])
        elif step.op in _OPERATORS:
            text = _OPERATORS[step.op].format(*args)
        elif getattr(np, step.op, None) is step.func:
            text = f"np.{step.op}({', '.join(args)})"
        else:
            raise FusedError(f"{program.name}: {step.op} is not a function of NumPy, so it has no loop")
        known[step.out] = f"t{index}"
        body.append(f"t{index} = {text}")
    body += [f"{slot.name}[i] = {term(slot.result)}" for slot in program.result_slots() if slot.result is not None]
    body += [f"{slot.name}[i] = {x.name}" for slot, x in program.moves if isinstance(x, Constant)]
    # parts of the arrays: an index that cannot be negative lets a compiler use vector instructions, eight times as fast
    lines += [f"    {slot.name} = {slot.name}[start:stop]" for slot in program.arguments]
    return "\n".join([*lines, "    for i in range(stop - start):", *[f"        {line}" for line in body]]) + "\n"


def _typed(dtype: np.dtype, text: str) -> str:
    return f"np.{'bool_' if dtype.kind == 'b' else dtype.name}({text})"


def _literal(value: Any) -> str:
    return repr(value) if type(value) is not float or math.isfinite(value) else f"float('{value!r}')"


# -- numbers -----------------------------------------------------------------------------------------------------------

_SCALAR = {
    "add": "{} + {}",
    "subtract": "{} - {}",
    "multiply": "{} * {}",
    "divide": "{} / {}",
    "floor_divide": "{} // {}",
    "remainder": "{} % {}",
    "negative": "-{}",
    "positive": "+{}",
    "absolute": "abs({})",
    "square": "{0} * {0}",
    "sqrt": "math.sqrt({})",
    "exp": "math.exp({})",
    "log": "math.log({})",
    "where": "{1} if {0} else {2}",
    "greater": "{} > {}",
    "greater_equal": "{} >= {}",
    "less": "{} < {}",
    "less_equal": "{} <= {}",
    "equal": "{} == {}",
    "not_equal": "{} != {}",
    "logical_not": "not {}",
}


def scalars_source(
    parameters: Sequence[str], wanted: Sequence[Node], guards: Sequence[tuple[Node, bool]]
) -> tuple[str, dict[str, Any]]:
    """``scalars(*numbers)``: the values of ``wanted`` in plain Python, or ``None`` where a guard does not hold.

    ``parameters`` are the arguments that hold numbers or tuples of numbers. The generated function may raise
    ArithmeticError or ValueError where NumPy gives infinity or NaN.
    """
    names: dict[str, Any] = {"math": math}
    local = {name: f"x{i}" if name == "math" or name.startswith("np_") else name for i, name in enumerate(parameters)}
    taken = set(local.values())
    prefix = "v"
    while any(name.startswith(prefix) and name[len(prefix) :].isdigit() for name in taken):
        prefix += "_"
    lines: list[str] = []
    known: dict[Node, str] = {}

    def visit(node: Node) -> str:
        if node in known:
            return known[node]
        if node.op == "const":
            text = _literal(node.value)
            return f"({text})" if text.startswith("-") else text
        if node.op == "input":
            name, *index = node.value
            return known.setdefault(node, f"{local[name]}[{index[0]}]" if index else local[name])
        args = [visit(a) for a in node.args]
        template = _SCALAR.get(node.op)
        if (
            node.op == "power" and node.args[1].kind == "i"
        ):  # a broken exponent of a negative number is complex in Python
            template = "{} ** {}"
        elif node.op == "invert" and node.args[0].kind == "b":
            template = "not {}"
        if template is None:
            name = f"np_{re.sub(r'[^0-9A-Za-z_]', '_', node.op)}"
            while names.setdefault(name, node.func) is not node.func:
                name += "_"
            # Ints go in as floats, as they would in an array of floats: an int has no negative power.
            args = [a if n.kind != "i" else f"float({a})" for a, n in zip(args, node.args)]
            template = f"{name}({', '.join(['{}'] * len(args))}).item()"
        known[node] = f"{prefix}{len(lines)}"
        lines.append(f"{known[node]} = {template.format(*args)}")
        return known[node]

    for node, taken_branch in guards:
        text = visit(node)
        lines.append(f"if {'not ' if taken_branch else ''}{text}:\n        return None")
    results = [visit(node) for node in wanted]
    returned = f"return ({', '.join(results)}{',' if len(results) == 1 else ''})"
    body = "\n    ".join([*lines, returned])
    return f"def scalars({', '.join(local[p] for p in parameters)}):\n    {body}\n", names
