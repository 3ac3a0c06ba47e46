"""The callbacks that ship with training, and the run directory."""

from __future__ import annotations

import csv
import hashlib
import io
import json
import re

import numpy as np
import pytest
from training_parts import Descent, Line, MeanError, SquaredError, plugin, regression

import lunar_core as lc
from lunar_core.errors import ConfigError, HyperparameterError, SerializationError
from lunar_core.plugins import PluginWarning
from lunar_training import Trainer
from lunar_training.callbacks.checkpoint import Checkpoint
from lunar_training.callbacks.csv_logger import CSVLogger
from lunar_training.callbacks.early_stopping import EarlyStopping
from lunar_training.callbacks.history_plot import HistoryPlot
from lunar_training.callbacks.lr_monitor import LRMonitor
from lunar_training.callbacks.progress import Progress, epoch_line, figure
from lunar_training.rundir import plain


def trainer(*plugins, lr=0.05, progress="off", **options):
    model = Line()
    return Trainer(
        model, SquaredError(), Descent(model.parameters(), lr), metrics={"mae": MeanError()}, plugins=plugins,
        progress=progress, **options
    )  # fmt: skip


def script(values):
    """A plugin that makes ``val_loss`` follow ``values``, and remembers the weights of each epoch."""

    def lunar_epoch_end(self, epoch, metrics, ctx):
        self.weights.append(ctx.model.w.data.copy())
        return {**metrics, "val_loss": values[epoch]}

    return plugin(lunar_epoch_end=lunar_epoch_end, weights=[])


# --- early stopping --------------------------------------------------------------------------------------------------


def test_early_stopping_waits_for_its_patience():
    t = trainer(script([1.0, 0.5, 0.6, 0.55, 0.7, 0.1]), EarlyStopping(patience=3))
    assert len(t.fit(regression(), epochs=6)) == 5
    assert t.context.stop_reason == "val_loss has not improved for 3 epochs (best 0.5)"


def test_early_stopping_counts_from_the_last_improvement_larger_than_min_delta():
    values = [1.0, 0.95, 0.92, 0.85, 0.84, 0.83]
    assert len(trainer(script(values), EarlyStopping(patience=2, min_delta=0.1)).fit(regression(), epochs=6)) == 3
    assert len(trainer(script(values), EarlyStopping(patience=2, min_delta=0.01)).fit(regression(), epochs=6)) == 6


def test_early_stopping_can_maximise_and_nan_is_no_improvement():
    stop = EarlyStopping(monitor="val_loss", mode="max", patience=2)
    assert len(trainer(script([1.0, 2.0, 1.5, float("nan"), 3.0]), stop).fit(regression(), epochs=5)) == 4


def test_early_stopping_puts_the_best_weights_back():
    values = script([1.0, 0.5, 0.8, 0.9])
    t = trainer(values, EarlyStopping(patience=2, restore_best=True))
    t.fit(regression(), epochs=4)
    np.testing.assert_array_equal(t.model.w.data, values.weights[1])
    assert not np.array_equal(values.weights[1], values.weights[-1])


def test_early_stopping_can_be_used_for_a_second_run():
    stop = EarlyStopping(patience=1)
    t = trainer(script([1.0, 2.0, 5.0, 6.0]), stop)
    assert len(t.fit(regression(), epochs=9)) == 2
    assert len(t.fit(regression(), epochs=9)) == 4


def test_a_figure_that_does_not_exist_is_named_with_those_that_do():
    with pytest.raises(HyperparameterError, match=r"monitor='val_loss' is no figure .*there are loss, mae") as info:
        trainer(EarlyStopping()).fit(regression())
    assert "pass val= to fit()" in str(info.value)
    with pytest.raises(HyperparameterError, match="patience must be"):
        EarlyStopping(patience=0)
    with pytest.raises(HyperparameterError, match="patiense"):
        EarlyStopping(patiense=3)


# --- records ---------------------------------------------------------------------------------------------------------


def test_the_learning_rate_is_among_the_figures_of_steps_and_epochs():
    records = []
    spy = plugin(lunar_log=lambda self, record: records.append(record), band="logger", draws=False)
    halve = plugin(lunar_after_step=lambda self, ctx: setattr(ctx.optimizer, "lr", ctx.optimizer.lr / 2))
    history = trainer(LRMonitor(), spy, halve, lr=0.08).fit(regression(n=10), batch_size=5)
    assert history["lr"] == [0.02]
    assert [r["lr"] for r in records if r["event"] == "step"] == [0.04, 0.02]


def test_csv_logger_writes_steps_or_epochs_as_they_come(tmp_path):
    steps = CSVLogger(path=str(tmp_path / "steps.csv"), event="step", every=2)
    epochs = CSVLogger(path=str(tmp_path / "epochs.csv"))
    sizes = []
    watch = plugin(lunar_epoch_start=lambda self: sizes.append((tmp_path / "epochs.csv").stat().st_size))
    trainer(steps, epochs, watch).fit(regression(n=20), epochs=3, batch_size=4)
    with open(tmp_path / "steps.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [r["step"] for r in rows] == ["2", "4", "6", "8", "10", "12", "14"]
    assert list(rows[0]) == ["epoch", "step", "batch", "loss"]
    with open(tmp_path / "epochs.csv", newline="") as file:
        assert [r["epoch"] for r in csv.DictReader(file)] == ["1", "2", "3"]
    assert sizes[0] == 0 < sizes[1] < sizes[2]  # on the disk after each epoch


def test_csv_logger_that_cannot_write_does_not_stop_the_run(tmp_path):
    t = trainer(CSVLogger(path=str(tmp_path / "no" / "such" / "folder.csv")))
    with pytest.warns(PluginWarning, match="'csv_logger' is switched off"):
        t.fit(regression())
    assert len(t.history) == 1


# --- checkpoint ------------------------------------------------------------------------------------------------------


def test_checkpoint_keeps_the_weights_of_the_best_epoch(tmp_path):
    values = script([1.0, 0.5, 0.8])
    committed = []
    watch = plugin(lunar_after_commit=lambda self, path, digest: committed.append((path, digest)))
    path = tmp_path / "best.safetensors"
    t = trainer(values, Checkpoint(path=str(path)), watch)
    t.fit(regression(), epochs=3)
    np.testing.assert_array_equal(lc.load(path)["w"], values.weights[1])
    assert [p for p, _ in committed] == [str(path)] * 2
    assert committed[-1][1] == hashlib.sha256(path.read_bytes()).hexdigest()
    t.model.load_state_dict(lc.load(path))
    np.testing.assert_array_equal(t.model.w.data, values.weights[1])


def test_a_plugin_decides_whether_to_save_and_what(tmp_path):
    path = tmp_path / "w.safetensors"
    decide = plugin(
        lunar_should_save=lambda self, ctx: ctx.clock.epoch == 2,
        lunar_checkpoint_collect=lambda self, state, ctx: {**state, "epoch": np.array(ctx.clock.epoch)},
    )
    trainer(script([1.0, 2.0, 0.5]), Checkpoint(path=str(path)), decide).fit(regression(), epochs=3)
    assert lc.load(path)["epoch"] == 2


def test_a_checkpoint_that_cannot_be_written_ends_the_run_and_leaves_the_old_one_whole(tmp_path):
    path = tmp_path / "w.safetensors"
    unwritable = plugin(lunar_checkpoint_collect=lambda self, state, ctx: _after(1, state, ctx))
    with pytest.raises(SerializationError):
        trainer(Checkpoint(path=str(path), monitor=None), unwritable).fit(regression(), epochs=3)
    assert lc.load(path).keys() == {"w", "b"}
    assert [p.name for p in tmp_path.iterdir()] == ["w.safetensors"]


def _after(epochs, state, ctx):
    return {**state, "bad": object()} if ctx.clock.epoch > epochs else None


# --- the run directory -----------------------------------------------------------------------------------------------


def test_a_run_directory_holds_config_environment_history_and_weights(tmp_path):
    out = tmp_path / "runs" / "first"
    t = trainer(HistoryPlot(), CSVLogger(event="step"), Checkpoint(), seed=3)
    t.fit(regression(), val=regression(), epochs=2, batch_size=16, out=out)
    assert sorted(p.name for p in out.iterdir()) == [
        "best.safetensors", "checkpoints", "config.json", "environment.json", "history.csv", "history.json", "history.png",
        "metrics.csv", "weights.safetensors",
    ]  # fmt: skip
    config = json.loads((out / "config.json").read_text())
    assert (config["epochs"], config["batch_size"], config["seed"], config["examples"]) == (2, 16, 3, 50)
    environment = json.loads((out / "environment.json").read_text())
    assert environment["versions"]["numpy"] == np.__version__
    assert environment["plugins"]["checkpoint"] == "lunar_training.callbacks.checkpoint:Checkpoint"
    assert environment["seed"] == 3 and environment["device"] == "cpu"
    assert json.loads((out / "history.json").read_text()) == t.history.rows
    np.testing.assert_array_equal(lc.load(out / "weights.safetensors")["w"], t.model.w.data)


def test_a_directory_that_holds_a_run_is_refused(tmp_path):
    trainer().fit(regression(), out=tmp_path / "run")
    before = (tmp_path / "run" / "weights.safetensors").read_bytes()
    with pytest.raises(ConfigError, match="already holds a run"):
        trainer().fit(regression(), out=tmp_path / "run")
    assert (tmp_path / "run" / "weights.safetensors").read_bytes() == before
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match="cannot create the run directory"):
        trainer().fit(regression(), out=tmp_path / "file" / "run")


def test_a_run_that_fails_leaves_its_history_and_weights(tmp_path):
    def lunar_epoch_start(self, epoch):
        if epoch == 1:
            raise RuntimeError

    with pytest.raises(RuntimeError):
        trainer(plugin(lunar_epoch_start=lunar_epoch_start)).fit(regression(), epochs=3, out=tmp_path / "run")
    assert len(json.loads((tmp_path / "run" / "history.json").read_text())) == 1
    assert set(lc.load(tmp_path / "run" / "weights.safetensors")) == {"w", "b"}


def test_plain_turns_whatever_it_gets_into_json():
    value = {"a": np.float32(0.5), 1: (np.int64(2), {3}), "f": len, "n": float("nan"), "x": None, "t": True}
    assert plain(value) == {"a": 0.5, "1": [2, [3]], "f": "<built-in function len>", "n": "nan", "x": None, "t": True}


# --- progress --------------------------------------------------------------------------------------------------------


class Terminal(io.StringIO):
    def isatty(self):
        return True


def shown(stream, mode="auto", **options):
    t = trainer(**options)
    t.plugins[0] = Progress(mode=mode, stream=stream)
    t.fit(regression(), val=regression(), epochs=3)
    return stream.getvalue()


def test_progress_prints_one_line_per_epoch_where_there_is_no_terminal():
    lines = shown(io.StringIO()).splitlines()
    assert len(lines) == 3
    assert lines[0].startswith("epoch 1/3  loss ")
    assert "  val_mae " in lines[2] and lines[2].endswith(" s")


def test_progress_draws_bars_on_a_terminal_and_keeps_the_lines(monkeypatch):
    monkeypatch.setenv("TERM", "xterm")
    text = shown(Terminal())
    assert "\x1b[" in text and "epochs" in text
    assert re.search(r"\d+\.\d/s", text)  # the rate
    assert text.count("epoch 3/3  loss") == 1
    monkeypatch.setenv("TERM", "dumb")
    assert "\x1b[" not in shown(Terminal())


def test_progress_can_be_switched_off_and_tells_why_a_run_stopped():
    assert shown(io.StringIO(), "off") == ""
    stream = io.StringIO()
    t = trainer(plugin(lunar_after_step=lambda self, ctx: ctx.stop("enough")))
    t.plugins[0] = Progress(stream=stream)
    t.fit(regression(), epochs=4)
    assert stream.getvalue().splitlines()[-1] == "stopped: enough"


def test_figures_are_shown_in_as_many_digits_as_say_something():
    assert [figure(v) for v in (0.0, 0.5, 12.34567, 1e-5, 123456.0, 3, float("nan"))] == [
        "0.0000", "0.5000", "12.3457", "1.000e-05", "1.235e+05", "3", "nan",
    ]  # fmt: skip
    record = {"event": "epoch", "epoch": 7, "step": 9, "loss": 0.25, "seconds": 1.26}
    assert epoch_line(record, 100) == "epoch   7/100  loss 0.2500  1.3 s"
