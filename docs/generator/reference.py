"""The reference of the functions of ``lunar_core.ops``: docs/reference/ops/, a page for each family.

A family is a source file. Each function has its signature, its docstring, an example that was run, and, where an op of that
name stands behind it, what the op knows of itself. Examples come from the op's sample table, or from :mod:`.ops_examples` where
the table does not fit the function's own arguments. ``python -m docs.generator.reference`` writes the pages, ``--check``
compares.
"""

from __future__ import annotations

import ast
import inspect
import sys
from collections.abc import Callable, Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np

import lunar_core as lc
from lunar_core import ops
from lunar_core.op import OPS, Op

from .docstrings import cell, inline, markdown, summary
from .ops_examples import EXAMPLES, SETUP

ROOT = Path(__file__).parents[2]
FOLDER = "docs/reference/ops"
COMMAND = "python -m docs.generator.reference"
NOTE = f"<!-- Written by `{COMMAND}` from the sources; change those. -->"
BESIDE = ("creation",)  #: modules whose functions stand in `lunar_core` itself
_LONGEST = 300  # characters of an example's result


def generate() -> dict[str, str]:
    """The text of every page by its path from the root of the repository."""
    families = _families()
    rows = []
    files = {}
    for module, names in sorted(families.items()):
        title = inspect.cleandoc(import_module(f"lunar_core.ops.{module}").__doc__ or module).split("\n")[0]
        files[f"{FOLDER}/{module}.md"] = _page(module, names)
        links = ", ".join(f"[`{n}`]({module}.md#{n.lower()})" for n in names)
        rows.append(f"| [{module.replace('_', ' ')}]({module}.md) | {cell(title)} | {links} |")
    count = sum(len(names) for names in families.values())
    text = [
        NOTE,
        "# Functions of arrays: `lunar_core.ops`",
        f"{count} functions in {len(files)} families. Each takes Tensors, raw arrays and numbers; with a Tensor among the inputs "
        "the result is a Tensor, through which gradients of any order flow, else a raw array. Those that make new tensors "
        "stand in `lunar_core` itself: `lc.zeros`.",
        f"The examples were run, each after these lines:\n\n```python\n{SETUP}```",
        "\n".join(["| family | | functions |", "|---|---|---|", *rows]),
    ]
    files[f"{FOLDER}/README.md"] = "\n\n".join(text) + "\n"
    return files


def public() -> dict[str, Any]:
    """The functions by name, aliases included."""
    found = {n: f for n, f in vars(ops).items() if not n.startswith("_") and callable(f) and not inspect.ismodule(f)}
    for module in BESIDE:
        here = vars(import_module(f"lunar_core.ops.{module}"))
        found |= {n: f for n, f in here.items() if inspect.isfunction(f) and hasattr(lc, n) and not n.startswith("_")}
    return found


def _families() -> dict[str, dict[str, Any]]:
    """The functions by the name of their module, each with its names: the first is the one that it has there."""
    names: dict[int, list[str]] = {}
    functions = public()
    for name, function in sorted(functions.items()):
        names.setdefault(id(function), []).append(name)
    homes = _homes()
    families: dict[str, dict[str, Any]] = {}
    for function in {id(f): f for f in functions.values()}.values():
        called = names[id(function)]
        own = function.name if isinstance(function, Op) else function.__name__
        first = own if own in called else own.rstrip("_") if own.rstrip("_") in called else called[0]
        families.setdefault(homes[id(function)], {})[first] = (function, [n for n in called if n != first])
    return {module: dict(sorted(found.items())) for module, found in families.items()}


def _homes() -> dict[int, str]:
    """The module of each function: where a plain function was written, where an op is a global first."""
    homes: dict[int, str] = {}
    for module_name, module in sorted(sys.modules.items()):
        if not module_name.startswith("lunar_core.ops.") or module_name.count(".") != 2:
            continue
        source = inspect.getsource(module)
        here = module_name.rpartition(".")[2]
        made = {t.id for node in ast.parse(source).body for t in _targets(node) if isinstance(t, ast.Name)}
        for name, value in vars(module).items():
            if (isinstance(value, Op) and name in made) or getattr(value, "__module__", None) == module_name:
                homes.setdefault(id(value), here)
    return homes


def _targets(node: ast.stmt) -> Iterator[ast.expr]:
    if isinstance(node, ast.Assign):
        for target in node.targets:
            yield from target.elts if isinstance(target, ast.Tuple) else [target]
    elif isinstance(node, ast.AnnAssign):
        yield node.target


def _page(module: str, names: dict[str, Any]) -> str:
    doc = import_module(f"lunar_core.ops.{module}").__doc__ or ""
    parts = [NOTE, f"# {module.replace('_', ' ').capitalize()}", markdown(doc)]
    index = ["| function | |", "|---|---|"]
    for name, (function, _) in names.items():
        index.append(f"| [`{name}`](#{name.lower()}) | {cell(summary(function.__doc__))} |")
    parts.append("\n".join(index))
    for name, (function, aliases) in names.items():
        parts += [f"## {name}", f"```python\n{_signature(module, name, function)}\n```", markdown(function.__doc__)]
        if aliases:
            parts.append("Also called " + ", ".join(f"`{a}`" for a in aliases) + ".")
        shown = example(name, function)
        if shown is not None:
            parts.append(f"```pycon\n{shown}\n```")
        op = function if isinstance(function, Op) else OPS.get(name)
        if op is not None:
            parts.append(_facts(op))
    return "\n\n".join(parts) + "\n"


def _signature(module: str, name: str, function: Any) -> str:
    space = "lc" if module in BESIDE else "ops"
    if isinstance(function, Op):
        sample = function.samples()[0]
        inputs = ["x", "y", "z", "u", "v", "w"][: len(sample.args)]
        static = [f"{key}" for key in sample.static]
        return f"{space}.{name}({', '.join([*inputs, *(['*', *static] if static else [])])})"
    shown = inspect.signature(function)
    plain = [p.replace(annotation=p.empty) for p in shown.parameters.values() if p.name != "unknown"]
    return f"{space}.{name}{shown.replace(parameters=plain, return_annotation=shown.empty)}"


def _facts(op: Op) -> str:
    """What the op knows of itself, in a sentence."""
    gradient = "no gradient" if op.vjp is None else "gradients of any order"
    forward = {None: "forward mode by transposing the gradient rule", "linear": "forward mode by the op itself"}.get(
        op.jvp if not callable(op.jvp) else "rule", "forward mode by a rule of its own"
    )
    batch = "`vmap` by a rule" if op.batch else "`vmap` by the general rule"
    policy = {"low": "low precision", "float32": "float32", "promote": "the widest dtype", None: "as the inputs come"}[
        op.cast
    ]
    rules = [gradient] if op.vjp is None else [gradient, forward]
    return inline(
        f"Op ``{op.name}``: {', '.join([*rules, batch])}; under ``autocast``: {policy}; {len(op.samples())} samples."
    )


# -- examples ----------------------------------------------------------------------------------------------------------


def example(name: str, function: Any) -> str | None:
    """A call and what it gives, as an interpreter shows it; ``None`` for what only gradient rules call."""
    with np.printoptions(precision=4, suppress=True), np.errstate(all="ignore"):
        source = EXAMPLES.get(name)
        if source is not None:
            space: dict[str, Any] = {"lc": lc, "ops": ops, "np": np}
            lc.seed(0)
            exec(SETUP, space)
            return f">>> {source}\n{eval(source, space)!r}"
        op = function if isinstance(function, Op) else OPS.get(name)
        return None if op is None else _from_samples(name, function, op)


def _from_samples(name: str, function: Callable[..., Any], op: Op) -> str | None:
    """The first short one of the sample table that the function takes as it stands."""
    for sample in op.samples():
        args = [_rounded(a) for a in sample.args]
        if any(isinstance(a, np.ndarray) and not 0 < a.size <= 6 for a in args):
            continue
        try:
            if not isinstance(function, Op):
                inspect.signature(function).bind(*args, **sample.static)
            result = function(*[lc.tensor(a) if isinstance(a, np.ndarray) else a for a in args], **sample.static)
        except (TypeError, lc.LunarError):
            continue
        shown = repr(result)
        if len(shown) > _LONGEST:
            continue
        given = [_literal(a) for a in args] + [f"{k}={v!r}" for k, v in sample.static.items()]
        return f">>> ops.{name}({', '.join(given)})\n{shown}"
    return None


def _rounded(value: Any) -> Any:
    if not isinstance(value, np.ndarray):
        return value
    if value.dtype.kind in "fc":
        value = np.ascontiguousarray(value).round(1).reshape(value.shape)
        return value.astype(np.complex64 if value.dtype.kind == "c" else np.float32)
    return value


def _literal(value: Any) -> str:
    if not isinstance(value, np.ndarray):
        return repr(value)
    wide = value.astype(np.complex128 if value.dtype.kind == "c" else np.float64) if value.dtype.kind in "fc" else value
    return f"lc.tensor({(wide.round(1) if value.dtype.kind in 'fc' else wide).tolist()})"


# -- on disk -----------------------------------------------------------------------------------------------------------


def stale(files: dict[str, str], root: Path = ROOT) -> list[str]:
    """Paths of what is missing, different, or there without being one of ``files``."""
    there = {p.relative_to(root).as_posix(): p for p in (root / FOLDER).glob("*.md")}
    different = [n for n, text in files.items() if n not in there or there[n].read_text(encoding="utf-8") != text]
    return sorted({*different, *(there.keys() - files.keys())})


def main(arguments: list[str]) -> int:
    """Write the pages, or with ``--check`` say which would be written."""
    files = generate()
    changed = stale(files)
    for name in changed:
        print(f"{'would write' if '--check' in arguments else 'wrote'} {name}")
        if "--check" in arguments:
            continue
        path = ROOT / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if name in files:
            path.write_text(files[name], encoding="utf-8", newline="\n")
        else:
            path.unlink()
    return int(bool(changed) and "--check" in arguments)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
