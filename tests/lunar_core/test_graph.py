"""Pictures of the graph hold every op once, with shapes, names and module paths, and their boxes do not overlap."""

import re
import xml.etree.ElementTree as ET

import numpy as np
import pytest

import lunar_core as lc
from lunar_core import module, op
from lunar_core.errors import GradientError, HyperparameterError

SVG = "{http://www.w3.org/2000/svg}"


def small():
    x = lc.tensor(np.ones((4, 3)), requires_grad=True)
    w = lc.tensor(np.ones((3, 2), np.float32), requires_grad=True)
    h = (x @ w).tanh()
    return (h * h + h).sum(), {"x": x, "w<1>": w}


class Residual(lc.Module):
    def __init__(self):
        layers = lc.layers
        self.first, self.second = layers.Dense(6, in_features=6), layers.Dense(6, in_features=6)

    def forward(self, x):
        return self.second(self.first(x).relu()) + x


def boxes(svg):
    root = ET.fromstring(svg)
    return [
        (*[float(r.get(key)) for key in ("x", "y", "width", "height")], [t.text for t in g.findall(SVG + "text")])
        for g in root.findall(SVG + "g")
        for r in g.findall(SVG + "rect")
    ]


def test_dot_names_ops_shapes_and_leaves():
    y, names = small()
    text = lc.draw_graph(y, names=names, format="dot")
    for line in ("x\\n(4, 3) float64", "w<1>\\n(3, 2)", "matmul\\n(4, 2) float64", "tanh", "output"):
        assert line in text
    assert text.count("->") == 9 and text.startswith("digraph {")


def test_svg_is_well_formed_and_its_boxes_stand_apart():
    y, names = small()
    found = boxes(lc.draw_graph(y, names=names))
    assert sorted(lines[0] for *_, lines in found) == sorted(
        ["x", "w<1>", "matmul", "tanh", "multiply", "add", "sum", "output"]
    )
    for i, (ax, ay, aw, ah, _) in enumerate(found):
        for bx, by, bw, bh, _ in found[i + 1 :]:
            assert ax + aw <= bx + 0.1 or bx + bw <= ax + 0.1 or ay + ah <= by + 0.1 or by + bh <= ay + 0.1


def test_a_module_is_called_and_the_boxes_say_where_in_it_they_come_from():
    class Net(lc.Module):
        def __init__(self):
            self.blocks = [Residual(), Residual()]

        def forward(self, x):
            for block in self.blocks:
                x = block(x)
            return x

    lines = [lines for *_, lines in boxes(lc.draw_graph(Net(), lc.ones((2, 6))))]
    assert ["linear", "(2, 6)", "blocks.1.second"] in lines and ["relu", "(2, 6)", "blocks.0"] in lines
    assert ["blocks.0.first.weight", "(6, 6)"] in lines and ["input 0", "(2, 6)"] in lines
    assert op.slot.tracer is None and module.slot.hook is None


def test_results_of_one_op_share_its_box_and_their_edges_are_numbered():
    x = lc.tensor(np.diag([1.0, 2.0]), requires_grad=True)
    values, vectors = lc.ops.eigh(x)
    text = lc.draw_graph([values.sum(), vectors.sum()], format="dot")
    assert text.count('label="eigh') == 1 and re.search(r'label="0"', text) and "output 1" in text


def test_long_edges_keep_their_ends():
    x = lc.tensor([1.0], requires_grad=True)
    y = x
    for _ in range(30):
        y = y.sin() + x
    svg = lc.draw_graph(y, names={"x": x})
    assert svg.count("marker-end") == 91


def test_the_file_ending_says_the_format(tmp_path):
    y, _ = small()
    lc.draw_graph(y, path=tmp_path / "a.dot")
    lc.draw_graph(y, path=tmp_path / "a.svg")
    assert (tmp_path / "a.dot").read_text().startswith("digraph") and (tmp_path / "a.svg").read_text().startswith(
        "<svg"
    )


def test_a_tensor_without_a_graph_and_an_unknown_format_are_refused():
    with pytest.raises(GradientError, match="has no graph"):
        lc.draw_graph(lc.ones((2,)))
    with pytest.raises(HyperparameterError, match="'svg' or 'dot'"):
        lc.draw_graph(small()[0], format="png")
