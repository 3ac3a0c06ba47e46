"""Hooks in the backward pass and on memory: values, order, rewriting, and that nothing stays behind."""

from __future__ import annotations

import gc

import numpy as np
from training_parts import Descent, Line, SquaredError, plugin, regression

import lunar_core as lc
from lunar_core import autograd, module, op
from lunar_training import Trainer


class Two(Line):
    """``Line`` and a head with one input."""

    def __init__(self):
        super().__init__()
        self.head = Line(1, seed=3)

    def forward(self, x):
        return self.head(super().forward(x))


def train(*plugins, model=None, data=None, **fit):
    model = Two() if model is None else model
    t = Trainer(model, SquaredError(), Descent(model.parameters()), plugins=plugins, progress="off")
    t.fit(regression(n=8) if data is None else data, batch_size=8, **fit)
    return t


def test_a_module_sees_the_gradients_at_its_outputs_and_inputs_from_the_outside_in():
    seen = {}

    def lunar_module_backward_pre(self, path, grads):
        seen["pre", path] = [g.copy() for g in grads]

    def lunar_module_backward_post(self, path, grads):
        seen["post", path] = [g.copy() for g in grads]

    model = Two()
    w, v, b = model.w.data.copy(), model.head.w.data.copy(), model.head.b.data.copy()
    x, y = regression(n=8)
    train(
        plugin(
            lunar_module_backward_pre=lunar_module_backward_pre, lunar_module_backward_post=lunar_module_backward_post
        ),
        model=model, data=(x, y), shuffle=False,
    )  # fmt: skip
    assert list(seen) == [("pre", ""), ("pre", "head"), ("post", "head")]
    g = 2 * (x @ w @ v + b - y) / 8
    np.testing.assert_allclose(seen["pre", ""][0], g, rtol=1e-13)
    np.testing.assert_allclose(seen["pre", "head"][0], g, rtol=1e-13)
    np.testing.assert_allclose(seen["post", "head"][0], g @ v.T, rtol=1e-13)


def test_a_module_backward_hook_rewrites_what_flows_on():
    def lunar_module_backward_post(self, path, grads):
        return tuple(0 * g for g in grads)

    model = Two()
    before = model.w.data.copy(), model.head.w.data.copy()
    train(plugin(lunar_module_backward_post=lunar_module_backward_post), model=model)
    np.testing.assert_array_equal(model.w.data, before[0])
    assert not np.array_equal(model.head.w.data, before[1])


def test_modules_of_several_outputs_get_one_gradient_for_each():
    class Pair(Line):
        def forward(self, x):
            return {"a": super().forward(x), "b": [x * self.w.sum(), 3]}

    class Model(Line):
        def __init__(self):
            super().__init__()
            self.pair = Pair()

        def forward(self, x):
            both = self.pair(x)
            return both["a"] + 2.0 * both["b"][0].sum(axis=1, keepdims=True)

    seen = []
    train(
        plugin(lunar_module_backward_pre=lambda self, path, grads: seen.append((path, [g.shape for g in grads]))),
        model=Model(),
    )
    assert seen == [("", [(8, 1)]), ("pair", [(8, 1), (8, 3)])]


def test_op_backward_hooks_rewrite_the_gradients_before_and_after_a_rule():
    plain, halved, doubled = (Two() for _ in range(3))
    found = []
    note = plugin(lunar_after_accumulate=lambda self, grads: found.append({k: v.copy() for k, v in grads.items()}))

    def lunar_op_backward_pre(self, op, grads):
        return tuple(g / 2 for g in grads) if op.name == "square" else None

    def lunar_op_backward_post(self, op, grads):
        return tuple(None if g is None else g * 2 for g in grads) if op.name == "square" else None

    train(note, model=plain)
    train(note, plugin(lunar_op_backward_pre=lunar_op_backward_pre), model=halved)
    train(note, plugin(lunar_op_backward_post=lunar_op_backward_post), model=doubled)
    for name, g in found[0].items():
        np.testing.assert_allclose(found[1][name], g / 2, rtol=1e-13)
        np.testing.assert_allclose(found[2][name], g * 2, rtol=1e-13)


def test_an_op_backward_hook_knows_the_node_of_the_forward_pass():
    made, used = {}, []

    class Watch:
        band = "reader"

        def lunar_op_forward_post(self, op, outputs):
            made[outputs.node.age] = op.name

        def lunar_op_backward_post(self, op, node):
            used.append(made[node.age] == op.name)

    train(Watch())
    assert len(used) > 5 and all(used)


def test_what_is_allocated_is_freed():
    live, peak = [0], [0]

    class Meter:
        band = "reader"
        draws = False

        def lunar_alloc(self, nbytes, device):
            assert device == "cpu" and nbytes > 0
            live[0] += nbytes
            peak[0] = max(peak[0], live[0])

        def lunar_free(self, nbytes):
            live[0] -= nbytes

        def lunar_teardown(self):
            gc.collect()
            self.left = live[0]

    meter = Meter()
    train(meter, epochs=3)
    once = peak[0]
    assert once > 8 * 8
    live[0] = peak[0] = 0  # what a run has left when it ends is announced no more
    train(meter, epochs=30)
    assert peak[0] == once  # thirty epochs hold no more than three
    assert meter.left < once


def test_the_engine_is_left_alone_while_nothing_asks_and_after_the_run():
    def slots():
        return module.slot.hook, op.slot.tracer, autograd.slot.before, autograd.slot.backward

    during = []
    train(plugin(lunar_after_loss=lambda self: during.append(slots())))
    assert during == [(None,) * 4] == [slots()]


def test_a_plugin_that_comes_in_the_middle_of_a_run_is_heard_until_it_goes():
    names = []

    class Late:
        band = "reader"
        draws = False

        def lunar_op_forward_post(self, op):
            names.append(op.name)

    late = Late()

    def lunar_batch_start(self, ctx):
        if ctx.clock.step == 1:
            ctx.bus.add(late)

    def lunar_batch_end(self, ctx):
        if ctx.clock.step == 2:
            ctx.bus.remove(late)

    train(plugin(lunar_batch_start=lunar_batch_start, lunar_batch_end=lunar_batch_end), epochs=4)
    assert names.count("square") == 1


def test_the_hooks_leave_the_gradients_bitwise_as_they_are():
    class Watch:
        band = "reader"

        def lunar_module_backward_pre(self, grads):
            pass

        def lunar_module_backward_post(self, grads):
            pass

        def lunar_op_backward_pre(self, grads):
            pass

        def lunar_op_backward_post(self, grads):
            pass

        def lunar_alloc(self):
            pass

    def run(*plugins):
        lc.seed(0)
        layers = lc.layers
        model = layers.Sequential(layers.Dense(16), layers.ReLU(), layers.Dropout(0.3), layers.Dense(1))
        t = Trainer(model, "mse", "adam", plugins=plugins, progress="off")
        t.fit(regression(n=40, dtype=np.float32), batch_size=8, epochs=3)
        return t.model.state_dict()

    plain, watched = run(), run(Watch())
    for name, array in plain.items():
        np.testing.assert_array_equal(watched[name], array)
