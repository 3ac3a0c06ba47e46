"""The bus: binding, ordering, kinds, isolation, pairs, bills."""

from __future__ import annotations

import random
import types
import warnings

import numpy as np
import pluggy
import pytest

import lunar_core.random
from lunar_core import hookspecs
from lunar_core.errors import HookError
from lunar_core.hooks import Bus, PluginWarning
from lunar_core.hookspecs import SPECS, hookimpl


class Recorder:
    """Writes down the hooks it is called with."""

    def __init__(self, name="recorder", seen=None, **attributes):
        self.plugin_name = name
        self.seen = [] if seen is None else seen
        self.__dict__.update(attributes)

    def lunar_after_step(self, step):
        self.seen.append((self.plugin_name, step))


def plugin(name, **members):
    """A plugin object of a class made on the spot, so that ``members`` become methods."""
    return type(name, (), {"plugin_name": name, **members})()


def named(seen, name, **attributes):
    return Recorder(name, seen, **attributes)


# --- specifications --------------------------------------------------------------------------------------------------


def test_every_specification_declares_kind_and_doc_and_what_its_kind_needs():
    assert {s.kind for s in SPECS.values()} == {"notify", "filter", "decide", "wrap"}
    for spec in SPECS.values():
        assert len(spec.doc) > 15, spec.name
        assert "ctx" not in spec.args
        assert set(spec.values) <= set(spec.args)
        assert bool(spec.values) == (spec.kind == "filter")
        assert spec.kind != "wrap" or spec.args[0] == "proceed"


def test_pluggy_reads_the_specifications_and_the_markers_as_its_own():
    def lunar_before_step(step, ctx):
        pass

    pluggy.HookimplMarker("lunar")(lunar_before_step, tryfirst=True)
    marked = lunar_before_step.lunar_impl

    @hookimpl(tryfirst=True)
    def lunar_before_step(step, ctx):
        return "skip"

    assert lunar_before_step.lunar_impl == marked

    manager = pluggy.PluginManager("lunar")
    manager.add_hookspecs(hookspecs)
    manager.register(types.SimpleNamespace(lunar_before_step=lunar_before_step))
    manager.check_pending()
    assert manager.hook.lunar_before_step(step=1, ctx=None) == "skip"  # firstresult: a decide hook
    assert set(SPECS) == {n.removeprefix("lunar_") for n in vars(manager.hook) if n.startswith("lunar_")}


# --- binding ---------------------------------------------------------------------------------------------------------


def test_a_hook_without_implementation_is_none():
    bus = Bus([Recorder()])
    assert bus.before_step is None
    assert bus.after_step is not None
    assert all(getattr(Bus(), name) is None for name in SPECS)


def test_an_implementation_takes_any_subset_of_the_arguments_in_any_order():
    seen = []
    ctx = object()
    bus = Bus(
        [
            plugin("a", lunar_micro_start=lambda self: seen.append("none")),
            plugin("b", lunar_micro_start=lambda self, ctx, weight, i: seen.append((i, weight, ctx))),
            plugin("c", lunar_micro_start=lambda self, *, n, step=7: seen.append((n, step))),
            plugin("d", lunar_micro_start=lambda self, i, **rest: seen.append((i, rest))),
            plugin("e", lunar_micro_start=lambda self, unknown=3, n=None: seen.append((unknown, n))),
        ],
        ctx=ctx,
    )
    bus.micro_start(0, 4, 8.0)
    assert seen == ["none", (0, 8.0, ctx), (4, 7), (0, {"n": 4, "weight": 8.0, "ctx": ctx}), (3, 4)]


def test_a_module_of_functions_is_a_plugin():
    module = types.ModuleType("my_hooks")
    exec("import lunar_core\nseen = []\ndef lunar_after_step(step): seen.append(step)", module.__dict__)
    bus = Bus([module])
    bus.after_step(3)
    assert module.seen == [3]
    assert list(bus.plugins()) == ["my_hooks"]


def test_a_misspelled_hook_is_refused_with_the_nearest_names():
    with pytest.raises(HookError, match=r"'typo'.*lunar_befor_step") as info:
        Bus([plugin("typo", lunar_befor_step=lambda self: None)])
    assert "lunar_before_step" in str(info.value)


def test_an_optional_hook_may_be_unknown():
    class Future:
        @hookimpl(optionalhook=True)
        def lunar_of_a_later_version(self):
            pass

    Bus([Future()])


def test_an_argument_that_the_hook_does_not_have_is_refused_with_those_it_has():
    with pytest.raises(HookError, match=r"'x'.*lunar_after_step has no argument 'stepp'") as info:
        Bus([plugin("x", lunar_after_step=lambda self, stepp: None)])
    assert "step, ctx" in str(info.value)


def test_a_class_in_place_of_an_object_is_refused():
    with pytest.raises(HookError, match="Recorder' is a class"):
        Bus([Recorder])


def test_the_same_object_twice_is_refused_and_two_of_one_class_get_two_names():
    one = Recorder("r")
    with pytest.raises(HookError, match="given twice"):
        Bus([one, one])
    assert list(Bus([one, Recorder("r")]).plugins()) == ["r", "r#2"]


def test_hookimpl_refuses_a_function_that_is_no_hook_and_an_unknown_band():
    with pytest.raises(HookError, match="begins with 'lunar_'"):
        hookimpl(lambda: None)
    with pytest.raises(HookError, match="unknown band 'last'"):

        @hookimpl(band="last")
        def lunar_flush():
            pass

    with pytest.raises(HookError, match="unknown band 'last'"):
        Bus([Recorder(band="last")])


def test_a_hook_asked_of_the_bus_by_a_wrong_name_is_an_error():
    with pytest.raises(HookError, match="lunar_after_stepp") as info:
        _ = Bus().after_stepp
    assert "after_step" in str(info.value)


# --- order -----------------------------------------------------------------------------------------------------------


def run_order(*plugins):
    seen = plugins[0].seen
    Bus(plugins).after_step(1)
    return [name for name, _ in seen]


def test_bands_come_first_whatever_the_order_of_registration():
    seen = []
    bands = ["checkpoint", "logger", "reader", "editor", "control"]
    assert run_order(*(named(seen, b, band=b, draws=False) for b in bands)) == bands[::-1]


def test_before_and_after_order_within_a_band_and_registration_settles_the_rest():
    seen = []
    a = named(seen, "a", after=("callbacks.c",))
    b = named(seen, "b", before="a")
    c = named(seen, "callbacks.c", after="absent")
    d = named(seen, "d", before=("*no such*", "b"))
    assert run_order(a, b, c, d) == ["callbacks.c", "d", "b", "a"]


def test_short_names_and_class_names_are_found_by_before():
    seen = []
    late = named(seen, "dist/callbacks.clip")
    assert run_order(late, named(seen, "x", before="clip")) == ["x", "dist/callbacks.clip"]
    seen.clear()
    other = type("Clipper", (Recorder,), {})("whatever", seen)
    assert run_order(other, named(seen, "x", before="Clipper")) == ["x", "whatever"]


def test_tryfirst_and_trylast_hold_within_the_band():
    seen = []

    class First:
        @hookimpl(tryfirst=True)
        def lunar_after_step(self):
            seen.append(("first", 0))

    class Last:
        @hookimpl(trylast=True)
        def lunar_after_step(self):
            seen.append(("last", 0))

    reader = named(seen, "reader", band="reader")
    Bus([reader, Last(), named(seen, "mid"), First()]).after_step(1)
    assert [n for n, _ in seen] == ["first", "mid", "last", "reader"]


def test_a_cycle_is_refused_and_names_its_plugins():
    seen = []
    with pytest.raises(HookError, match="cycle") as info:
        run_order(
            named(seen, "one", before="two"),
            named(seen, "two", before="three"),
            named(seen, "three", before="one"),
            named(seen, "bystander", after="one"),
        )
    message = str(info.value)
    loop = ["one", "two", "three", "one", "two"]
    assert any(" -> ".join(repr(n) for n in [*loop[i : i + 3], loop[i]]) in message for i in range(3))
    assert "bystander" not in message


def test_a_constraint_against_the_bands_is_refused():
    seen = []
    with pytest.raises(HookError, match="'early' asks to run before 'edit', but band 'editor' comes before"):
        run_order(named(seen, "early", band="reader", before="edit"), named(seen, "edit"))


def test_options_of_one_hook_win_over_those_of_the_plugin():
    class Mixed:
        band = "logger"
        draws = False

        @hookimpl(band="control")
        def lunar_before_step(self):
            return "skip"

        def lunar_log(self, record):
            pass

    rows = {row["hook"]: row for row in Bus([Mixed()]).describe()}
    assert rows["lunar_before_step"]["plugins"][0]["band"] == "control"
    assert rows["lunar_log"]["plugins"][0]["band"] == "logger"


# --- kinds -----------------------------------------------------------------------------------------------------------


def test_a_filter_feeds_each_result_to_the_next_and_none_keeps_the_value():
    bus = Bus(
        [
            plugin("plus", lunar_after_loss=lambda self, loss: loss + 1),
            plugin("look", lunar_after_loss=lambda self, loss, weight: None),
            plugin("times", lunar_after_loss=lambda self, loss, weight: loss * weight),
        ]
    )
    assert bus.after_loss(2.0, 10) == 30.0


def test_a_filter_of_two_values_takes_a_pair():
    swap = plugin("swap", lunar_before_loss=lambda self, outputs, targets: (targets, outputs))
    assert Bus([swap]).before_loss(1, 2) == (2, 1)
    wrong = plugin("wrong", lunar_before_loss=lambda self, outputs: outputs)
    with pytest.raises(HookError, match=r"'wrong'.*returned int") as info:
        Bus([wrong]).before_loss(1, 2)
    assert "(outputs, targets)" in str(info.value)


def test_the_first_answer_decides_and_the_rest_is_not_asked():
    asked = []

    def answer(value):
        return lambda self: asked.append(value) or value

    bus = Bus([plugin("a", lunar_before_step=answer(None)), plugin("b", lunar_before_step=answer("skip")),
               plugin("c", lunar_before_step=answer("step"))])  # fmt: skip
    assert bus.before_step(0) == "skip"
    assert asked == [None, "skip"]


def test_an_answer_that_the_hook_does_not_know_is_refused():
    with pytest.raises(HookError, match=r"'a'.*lunar_before_step answered 'jump'") as info:
        Bus([plugin("a", lunar_before_step=lambda self: "jump")]).before_step(0)
    assert "'step', 'skip'" in str(info.value)


def test_readers_see_a_decided_question_but_cannot_answer_it():
    seen = []
    reader = plugin("reader", band="reader", lunar_before_step=lambda self: seen.append(1))
    control = plugin("control", band="control", lunar_before_step=lambda self: "skip")
    assert Bus([reader, control]).before_step(0) == "skip"
    assert seen == [1]


def test_wrappers_nest_in_order_and_may_proceed_as_often_as_they_like():
    trace = []

    def twice(self, proceed, closure):
        trace.append("in")
        first = proceed()
        closure()
        return first + proceed()

    bus = Bus(
        [
            plugin("outer", lunar_optimizer_step=lambda self, proceed: ("outer", proceed())),
            plugin("inner", lunar_optimizer_step=twice),
        ]
    )
    assert bus.optimizer_step(lambda: 21, None, lambda: trace.append("closure")) == ("outer", 42)
    assert trace == ["in", "closure"]


def test_a_wrapper_that_does_not_proceed_replaces_the_step():
    bus = Bus([plugin("own", lunar_optimizer_step=lambda self: "mine")])
    assert bus.optimizer_step(lambda: pytest.fail("stepped"), None, None) == "mine"


def test_a_reader_may_not_wrap():
    with pytest.raises(HookError, match=r"'r'.*lunar_optimizer_step in band 'reader'"):
        Bus([plugin("r", band="reader", lunar_optimizer_step=lambda self, proceed: proceed())])


# --- isolation -------------------------------------------------------------------------------------------------------


def fails(name, **members):
    def lunar_after_step(self):
        raise ValueError("boom")

    return plugin(name, lunar_after_step=lunar_after_step, **members)


def test_an_editors_exception_propagates_and_names_the_plugin():
    with pytest.raises(ValueError, match="boom") as info:
        Bus([fails("bad")], strict=False).after_step(1)
    assert info.value.__notes__ == ["raised by plugin 'bad' in lunar_after_step"]


@pytest.mark.parametrize("band", ["reader", "logger"])
def test_a_reader_that_raises_is_switched_off_with_one_warning_and_the_rest_goes_on(band):
    seen, told = [], []
    bad = fails("bad", band=band, lunar_flush=lambda self: seen.append("bad flush"))
    watch = plugin("watch", lunar_plugin_error=lambda self, plugin, hook, exc: told.append((plugin, hook, str(exc))))
    bus = Bus([bad, named(seen, "good", band="checkpoint"), watch], strict=False)
    assert bus.flush is not None
    with pytest.warns(PluginWarning, match=r"'bad' is switched off .*: lunar_after_step raised ValueError: boom"):
        bus.after_step(1)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        bus.after_step(2)
    assert seen == [("good", 1), ("good", 2)]
    assert told == [("bad", "lunar_after_step", "boom")]
    assert bus.flush is None  # all of its hooks are off
    assert bus.disabled() == ["bad"]


def test_strict_makes_a_readers_exception_fatal(monkeypatch):
    monkeypatch.setenv("LUNAR_PLUGIN_STRICT", "1")
    with pytest.raises(HookError, match=r"'bad' \(reader\) failed in lunar_after_step: ValueError: boom"):
        Bus([fails("bad", band="reader")]).after_step(1)


def test_a_reader_of_plugin_errors_that_fails_itself_is_switched_off_too():
    def lunar_plugin_error(self):
        raise KeyError("again")

    worse = plugin("worse", band="reader", lunar_plugin_error=lunar_plugin_error)
    bus = Bus([fails("bad", band="reader"), worse], strict=False)
    with pytest.warns(PluginWarning) as caught:
        bus.after_step(1)
    assert sorted(bus.disabled()) == ["bad", "worse"]
    assert len(caught) == 2


def test_what_a_reader_returns_is_ignored_with_a_warning():
    bus = Bus([plugin("r", band="reader", lunar_after_loss=lambda self, loss: loss * 0)], strict=False)
    with pytest.warns(PluginWarning, match=r"'r': what lunar_after_loss returns is ignored"):
        assert bus.after_loss(3.0, 1) == 3.0
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert bus.after_loss(4.0, 1) == 4.0


def draw():
    return random.random(), float(np.random.rand()), lunar_core.random.stream("default").next().random()


@pytest.mark.parametrize("band", ["reader", "logger"])
@pytest.mark.parametrize("raises", [False, True])
def test_readers_leave_the_random_state_as_they_found_it(band, raises):
    def lunar_after_step(self):
        draw()
        np.random.randn()  # leaves half a pair behind in NumPy's generator
        if raises:
            raise ValueError

    random.seed(1)
    np.random.seed(1)
    lunar_core.random.stream("default").index = 0
    expected = draw()
    random.seed(1)
    np.random.seed(1)
    lunar_core.random.stream("default").index = 0
    bus = Bus([plugin("noisy", band=band, lunar_after_step=lunar_after_step)], strict=False)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        bus.after_step(1)
    assert draw() == expected


def test_an_editor_may_draw():
    random.seed(1)
    first = random.random()
    random.seed(1)
    Bus([plugin("noise", lunar_after_step=lambda self: random.random() and None)]).after_step(1)
    assert random.random() != first


def test_readers_that_promise_not_to_draw_cost_no_saving(monkeypatch):
    from lunar_core import hooks

    monkeypatch.setattr(hooks, "save_random", lambda: pytest.fail("saved"))
    seen = []
    Bus([named(seen, "r", band="reader", draws=False)]).after_step(1)
    assert seen == [("r", 1)]


# --- pairs -----------------------------------------------------------------------------------------------------------


def pair_log():
    seen = []
    hooks = ("fit_start", "fit_end", "epoch_start", "epoch_end", "batch_end", "teardown")
    members = {f"lunar_{h}": (lambda self, _h=h, **kw: seen.append(_h)) for h in hooks}
    return seen, type("Log", (), members)()


def test_pairs_close_in_reverse_also_on_an_error():
    seen, log = pair_log()
    bus = Bus([log])
    with pytest.raises(RuntimeError), bus.pairs() as pairs:
        pairs.open("fit_start", (), "fit_end", (None,))
        pairs.open("epoch_start", (0,), "epoch_end", lambda: (0, {}))
        pairs.open(None, (), "batch_end", (None, {}))
        raise RuntimeError
    assert seen == ["fit_start", "epoch_start", "batch_end", "epoch_end", "fit_end"]


def test_closing_a_pair_closes_what_was_opened_inside_it_and_returns_the_filtered_value():
    seen, log = pair_log()
    bus = Bus([log, plugin("plus", lunar_epoch_end=lambda self, metrics: {**metrics, "b": 2})])
    with bus.pairs() as pairs:
        pairs.open("epoch_start", (0,), "epoch_end", (0, {}))
        pairs.open(None, (), "batch_end", (None, {}))
        assert pairs.close("epoch_end", 0, {"a": 1}) == {"a": 1, "b": 2}
        assert len(pairs) == 0
    assert seen == ["epoch_start", "batch_end", "epoch_end"]
    with Bus().pairs() as pairs:
        pairs.open("epoch_start", (0,), "epoch_end", (0, {}))
        assert pairs.close("epoch_end", 0, {"a": 1}) == {"a": 1}


def test_a_start_that_raises_still_gets_its_end():
    seen, log = pair_log()
    bad = plugin("bad", lunar_fit_start=lambda self: 1 / 0)
    with pytest.raises(ZeroDivisionError), Bus([log, bad]).pairs() as pairs:
        pairs.open("fit_start", (), "fit_end", (None,))
    assert seen == ["fit_start", "fit_end"]


def test_an_end_reaches_every_plugin_and_every_pair_even_if_one_raises():
    seen, log = pair_log()
    bad = plugin("bad", lunar_epoch_end=lambda self: 1 / 0, band="control")
    with pytest.raises(ZeroDivisionError), Bus([bad, log]).pairs() as pairs:
        pairs.open("fit_start", (), "fit_end", (None,))
        pairs.open("epoch_start", (0,), "epoch_end", (0, {}))
    assert seen == ["fit_start", "epoch_start", "epoch_end", "fit_end"]


def test_an_error_while_closing_does_not_hide_the_first_error():
    bad = plugin("bad", lunar_fit_end=lambda self: 1 / 0)
    with pytest.raises(KeyError) as info, Bus([bad]).pairs() as pairs:
        pairs.open("fit_start", (), "fit_end", (None,))
        raise KeyError("first")
    assert "while closing: ZeroDivisionError" in "".join(info.value.__notes__)


# --- the set of plugins changes --------------------------------------------------------------------------------------


def test_plugins_come_and_go_during_a_run():
    seen = []
    bus = Bus()
    one = named(seen, "one")
    bus.add(one)
    bus.after_step(1)
    bus.remove(one)
    assert bus.after_step is None
    assert seen == [("one", 1)]
    with pytest.raises(HookError, match="not a plugin of this run"):
        bus.remove(one)


def test_plugins_of_the_manager_take_part_before_those_of_the_run():
    seen = []
    manager = pluggy.PluginManager("lunar")
    manager.add_hookspecs(hookspecs)

    class Installed:
        @hookimpl
        def lunar_after_step(self, step):
            seen.append(("installed", step))

    manager.register(Installed(), "plugins.installed")
    bus = Bus([named(seen, "own")], manager=manager)
    bus.after_step(1)
    assert seen == [("installed", 1), ("own", 1)]
    assert list(bus.plugins()) == ["plugins.installed", "own"]


# --- what the user sees ----------------------------------------------------------------------------------------------


def test_describe_lists_the_loop_in_order_with_who_runs_where():
    bus = Bus([named([], "late", band="logger"), named([], "soon", band="control")])
    rows = bus.describe()
    assert [row["hook"] for row in rows] == ["lunar_" + name for name in SPECS]
    after_step = next(row for row in rows if row["hook"] == "lunar_after_step")
    assert [(p["plugin"], p["band"]) for p in after_step["plugins"]] == [("soon", "control"), ("late", "logger")]
    assert after_step["plugins"][0]["function"].endswith("Recorder.lunar_after_step")
    assert after_step["kind"] == "notify"


def test_the_bill_counts_calls_and_time_only_while_timing_is_on():
    import time

    slow = plugin("slow", lunar_after_step=lambda self: time.sleep(0.002))
    bus = Bus([named([], "fast"), slow])
    bus.after_step(1)
    assert bus.bill()["slow"]["calls"] == 0
    bus.timing = True
    for step in range(3):
        bus.after_step(step)
    bus.timing = False
    bus.after_step(9)
    bill = bus.bill()
    assert list(bill) == ["slow", "fast"]
    assert bill["slow"]["calls"] == bill["fast"]["calls"] == 3
    assert bill["slow"]["seconds"] >= 0.006


def test_a_reserved_hook_is_announced_as_not_fired():
    with pytest.warns(PluginWarning, match="does not fire lunar_before_allreduce"):
        Bus([plugin("eager", lunar_before_allreduce=lambda self: None)])


def test_the_generated_function_shows_its_source_in_a_traceback():
    import traceback

    try:
        Bus([fails("bad")]).after_step(1)
    except ValueError:
        assert "f0()" in traceback.format_exc()


def test_module_and_op_hooks_select_by_path_class_and_name():
    from lunar_core.module import Module

    class Head(Module):
        pass

    class Op:
        def __init__(self, name):
            self.name = name

    seen = []

    class Watch:
        band = "reader"

        @hookimpl(select=("encoder.*", Head))
        def lunar_module_forward_post(self, path):
            seen.append(path)

        @hookimpl(band="editor", select="mat*")
        def lunar_op_forward_pre(self, op, inputs):
            return (*inputs, op.name)

    bus = Bus([Watch()])
    for module, path in ((Module(), "encoder.0"), (Module(), "decoder.0"), (Head(), "decoder.head")):
        assert bus.module_forward_post(module, path, (), 7) == 7
    assert seen == ["encoder.0", "decoder.head"]
    assert bus.op_forward_pre(Op("matmul"), (1,)) == (1, "matmul")
    assert bus.op_forward_pre(Op("add"), (1,)) == (1,)


def test_what_cannot_be_selected_is_refused():
    class Wrong:
        @hookimpl(select="encoder.*")
        def lunar_after_step(self):
            pass

    class Class:
        @hookimpl(select=int)
        def lunar_op_forward_pre(self):
            pass

    for bad in (Wrong(), Class()):
        with pytest.raises(HookError, match="cannot select"):
            Bus([bad])


def test_the_bill_of_a_plugin_that_was_removed_stays():
    bus = Bus(timing=True)
    for _ in range(2):
        late = named([], "late")
        bus.add(late, "late")
        bus.after_step(1)
        bus.remove(late)
    assert bus.bill()["late"]["calls"] == 2 and bus.plugins() == {}
