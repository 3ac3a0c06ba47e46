"""lunar hooks: the loop as it is fired, who runs where, and what it costs."""

from __future__ import annotations

import numpy as np

from lunar_core.hookspecs import SPECS
from lunar_training.order import LOOP


def rows(out):
    return [line.split("\t") for line in out.split("\n\n")[0].splitlines()]


def test_the_loop_names_every_hook_once():
    names = [name for name, _ in LOOP]
    assert sorted(names) == sorted(SPECS)


def test_the_loop_is_in_the_order_in_which_a_real_run_fires_it(tmp_path):
    import lunar_core as lc
    from lunar_training import Trainer

    seen = []
    beside = ("log", "flush", "metric_compute", "wrap", "plugin_error", "exception", "signal", "loss_nonfinite")

    def note(name):
        return lambda self: seen.append(name)

    hooks = {f"lunar_{n}": note(n) for n, s in SPECS.items() if s.live and s.kind != "wrap" and n not in beside}
    watch = type("Watch", (), hooks)()
    layers = lc.layers
    model = layers.Sequential(layers.Dense(4), layers.ReLU(), layers.Dense(1))
    x = np.random.default_rng(0).normal(size=(8, 3)).astype(np.float32)
    data = x, x.sum(1, keepdims=True)
    Trainer(model, "mse", "adam", scheduler="cosine", plugins=[watch], progress="off").fit(data, val=data, batch_size=4)
    # Evaluation and building reach some of the hooks as well: what counts is the training pass.
    first = seen[seen.index("batch_start") :]
    order = [name for name, _ in LOOP]
    inner = list(dict.fromkeys(first))
    module_and_op = ("module", "op")
    plain = [n for n in inner if SPECS[n].group not in module_and_op and order.index(n) > order.index("after_fetch")]
    assert plain == sorted(plain, key=order.index)
    assert [n for n in dict.fromkeys(seen) if n in order[:8]] == [n for n in order[:8] if n in seen]
    # The gradient rules of the loss run before any module's turn.
    engine = [n for n in inner if SPECS[n].group in module_and_op and n.startswith(("module", "op_forward"))]
    assert engine == sorted(engine, key=order.index)


def test_it_shows_who_runs_where_in_the_order_of_the_run(lunar):
    code, out, err = lunar("hooks", "--plugin", "lr_monitor", "--plugin", "early_stopping")
    assert (code, err) == (0, "")
    shown = rows(out)
    assert shown[0] == ["hook", "kind", "plugin", "band", "order"]
    log = [row[2:4] for row in shown[[r[0].strip() for r in shown].index("lunar_log") :]][:4]
    assert log[0] == ["early_stopping", "control"]
    assert log[1:] == [["lr_monitor", "editor"], ["progress", "reader"], ["history_recorder", "logger"]]
    hooks = [row[0].strip() for row in shown[1:] if row[0]]
    assert hooks.index("lunar_setup") < hooks.index("lunar_batch_end") < hooks.index("lunar_log")
    assert hooks[-1] == "lunar_teardown"


def test_before_and_after_are_shown(lunar, tmp_path):
    code, out, _ = lunar("hooks", "--plugin", "label_smoothing", "--plugin", "mixup")
    assert code == 0
    assert [row[2] for row in rows(out) if row[3:] and "after" in row[-1]] == ["label_smoothing"]
    assert out.index("mixup") < out.index("label_smoothing")


def test_all_shows_the_hooks_that_nobody_implements_and_doc_what_they_are_for(lunar):
    _, out, _ = lunar("hooks", "--all", "--doc")
    shown = rows(out)
    assert {row[0].strip() for row in shown[1:] if row[0]} == {f"lunar_{name}" for name in SPECS}
    assert any("reserved" in row[1] for row in shown)
    assert "The weights have changed" in out


def test_trace_counts_calls_and_milliseconds_a_step(lunar):
    code, out, err = lunar("hooks", "--trace", "--steps", "5", "--plugin", "lr_monitor")
    assert (code, err) == (0, "")
    first, bill = out.split("\n\n")
    shown = [line.split("\t") for line in first.splitlines()]
    assert shown[0][-2:] == ["calls/step", "ms/step"]
    batch = next(row for row in shown if row[0].strip() == "lunar_batch_end")
    assert batch[-2] == "1.00" and float(batch[-1]) > 0
    assert bill.startswith("plugin\tcalls/step\tms/step\tshare\n") and "\n5 steps of " in bill


def test_a_cycle_is_said_and_an_unknown_plugin_too(lunar):
    code, _, err = lunar("hooks", "--plugin", "lr_moniter")
    assert code == 2 and "lr_monitor" in err
