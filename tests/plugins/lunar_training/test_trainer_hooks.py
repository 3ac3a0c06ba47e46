"""Hooks in the training loop: order, pairs, what each can change, who may stop, skip and retry."""

from __future__ import annotations

import math
import random as python_random
import warnings

import numpy as np
import pytest
from training_parts import Descent, Line, MeanError, SquaredError, plugin, recorder, regression

import lunar_core as lc
from lunar_core import random
from lunar_core.errors import HookError
from lunar_core.hooks import PluginWarning
from lunar_core.hookspecs import SPECS, hookimpl
from lunar_core.plugins import registry
from lunar_training import Context, DivergenceError, Trainer
from lunar_training.callbacks.checkpoint import Checkpoint
from lunar_training.callbacks.terminate_on_nan import TerminateOnNaN

STEP = ["before_forward", "after_forward", "before_loss", "after_loss", "before_backward"]
STEP += ["param_grad_ready", "param_grad_ready", "after_backward", "micro_end"]
BATCH = ["before_fetch", "after_fetch", "batch_start", "micro_start", *STEP, "after_accumulate", "grads_ready"]
BATCH += ["before_step", "after_step", "scheduler_step", "log", "batch_end"]
EVAL = [
    "eval_start",
    "stage_start",
    "eval_batch_start",
    "before_forward",
    "after_forward",
    "eval_batch_end",
    "stage_end",
]
EPOCH = ["epoch_start", "sampler_order", "stage_start", *BATCH, *BATCH, "before_fetch", "stage_end", "metric_compute"]
EPOCH += [*EVAL, "metric_compute", "eval_end", "log", "epoch_end", "log", "flush"]
RUN = ["configure", "setup", "model_built", "configure_optimizers", "configure_loader", "configure_loader", "fit_start"]
RUN += [*EPOCH, *EPOCH, "flush", "fit_end", "teardown"]


class Tick:
    def step(self, position):
        pass


def trainer(*plugins, model=None, **options):
    model = Line() if model is None else model
    options.setdefault("progress", "off")
    lr = options.pop("lr", 0.05)
    return Trainer(
        model, SquaredError(), Descent(model.parameters(), lr), metrics={"mae": MeanError()}, plugins=plugins, **options
    )


# --- order -----------------------------------------------------------------------------------------------------------


def test_hooks_fire_in_the_documented_order():
    loop = [n for n, s in SPECS.items() if s.live and s.kind != "wrap" and s.group not in ("module", "op")]
    spy = recorder(*loop, band="editor")
    trainer(spy, scheduler=Tick()).fit(regression(n=8), val=regression(n=4), epochs=2, batch_size=4)
    assert spy.seen == RUN


def test_every_live_hook_of_a_run_is_fired_by_some_run(tmp_path):
    live = {n for n, s in SPECS.items() if s.live and s.group not in ("components", "commands")}
    spy = recorder(band="editor")
    data = regression(n=8)

    def lunar_after_step(self, step, ctx):
        if step == 2:
            raise KeyboardInterrupt

    t = trainer(spy, Checkpoint(path=str(tmp_path / "best.safetensors")), scheduler=Tick())
    t.fit(data, val=data, batch_size=4, out=tmp_path / "run")
    t.predict(data)
    t.evaluate(data)
    bad = plugin(lunar_after_step=lambda self: 1 / 0, band="reader")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        trainer(spy, bad).fit(data)
    with pytest.raises(ZeroDivisionError):
        trainer(spy, plugin(lunar_after_step=lambda self: 1 / 0)).fit(data)
    with pytest.raises(DivergenceError):
        trainer(spy).fit((data[0] * np.nan, data[1]))
    with pytest.raises(KeyboardInterrupt):
        trainer(spy, plugin(lunar_after_step=lunar_after_step)).fit(data, batch_size=4)
    wrapped = []
    trainer(plugin(lunar_optimizer_step=lambda self, proceed: wrapped.append(proceed()))).fit(data)
    trainer(spy, model=Deep()).fit(data)  # has a module whose input needs a gradient
    assert live - set(spy.seen) - {"optimizer_step", "checkpoint_restore"} == set()
    assert wrapped == [None]


def test_starts_have_their_ends_in_reverse_when_something_raises():
    names = ("setup", "fit_start", "epoch_start", "stage_start", "micro_start")
    ends = ("micro_end", "batch_end", "stage_end", "epoch_end", "fit_end", "teardown")
    spy = recorder(*names, *ends)
    reasons = []
    watch = plugin(lunar_teardown=lambda self, reason: reasons.append(reason))

    def lunar_after_loss(self):
        raise ValueError("in the middle")

    with pytest.raises(ValueError, match="in the middle"):
        trainer(spy, watch, plugin(lunar_after_loss=lunar_after_loss)).fit(regression())
    assert spy.seen == [*names, *ends]
    assert reasons == ["error: ValueError: in the middle"]


def test_teardown_says_how_the_run_ended():
    reasons = []
    watch = plugin(lunar_teardown=lambda self, reason: reasons.append(reason))
    t = trainer(watch)
    t.fit(regression())
    t.evaluate(regression())
    trainer(watch, plugin(lunar_after_step=lambda self, ctx: ctx.stop("enough"))).fit(regression())

    def interrupt(self):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        trainer(watch, plugin(lunar_after_step=interrupt)).fit(regression())
    assert reasons == ["completed", "completed", "stopped: enough", "interrupted"]


def test_setup_that_fails_is_still_torn_down():
    spy = recorder("setup", "teardown")
    with pytest.raises(ZeroDivisionError):
        trainer(spy, plugin(lunar_setup=lambda self: 1 / 0)).fit(regression())
    assert spy.seen == ["teardown"]  # the reader comes after the editor that failed


def test_hooks_without_implementation_are_none_for_the_whole_run():
    buses = []
    t = trainer(plugin(lunar_fit_start=lambda self, ctx: buses.append(ctx.bus)))
    t.fit(regression())
    used = {n for n in SPECS if getattr(buses[0], n) is not None}
    assert used == {"fit_start", "setup", "stage_start", "batch_end", "eval_batch_end", "log", "teardown"}


# --- what hooks can change -------------------------------------------------------------------------------------------


def test_configure_changes_the_settings_of_the_run():
    t = trainer(
        plugin(lunar_configure=lambda self, config: {**config, "epochs": 3, "batch_size": 10, "clip_norm": 0.1})
    )
    history = t.fit(regression(n=50), epochs=1, batch_size=50)
    assert len(history) == 3
    assert t.context.clock.step == 15
    assert t.context.config["clip_norm"] == 0.1


def test_filters_reach_batch_inputs_outputs_loss_and_gradients():
    x, y = regression(n=8)

    def gradient(**members):
        model = Line()
        found = {}

        def lunar_grads_ready(self, grads):
            found.update({name: g.copy() for name, g in grads.items()})

        trainer(plugin(**members), plugin(lunar_grads_ready=lunar_grads_ready), model=model, lr=0.0).fit(
            (x, y), batch_size=8
        )
        return found["w"]

    w = Line().w.data

    def expected(x, y, scale=1.0):
        return scale * 2 * x.T @ (x @ w - y) / len(x)

    np.testing.assert_allclose(gradient(), expected(x, y))
    half = gradient(
        lunar_after_fetch=lambda self, batch: tuple(part[:4] for part in batch), lunar_sampler_order=_sorted
    )
    np.testing.assert_allclose(half, expected(x[:4], y[:4]))
    np.testing.assert_allclose(gradient(lunar_before_forward=lambda self, inputs: inputs * 2.0), expected(2 * x, y))
    np.testing.assert_allclose(gradient(lunar_after_forward=lambda self, outputs: outputs * 1.0), expected(x, y))
    shifted = gradient(lunar_before_loss=lambda self, outputs, targets: (outputs, targets + 1.0))
    np.testing.assert_allclose(shifted, expected(x, y + 1))
    np.testing.assert_allclose(gradient(lunar_after_loss=lambda self, loss: loss * 3.0), expected(x, y, 3.0))
    np.testing.assert_allclose(gradient(lunar_before_backward=lambda self, loss: loss * 5.0), expected(x, y, 5.0))
    np.testing.assert_allclose(gradient(lunar_param_grad_ready=lambda self, grad: grad * 7.0), expected(x, y, 7.0))
    doubled = gradient(lunar_after_accumulate=lambda self, grads: {k: 2 * g for k, g in grads.items()})
    np.testing.assert_allclose(doubled, expected(x, y, 2.0))

    def in_place(self, grads):
        grads["w"] *= 4

    np.testing.assert_allclose(gradient(lunar_after_accumulate=in_place), expected(x, y, 4.0))


def _sorted(self, indices):
    return np.sort(indices)


def test_an_edit_of_the_loss_shows_in_its_figure():
    x, y = regression()
    plain = trainer(lr=0.0).fit((x, y))[0]["loss"]
    edited = trainer(plugin(lunar_after_loss=lambda self, loss: loss * 3.0), lr=0.0).fit((x, y))[0]["loss"]
    assert edited == pytest.approx(3 * plain, rel=1e-12)


def test_grads_ready_replaces_what_the_optimizer_sees():
    model = Line()
    w = model.w.data.copy()
    trainer(plugin(lunar_grads_ready=lambda self, grads: {"w": np.full((3, 1), 10.0)}), model=model, lr=0.1).fit(
        regression(), batch_size=50
    )
    np.testing.assert_allclose(model.w.data, w - 1.0)


def test_metrics_and_records_can_be_added_to():
    extra = plugin(
        lunar_epoch_end=lambda self, metrics: {**metrics, "twice": 2 * metrics["loss"]},
        lunar_metric_compute=lambda self, name, value: -value,
        lunar_eval_end=lambda self, metrics: {**metrics, "extra": 1.0},
    )
    row = trainer(extra).fit(regression(), val=regression())[0]
    assert row["twice"] == 2 * row["loss"]
    assert row["mae"] < 0 and row["val_mae"] < 0
    assert row["val_extra"] == 1.0


def test_the_model_and_the_optimizers_can_be_replaced():
    other = Line(seed=9)
    swap = plugin(
        lunar_model_built=lambda self, model: other,
        lunar_configure_optimizers=lambda self, optimizers: [Descent(other.parameters(), 0.1)],
    )
    original = Line()
    w, v = original.w.data.copy(), other.w.data.copy()
    t = trainer(swap, model=original)
    t.fit(regression())
    np.testing.assert_array_equal(original.w.data, w)
    assert not np.array_equal(other.w.data, v)
    assert t.model is other


def test_a_loader_of_ones_own_takes_the_place_of_the_trainers():
    x, y = regression(n=12)

    class Twice(list):
        pass

    batches = Twice([(x[:5], y[:5]), (x[5:], y[5:])])
    t = trainer(plugin(lunar_configure_loader=lambda self, loader, stage: batches if stage == "train" else None))
    t.fit((x, y), epochs=2)
    assert t.context.clock.step == 4
    assert t.context.clock.sample == 24


# --- decisions -------------------------------------------------------------------------------------------------------


def test_batch_start_can_skip_a_batch():
    spy = recorder("before_forward", "batch_end")
    skip = plugin(lunar_batch_start=lambda self, ctx: "skip" if ctx.clock.batch == 1 else None)
    t = trainer(spy, skip)
    t.fit(regression(n=12), batch_size=4)
    assert t.context.clock.step == 2
    assert spy.seen.count("batch_end") == 3 and spy.seen.count("before_forward") == 2


def test_before_step_can_drop_the_gradients():
    spy = recorder("after_step", "scheduler_step")
    model = Line()
    w = model.w.data.copy()
    t = trainer(spy, plugin(lunar_before_step=lambda self: "skip"), model=model, scheduler=Tick())
    t.fit(regression())
    assert t.context.clock.step == 0
    assert spy.seen == []
    np.testing.assert_array_equal(model.w.data, w)


def test_a_wrapped_step_can_evaluate_the_gradient_again():
    """Sharpness-aware minimisation (Foret et al. 2021, eq. 2-4) in eight lines, against the formula by hand."""
    x, y = regression(n=8)

    def lunar_optimizer_step(self, proceed, closure, ctx):
        params = list(ctx.model.parameters())
        norm = math.sqrt(sum(float((p.grad.data**2).sum()) for p in params))
        moves = [0.05 * p.grad.data / norm for p in params]
        for p, e in zip(params, moves):
            p.data += e
        closure()
        for p, e in zip(params, moves):
            p.data -= e
        return proceed()

    model = Line()
    w = model.w.data.copy()
    trainer(plugin(lunar_optimizer_step=lunar_optimizer_step), model=model, lr=0.1).fit((x, y), batch_size=8)

    def gradient(w, b):
        r = x @ w + b - y
        return 2 * x.T @ r / 8, 2 * r.sum(0) / 8

    gw, gb = gradient(w, 0.0)
    norm = math.sqrt(float((gw**2).sum() + (gb**2).sum()))
    gw, gb = gradient(w + 0.05 * gw / norm, 0.05 * gb / norm)
    np.testing.assert_allclose(model.w.data, w - 0.1 * gw, rtol=1e-12)
    np.testing.assert_allclose(model.b.data, -0.1 * gb, rtol=1e-12)


def test_a_request_to_stop_ends_the_run_after_the_batch_and_is_sticky():
    t = trainer(plugin(lunar_after_step=lambda self, step, ctx: ctx.stop("first") if step == 3 else None))
    history = t.fit(regression(n=20), val=regression(), epochs=5, batch_size=4)
    assert t.context.clock.step == 3
    assert len(history) == 1 and "val_loss" in history[0]
    t.context.stop("second")
    assert t.context.stop_reason == "first"


@pytest.mark.parametrize(("answer", "steps"), [("skip", 4), ("retry", 5), ("stop", 1)])
def test_exception_decides_what_becomes_of_a_failed_batch(answer, steps):
    asked = []

    def lunar_after_loss(self, ctx):
        if ctx.clock.batch == 1 and not asked:
            raise ValueError("bad batch")

    def lunar_exception(self, exc, phase):
        asked.append((str(exc), phase))
        return answer

    t = trainer(plugin(lunar_after_loss=lunar_after_loss, lunar_exception=lunar_exception))
    t.fit(regression(n=20), batch_size=4)
    assert asked == [("bad batch", "loss")]
    assert t.context.clock.step == steps
    assert t.context.stop_reason == ("ValueError in phase loss: bad batch" if answer == "stop" else None)


def test_a_batch_that_has_changed_the_weights_is_not_run_twice():
    again = plugin(lunar_exception=lambda self: "retry", lunar_after_step=lambda self: 1 / 0)
    t = trainer(again)
    with pytest.raises(ZeroDivisionError):
        t.fit(regression())
    assert t.context.clock.step == 1


def test_parameters_may_be_frozen_and_freed_between_epochs():
    model = Line()
    seen = []

    def lunar_epoch_start(self, epoch):
        model.w.requires_grad_(epoch == 1)

    spy = plugin(lunar_epoch_start=lunar_epoch_start, lunar_grads_ready=lambda self, grads: seen.append(sorted(grads)))
    trainer(spy, model=model).fit(regression(n=8), epochs=3, batch_size=8)
    assert seen == [["b"], ["b", "w"], ["b"]]


def test_a_lost_loss_can_be_skipped_or_end_the_run():
    x, y = regression(n=20)
    x[6] = np.nan
    skip = plugin(lunar_loss_nonfinite=lambda self, loss: "skip")
    t = trainer(skip)
    history = t.fit((x, y), batch_size=4, shuffle=False)
    assert t.context.clock.step == 4
    assert np.isfinite(history[0]["loss"]) and np.isfinite(t.model.w.data).all()
    t = trainer(TerminateOnNaN())
    t.fit((x, y), batch_size=4, epochs=3, shuffle=False)
    assert t.context.clock.step == 1
    assert t.context.stop_reason == "the loss was nan in epoch 1, batch 2 (step 2)"


# --- readers ---------------------------------------------------------------------------------------------------------


class Dropout(Line):
    def forward(self, x):
        if self.training:
            x = x * lc.tensor(random.stream("dropout").next().random(x.shape) < 0.8).astype(x.dtype)
        return super().forward(x)


def weights_of(*plugins):
    python_random.seed(5)
    np.random.seed(5)
    model = Dropout()
    noise = plugin(lunar_before_forward=lambda self, inputs: inputs + float(np.random.randn() + python_random.random()))
    trainer(noise, *plugins, model=model, seed=2).fit(regression(n=40), val=0.2, epochs=2, batch_size=8)
    return model.w.data.tobytes()


def test_readers_on_or_off_leave_the_weights_bitwise_equal():
    def draw(self):
        np.random.randn(3)
        python_random.random()
        random.stream("dropout").next()
        random.stream("mine").next()

    hooks = [n for n, s in SPECS.items() if s.live and s.kind != "wrap"]
    reader = plugin(**{f"lunar_{n}": draw for n in hooks}, band="reader")
    logger = plugin(**{f"lunar_{n}": draw for n in hooks}, band="logger")
    assert weights_of() == weights_of(reader, logger) == weights_of(logger)


def test_a_broken_reader_does_not_touch_the_run():
    def explode(self):
        np.random.randn()
        raise RuntimeError("broken")

    reader = plugin(lunar_after_step=explode, band="reader")
    expected = weights_of()
    with pytest.warns(PluginWarning, match="switched off for this run: lunar_after_step raised RuntimeError: broken"):
        assert weights_of(reader) == expected


def test_a_misspelled_hook_stops_the_run_before_it_starts():
    t = trainer(plugin(lunar_befor_step=lambda self: None))
    with pytest.raises(HookError, match="lunar_befor_step"):
        t.fit(regression())
    assert t.context.bus is None


# --- modules and ops --------------------------------------------------------------------------------------------------


class Deep(Line):
    def __init__(self):
        super().__init__()
        self.head = Line(1, seed=3)

    def forward(self, x):
        return self.head(super().forward(x))


def test_module_hooks_see_and_rewrite_every_call_by_its_path():
    seen = []

    def lunar_module_forward_pre(self, path, inputs):
        return (inputs[0] * 2.0,) if path == "head" else None

    def lunar_module_forward_post(self, module, path, outputs):
        seen.append((path, type(module).__name__))
        return outputs + 1.0 if path == "" else None

    x, _ = regression(n=4)
    model = Deep()
    doubled = plugin(
        lunar_module_forward_pre=lunar_module_forward_pre, lunar_module_forward_post=lunar_module_forward_post
    )
    expected = 2 * (x @ model.w.data) @ model.head.w.data + 1
    np.testing.assert_allclose(trainer(doubled, model=model).predict(x), expected)
    assert seen == [("head", "Line"), ("", "Deep")]
    np.testing.assert_allclose(trainer(model=model).predict(x), x @ model.w.data @ model.head.w.data)


def test_op_hooks_see_and_rewrite_every_op_of_the_forward_pass_and_none_of_the_backward():
    names = []

    def lunar_op_forward_post(self, op, inputs, outputs):
        names.append(op.name)
        return outputs * 3.0 if op.name == "matmul" else None

    def lunar_op_forward_pre(self, op, inputs):
        return (inputs[0], inputs[1] + 1.0) if op.name == "matmul" else None

    x, y = regression(n=4)
    model = Line()
    t = trainer(
        plugin(lunar_op_forward_post=lunar_op_forward_post, lunar_op_forward_pre=lunar_op_forward_pre), model=model
    )
    np.testing.assert_allclose(t.predict(x), 3 * (x @ (model.w.data + 1)))
    assert names == ["matmul", "add"]
    names.clear()
    t.fit((x, y))
    assert names == ["matmul", "add", "subtract", "square", "sum", "sum", "divide"]
    _ = lc.tensor(x).sum()
    assert names[-1] == "divide"  # nothing stays installed


# --- inside and beside the Trainer -----------------------------------------------------------------------------------


def test_plugins_of_the_process_take_part_in_every_run_also_when_they_come_in_the_middle():
    seen = []
    late = plugin(lunar_after_step=lambda self, step: seen.append(("late", step)))

    def lunar_after_step(self, step):
        seen.append(("installed", step))
        if step == 2:
            registry.manager.register(late, "plugins.late")

    installed = plugin(lunar_after_step=lunar_after_step)
    registry.manager.register(installed, "plugins.mine")
    try:
        trainer().fit(regression(n=12), batch_size=4)
        trainer(installed_plugins=False).fit(regression(n=12), batch_size=4)
    finally:
        registry.manager.unregister(installed)
        registry.manager.unregister(late)
    assert seen == [("installed", 1), ("installed", 2), ("installed", 3), ("late", 3)]
    trainer().fit(regression())
    assert len(seen) == 4


def test_a_plugin_may_evaluate_and_predict_during_a_run():
    x, y = regression()
    found = []

    class Probe:
        @hookimpl(band="reader")
        def lunar_after_step(self, step, ctx):
            if step == 1:
                before = ctx.model.w.data.copy()
                found.append(ctx.trainer.evaluate((x, y))["loss"])
                found.append(ctx.trainer.predict(x).shape)
                assert ctx.stage == "train" and (ctx.model.w.data == before).all()

    t = trainer(Probe())
    plain = trainer()
    t.fit((x, y), epochs=2)
    plain.fit((x, y), epochs=2)
    assert found[1] == (50, 1)
    np.testing.assert_array_equal(t.model.w.data, plain.model.w.data)
    assert t.history["mae"] == plain.history["mae"]


def test_a_loop_written_by_hand_uses_the_same_hooks():
    x, y = regression(n=16)
    seen = []

    class Norms:
        band = "reader"

        def lunar_grads_ready(self, grads, norm, ctx):
            seen.append((ctx.clock.step, round(norm, 6)))

        def lunar_epoch_end(self, metrics):
            seen.append(metrics["loss"] > 0)

    model, loss = Line(), SquaredError()
    optimizer = Descent(model.parameters())
    ctx = Context(model, [optimizer])
    bus = ctx.make_bus([Norms()], installed=False)
    with bus.pairs() as pairs:
        pairs.open("epoch_start", (0,), "epoch_end", (0, {}))
        for _ in range(2):
            optimizer.zero_grad()
            value = loss(model(lc.tensor(x)), lc.tensor(y))
            value.backward()
            h = bus.grads_ready
            if h is not None:
                h({name: p.grad.data for name, p in model.named_parameters()}, 1.0)
            optimizer.step()
            ctx.clock.step += 1
        pairs.close("epoch_end", 0, {"loss": value.item()})
    assert seen == [(0, 1.0), (1, 1.0), True]


def test_the_context_gives_the_same_numbers_whenever_a_step_is_run_again():
    ctx = Context(Line())
    ctx.clock.step = 7
    first = ctx.rng("noise").random(3)
    random.stream("noise").next()
    np.testing.assert_array_equal(ctx.rng("noise").random(3), first)
    ctx.clock.step = 8
    assert not np.array_equal(ctx.rng("noise").random(3), first)


def test_a_trainer_in_the_middle_of_fit_refuses_a_second_one():
    t = trainer(plugin(lunar_after_step=lambda self, ctx: ctx.trainer.fit(regression())))
    with pytest.raises(Exception, match="while a run of the same Trainer is going on"):
        t.fit(regression())


def test_the_clock_counts_epochs_steps_samples_and_tokens():
    model = Line()
    t = trainer(model=model)
    t.fit(regression(n=10), epochs=3, batch_size=4)
    clock = t.context.clock
    assert (clock.epoch, clock.step, clock.sample, clock.token) == (3, 9, 30, 30)
    state = clock.state_dict()
    other = type(clock)()
    other.load_state_dict(state)
    assert other.state_dict() == state
    assert "step=9" in repr(other)


@pytest.mark.parametrize(
    ("hook", "words"),
    [
        (lambda self, loss: "x", "lunar_after_loss returned 'x', expected the loss, a Tensor with one element"),
        (
            lambda self, grads: {"foo": np.ones(3)},
            "lunar_grads_ready returned a gradient for 'foo', expected only names",
        ),
        (
            lambda self, grads: {"b": np.ones(7)},
            r"lunar_grads_ready returned shape \(7,\) for 'b', expected an array of",
        ),
        (lambda self, grads: 3, "lunar_grads_ready returned 3, expected a dict"),
    ],
)
def test_an_editor_that_answers_nonsense_is_one_clear_error(hook, words):
    name = "lunar_" + words.partition(" ")[0].removeprefix("lunar_")
    with pytest.raises(HookError, match=words):
        trainer(plugin(**{name: hook, "band": "editor"})).fit(regression())
