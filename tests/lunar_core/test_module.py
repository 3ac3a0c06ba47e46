"""Modules: attributes as parts, sharing, state, freezing, lazy building, hooks, error paths."""

import copy

import numpy as np
import pytest

import lunar_core as lc
from lunar_core import Buffer, Module, Parameter, ops
from lunar_core.errors import GradientError, NotBuiltError, ShapeError, StateError


class Affine(Module):
    def __init__(self, n_in, n_out):
        self.weight = Parameter(np.arange(n_in * n_out, dtype=np.float32).reshape(n_out, n_in))
        self.bias = Parameter(np.zeros(n_out, np.float32))

    def forward(self, x):
        return ops.linear(x, self.weight, self.bias)


class Lazy(lc.Layer):
    """Test layer that learns its input size."""

    width: int

    def build(self, x):
        self.weight = Parameter(lc.ones((self.width, x.shape[-1])))

    def forward(self, x):
        return ops.linear(x, self.weight)


class Net(Module):
    def __init__(self):
        self.blocks = [Affine(2, 3), Affine(3, 3)]
        self.heads = {"a": Affine(3, 1), "b": Affine(3, 2)}
        self.scale = Parameter(np.ones(1, np.float32))
        self.count = Buffer(np.zeros(1, np.float32))
        self.scratch = Buffer(np.zeros(2, np.float32), persistent=False)

    def forward(self, x, head="a"):
        for block in self.blocks:
            x = block(x)
        return self.heads[head](x) * self.scale


def test_parts_in_attributes_lists_and_dicts_are_found_under_dotted_names():
    net = Net()
    names = [n for n, _ in net.named_parameters()]
    assert names == [
        "blocks.0.weight", "blocks.0.bias", "blocks.1.weight", "blocks.1.bias",
        "heads.a.weight", "heads.a.bias", "heads.b.weight", "heads.b.bias", "scale",
    ]  # fmt: skip
    assert [n for n, _ in net.named_modules()] == ["", "blocks.0", "blocks.1", "heads.a", "heads.b"]
    assert [n for n, _ in net.named_buffers()] == ["count", "scratch"]
    assert net.num_parameters() == 9 + 12 + 4 + 8 + 1


def test_python_control_flow_decides_what_runs_and_what_gets_a_gradient():
    net = Net()
    net(lc.ones((4, 2)), head="b").sum().backward()
    assert net.heads["b"].weight.grad is not None
    assert net.heads["a"].weight.grad is None


def test_a_shared_module_and_a_shared_parameter_count_once():
    net = Module()
    net.first = Affine(2, 2)
    net.second = net.first
    net.tied = net.first.weight
    assert len(list(net.parameters())) == 2
    assert len(net.parameters()) == 2
    assert set(net.state_dict()) == {"first.weight", "first.bias", "second.weight", "second.bias", "tied"}
    net.second(net.first(lc.ones((1, 2)))).sum().backward()
    expected = net.first.weight.grad.numpy().copy()
    other = Affine(2, 2)
    net.first.zero_grad()
    y = other(lc.ones((1, 2)))
    other(y).sum().backward()
    np.testing.assert_array_equal(expected, other.weight.grad.numpy())


def test_a_module_that_refers_to_its_parent_is_walked_once():
    net = Net()
    net.blocks[0].parent = net
    assert len(list(net.modules())) == 5
    assert len(net.state_dict()) == 10


def test_state_round_trip_is_exact_and_leaves_unsaved_buffers_out():
    net, other = Net(), Net()
    with lc.no_grad():
        net.scale.fill_(3.0)
        net.count.fill_(7.0)
    state = net.state_dict()
    assert "scratch" not in state and "count" in state
    report = other.load_state_dict(state)
    assert report.clean
    for name, value in other.state_dict().items():
        np.testing.assert_array_equal(value, state[name])


def test_strict_loading_reports_everything_and_writes_nothing():
    net = Net()
    state = {k: v.copy() for k, v in net.state_dict().items()}
    state["scale"] = np.full(1, 5.0, np.float32)
    state["blocks.0.weight"] = np.zeros((9, 9), np.float32)
    state["extra"] = state.pop("count")
    with pytest.raises(StateError) as info:
        net.load_state_dict(state)
    text = str(info.value)
    assert "missing: count" in text and "unexpected: extra" in text
    assert "blocks.0.weight: expected shape (3, 2), got (9, 9)" in text
    assert net.scale.item() == 1.0


def test_lax_loading_loads_what_matches_and_reports_the_rest():
    net = Net()
    report = net.load_state_dict({"scale": np.full(1, 5.0), "blocks.0.bias": np.zeros(7)}, strict=False)
    assert net.scale.item() == 5.0
    assert report.misshapen == ["blocks.0.bias"] and "count" in report.missing


def test_loading_after_the_forward_is_noticed_by_the_backward():
    net = Affine(2, 2)
    x = lc.tensor([[1.0, 1.0]], requires_grad=True)
    y = net(x).sum()
    net.load_state_dict({k: v * 2 for k, v in net.state_dict().items()})
    with pytest.raises(GradientError, match="written in place"):
        y.backward()


def test_train_and_eval_reach_every_module():
    net = Net().eval()
    assert not any(m.training for m in net.modules())
    net.train()
    assert all(m.training for m in net.modules())


def test_astype_converts_floating_parts_in_place_and_keeps_requires_grad():
    net = Net()
    net.freeze("scale")
    ids = [id(p) for p in net.parameters()]
    assert net.astype("float64") is net
    assert ids == [id(p) for p in net.parameters()]
    assert {p.dtype for p in net.parameters()} == {np.dtype("float64")}
    assert not net.scale.requires_grad and net.blocks[0].weight.requires_grad
    net(lc.ones((1, 2), dtype="float64")).sum().backward()
    assert net.blocks[0].weight.grad.dtype == np.float64


def test_freeze_by_pattern_names_what_it_touched_and_refuses_an_empty_match():
    net = Net()
    assert net.freeze("blocks.*") == ["blocks.0.weight", "blocks.0.bias", "blocks.1.weight", "blocks.1.bias"]
    assert net.num_parameters(trainable_only=True) == net.num_parameters() - 21
    net(lc.ones((1, 2))).sum().backward()
    assert net.blocks[0].weight.grad is None and net.heads["a"].weight.grad is not None
    assert net.unfreeze("blocks.0") == ["blocks.0.weight", "blocks.0.bias"]
    with pytest.raises(StateError, match="no parameter matches 'nothing'"):
        net.freeze("nothing")


def test_a_lazy_layer_is_built_at_the_first_call_in_the_dtype_of_the_input():
    layer = Lazy(3)
    assert not layer.built
    with pytest.raises(NotBuiltError, match="Lazy does not know its input size"):
        list(layer.parameters())
    later = layer.parameters()  # taking them is no error
    assert layer(lc.ones((2, 5), dtype="float64")).shape == (2, 3)
    assert layer.built and [p.shape for p in later] == [(3, 5)]
    assert layer.weight.dtype == np.float64


def test_an_unbuilt_layer_is_named_with_its_path():
    net = Module()
    net.body = [Lazy(2), Lazy(2)]
    with pytest.raises(NotBuiltError, match=r"Lazy 'body\.0'"):
        net.state_dict()


def test_an_error_names_the_path_of_the_module_it_comes_from():
    net = Net()
    net.blocks[1] = Affine(7, 3)
    outer = Module()
    outer.inner = net
    outer.forward = net.__call__
    with pytest.raises(ShapeError) as info:
        outer(lc.ones((4, 2)))
    assert info.value.where == '"inner.blocks.1" (Affine)'
    assert "last axis is 7" in str(info.value) and "got (4, 3)" in str(info.value)


def test_forward_hooks_see_and_replace_inputs_and_outputs():
    layer = Affine(2, 2)
    calls = []
    remove_pre = layer.register_forward_pre_hook(lambda m, args: (args[0] * 2,))
    remove = layer.register_forward_hook(lambda m, args, out: calls.append(args[0].numpy().tolist()) or out + 1)
    plain = Affine(2, 2)
    x = lc.ones((1, 2))
    np.testing.assert_allclose(layer(x).detach().numpy(), plain(x * 2).detach().numpy() + 1)
    assert calls == [[[2.0, 2.0]]]
    remove_pre(), remove()
    np.testing.assert_array_equal(layer(x).detach().numpy(), plain(x).detach().numpy())


def test_a_deep_copy_is_independent_and_keeps_sharing_inside():
    net = Module()
    net.a = Affine(2, 2)
    net.b = net.a
    twin = copy.deepcopy(net)
    assert twin.a is twin.b and twin.a is not net.a
    with lc.no_grad():
        twin.a.weight.fill_(0.0)
    assert net.a.weight.data.any()
    assert twin.a.weight.requires_grad and isinstance(twin.a.weight, Parameter)


def test_the_repr_shows_the_tree():
    text = repr(Net())
    assert text.splitlines()[0] == "Net("
    assert "  (blocks.0): Affine()" in text.splitlines()
    assert repr(Lazy(3)) == "Lazy(width=3)"


def test_forward_must_be_written():
    with pytest.raises(NotImplementedError, match="Module defines no forward"):
        Module()(1)


@pytest.mark.parametrize("bad", [np.array(["a", "b"]), np.ones(2, np.complex64)])
def test_values_of_a_kind_that_cannot_be_loaded_leave_everything_as_it_was(bad):
    model = Affine(3, 2)
    before = model.weight.data.copy()
    with pytest.raises(StateError, match="bias: cannot load values of dtype"):
        model.load_state_dict({"weight": np.zeros((2, 3), np.float32), "bias": bad})
    np.testing.assert_array_equal(model.weight.data, before)


def test_a_gradient_hook_of_a_parameter_survives_a_change_of_dtype():
    model, calls = Affine(3, 2), []
    remove = model.weight.register_hook(lambda g: calls.append(g.dtype))
    model.astype("float64")
    for _ in range(2):
        model(lc.ones((1, 3), dtype="float64")).sum().backward()
        remove()
    assert calls == [np.float64]
