"""Pictures of the graph: ``lc.draw_graph(loss)`` as SVG or as DOT text, without another program."""

from __future__ import annotations

import html
import os
from collections.abc import Iterable, Mapping
from typing import Any

from . import module as modules
from . import op as ops
from .autograd import Leaf, Pick
from .errors import GradientError, HyperparameterError
from .module import Module
from .tensor import Tensor

_FILL = {"op": "#eef2f7", "leaf": "#e3f1e3", "output": "#f7ecd9"}
_LINE, _CHAR, _GAP, _RANK, _PAD = 15, 6.7, 22, 46, 8  # heights and widths in pixels


class _Vertex:
    """A box of the picture, or a bend of a long edge (no lines)."""

    def __init__(self, key: Any, lines: list[str], kind: str) -> None:
        self.key, self.lines, self.kind = key, lines, kind
        self.parents: list[tuple[_Vertex, str]] = []
        self.children: list[_Vertex] = []
        self.path = ""
        self.rank = 0
        self.width = max([_CHAR * len(line) for line in lines], default=0) + 2 * _PAD if lines else 12.0
        self.height = len(lines) * _LINE + _PAD
        self.x = self.y = 0.0


def draw_graph(
    target: Tensor | Module | Iterable[Tensor],
    *inputs: Any,
    names: Mapping[str, Tensor] | Module | None = None,
    format: str | None = None,
    path: str | os.PathLike[str] | None = None,
) -> str:
    """The graph that made ``target`` as text: ``format="svg"`` (the default) or ``"dot"``, for Graphviz.

    ``target`` is a tensor that requires a gradient, or several. ``names`` gives its leaves names: a module whose parameters
    they are, or name -> tensor. ``target`` may also be a module, which is called with ``inputs`` once, in the mode it is in;
    then the boxes also say in which submodule their op was applied. Boxes show the op and the shape of its result, with the
    dtype where it is not float32. With ``path`` the text is written there too; its ending says the format.

    Raises :class:`GradientError` for a tensor without a graph.
    """
    format = format or (os.fspath(path).rpartition(".")[2] if path is not None else "svg")
    if format not in ("svg", "dot"):
        raise HyperparameterError(f"draw_graph: format must be 'svg' or 'dot', got {format!r}")
    places: dict[Any, str] = {}
    known: dict[Any, str] = {}
    if isinstance(target, Module):
        names = target if names is None else names
        target, places, inputs = _run(target, inputs)
        known = {x.node: f"input {i}" for i, x in enumerate(inputs) if isinstance(x, Tensor) and x.node is not None}
    outputs = [target] if isinstance(target, Tensor) else list(target)
    for name, tensor in names.named_parameters() if isinstance(names, Module) else (names or {}).items():
        known.setdefault(tensor.node, name)
    if not outputs or any(not isinstance(t, Tensor) or t.node is None for t in outputs):
        raise GradientError("draw_graph: a tensor that requires no gradient has no graph")
    vertices = _vertices(outputs, known, places)
    text = _dot(vertices) if format == "dot" else _svg(vertices)
    if path is not None:
        with open(path, "w", encoding="utf-8") as file:
            file.write(text)
    return text


def _run(model: Module, inputs: tuple[Any, ...]) -> tuple[list[Tensor], dict[Any, str], tuple[Any, ...]]:
    """Call a module and note where in it each node was made; its inputs, as leaves where that can be, come back too."""
    paths = {id(m): name for name, m in model.named_modules()}
    stack: list[str] = []
    places: dict[Any, str] = {}
    before = ops.slot.tracer, modules.slot.hook

    def within(current: Any, args: Any, kwargs: Any, call: Any) -> Any:
        stack.append(paths.get(id(current), type(current).__name__))
        try:
            return call(*args, **kwargs)
        finally:
            stack.pop()

    def traced(op: Any, xs: tuple[Any, ...], static: dict[str, Any]) -> Any:
        out = op.apply(xs, static)
        for result in out if isinstance(out, (tuple, list)) else (out,):
            node = (
                result.node.parents[0]
                if isinstance(getattr(result, "node", None), Pick)
                else getattr(result, "node", 0)
            )
            places[node] = stack[-1] if stack else ""
        return out

    given = [Tensor(x.data, x.data.dtype.kind in "fcV") if isinstance(x, Tensor) else x for x in inputs]
    ops.slot.tracer, modules.slot.hook = traced, within
    try:
        out = model(*given)
    finally:
        ops.slot.tracer, modules.slot.hook = before
    found = [out] if isinstance(out, Tensor) else [t for t in out if isinstance(t, Tensor) and t.node is not None]
    return found, places, tuple(given)


def _vertices(outputs: list[Tensor], known: dict[Any, str], places: dict[Any, str]) -> list[_Vertex]:
    """Boxes with their edges, parents before children."""
    nodes: set[Any] = set()
    stack = [t.node for t in outputs]
    while stack:
        node: Any = stack.pop()
        if node is not None and node not in nodes:
            nodes.add(node)
            stack.extend(node.parents)
    made: dict[Any, _Vertex] = {}
    for node in sorted((n for n in nodes if not isinstance(n, Pick)), key=lambda n: n.age):
        if isinstance(node, Leaf):
            made[node] = _Vertex(node, [known.get(node, "leaf"), _described(node.shape, node.dtype)], "leaf")
            continue
        several = bool(node.shape) and isinstance(node.shape[0], tuple)
        shape = " ".join(map(str, node.shape)) if several else _described(node.shape, node.dtype)
        vertex = made[node] = _Vertex(
            node, [line for line in (node.op.name, shape, places.get(node, "")) if line], "op"
        )
        vertex.path = places.get(node, "")
        for parent in node.parents:
            if parent is not None:
                _connect(made, parent, vertex)
    for i, tensor in enumerate(outputs):
        vertex = _Vertex(tensor, [f"output {i}" if len(outputs) > 1 else "output"], "output")
        made[i] = vertex
        _connect(made, tensor.node, vertex)
    return list(made.values())


def _connect(made: dict[Any, _Vertex], parent: Any, child: _Vertex) -> None:
    label = ""
    if isinstance(parent, Pick):
        parent, label = parent.parents[0], str(parent.index)
    child.parents.append((made[parent], label))
    made[parent].children.append(child)


def _described(shape: Any, dtype: Any) -> str:
    return f"{tuple(shape or ())}" + ("" if dtype is None or dtype.name == "float32" else f" {dtype}")


# -- DOT ---------------------------------------------------------------------------------------------------------------


def _dot(vertices: list[_Vertex]) -> str:
    number = {id(v): i for i, v in enumerate(vertices)}

    def quoted(text: str) -> str:
        return '"' + text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n") + '"'

    lines = ["digraph {", '  node [shape=box, style="rounded,filled", fontname="sans-serif", fontsize=11];']
    for v in vertices:
        text = v.lines[: 2 if v.path else None]  # the cluster says the path
        box = f'n{number[id(v)]} [label={quoted(chr(10).join(text))}, fillcolor="{_FILL[v.kind]}"];'
        cluster = f"subgraph {quoted('cluster ' + v.path)} {{ label={quoted(v.path)}; " if v.path else ""
        lines.append(f"  {cluster}{box}{' }' if cluster else ''}")
    for v in vertices:
        for parent, label in v.parents:
            lines.append(
                f"  n{number[id(parent)]} -> n{number[id(v)]}" + (f" [label={quoted(label)}];" if label else ";")
            )
    return "\n".join([*lines, "}"]) + "\n"


# -- SVG: a layered layout (Sugiyama, Tagawa and Toda 1981) ------------------------------------------------------------


def _svg(vertices: list[_Vertex]) -> str:
    rows, chains = _layers(vertices)
    _order(rows)
    _place(rows)
    left = min(v.x - v.width / 2 for row in rows for v in row) - _GAP
    right = max(v.x + v.width / 2 for row in rows for v in row) + _GAP
    bottom = max(v.y + v.height for row in rows for v in row) + _GAP
    out = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="{left:.0f} {-_GAP} {right - left:.0f} {bottom + _GAP:.0f}" '
        f'width="{right - left:.0f}" height="{bottom + _GAP:.0f}" font-family="sans-serif" font-size="11">',
        '<defs><marker id="arrow" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" markerHeight="7" orient="auto">'
        '<path d="M0,0 L8,4 L0,8 z" fill="#667"/></marker></defs>',
        f'<rect x="{left:.0f}" y="{-_GAP}" width="100%" height="100%" fill="white"/>',
    ]
    for chain, label in chains:
        out.append(f'<path d="{_curve(chain)}" fill="none" stroke="#667" marker-end="url(#arrow)"/>')
        if label:
            end = chain[-1]
            out.append(f'<text x="{end.x + 5:.1f}" y="{end.y - 6:.1f}" fill="#667">{label}</text>')
    for v in vertices:
        out.append(
            f'<g><rect x="{v.x - v.width / 2:.1f}" y="{v.y:.1f}" width="{v.width:.1f}" height="{v.height:.1f}" rx="5" '
            f'fill="{_FILL[v.kind]}" stroke="#99a"/>'
        )
        for i, line in enumerate(v.lines):
            style = ' font-weight="bold"' if not i else ' fill="#556"'
            out.append(
                f'<text x="{v.x:.1f}" y="{v.y + (i + 1) * _LINE - 1:.1f}" text-anchor="middle"{style}>{html.escape(line)}</text>'
            )
        out.append("</g>")
    return "\n".join([*out, "</svg>"]) + "\n"


def _layers(vertices: list[_Vertex]) -> tuple[list[list[_Vertex]], list[tuple[list[_Vertex], str]]]:
    """Rows from top to bottom with bends where an edge passes through, and each edge as the chain of what it meets."""
    for v in vertices:
        v.rank = max([parent.rank + 1 for parent, _ in v.parents], default=0)
    for v in reversed(vertices):  # what comes from nowhere stands just above its first use
        if not v.parents and v.children:
            v.rank = min(child.rank for child in v.children) - 1
    rows: list[list[_Vertex]] = [[] for _ in range(max(v.rank for v in vertices) + 1)]
    for v in vertices:
        rows[v.rank].append(v)
    chains = []
    for v in vertices:
        v.children = []
    for v in vertices:
        for parent, label in v.parents:
            chain = [parent]
            for rank in range(parent.rank + 1, v.rank):
                bend = _Vertex(None, [], "bend")
                bend.rank = rank
                rows[rank].append(bend)
                chain.append(bend)
            chain.append(v)
            for above, below in zip(chain, chain[1:]):
                above.children.append(below)
                if below is not v:
                    below.parents = [(above, "")]
            if len(chain) > 2:
                v.parents = [(chain[-2], lab) if p is parent else (p, lab) for p, lab in v.parents]
            chains.append((chain, label))
    return rows, chains


def _order(rows: list[list[_Vertex]]) -> None:
    """Fewer crossings: each row sorted by the mean place of its neighbours, downwards and upwards in turn."""
    for sweep in range(12):
        down = sweep % 2 == 0
        for row in rows if down else rows[::-1]:
            for v in row:
                near = [p for p, _ in v.parents] if down else v.children
                v.y = sum(n.x for n in near) / len(near) if near else v.x
            row.sort(key=lambda v: v.y)
            for i, v in enumerate(row):
                v.x = float(i)


def _place(rows: list[list[_Vertex]]) -> None:
    y = 0.0
    for row in rows:
        x = 0.0
        for v in row:
            v.x, v.y = x + v.width / 2, y
            x += v.width + _GAP
        y += max(v.height for v in row) + _RANK
    for sweep in range(24):
        for row in rows if sweep % 2 == 0 else rows[::-1]:
            for v in row:
                near = [p for p, _ in v.parents] if sweep % 2 == 0 else v.children
                if near:
                    v.x = sum(n.x for n in near) / len(near)
            _apart(row)


def _apart(row: list[_Vertex]) -> None:
    """Push overlapping boxes of a row apart, half of it to either side."""
    for _ in range(8):
        for a, b in zip(row, row[1:]):
            overlap = (a.width + b.width) / 2 + _GAP - (b.x - a.x)
            if overlap > 0:
                a.x -= overlap / 2
                b.x += overlap / 2
    for a, b in zip(row, row[1:]):
        b.x = max(b.x, a.x + (a.width + b.width) / 2 + _GAP)


def _curve(chain: list[_Vertex]) -> str:
    x, y = chain[0].x, chain[0].y + chain[0].height
    parts = [f"M{x:.1f},{y:.1f}"]
    for v in chain[1:]:
        middle = (y + v.y) / 2
        parts.append(f"C{x:.1f},{middle:.1f} {v.x:.1f},{middle:.1f} {v.x:.1f},{v.y:.1f}")
        x, y = v.x, v.y
        if not v.lines:
            y += v.height
            parts.append(f"L{x:.1f},{y:.1f}")
    return " ".join(parts)
