"""lr_find, find_batch_size, dry_run, overfit: what they say, and that they leave no trace."""

from __future__ import annotations

import os
import signal
import subprocess
import sys

import numpy as np
import pytest
from instrument_parts import images, network
from training_parts import plugin

import lunar_core as lc
from lunar_core.errors import DataError, HyperparameterError
from lunar_core.hooks import save_random
from lunar_training import Trainer, dry_run, find_batch_size, lr_find, overfit


def trainer(*plugins, lr=0.01, model=None, name="adam", **options):
    model = network() if model is None else model
    return Trainer(
        model, "cross_entropy", {"@optimizer": name, "lr": lr}, metrics=["accuracy"], plugins=plugins, seed=3,
        progress="off", **options
    )  # fmt: skip


TOOLS = {
    "lr_find": lambda t, data: lr_find(t, data, steps=20, batch_size=16),
    "find_batch_size": lambda t, data: find_batch_size(t, data, start=16),
    "dry_run": lambda t, data: dry_run(t, data, batch_size=16),
    "overfit": lambda t, data: overfit(t, data, steps=8, batch_size=16),
}


@pytest.mark.parametrize("when", ["before", "between"])
@pytest.mark.parametrize("name", TOOLS)
def test_a_tool_leaves_no_trace(name, when):
    data = images()

    def play(tool):
        t = trainer(scheduler={"@scheduler": "cosine"})
        if when == "between":
            t.fit(data, epochs=1, batch_size=16)
        if tool is not None:
            tool(t, data)
        t.fit(data, epochs=2, batch_size=16)
        drop = ("seconds", "samples_per_second")
        return t.model.state_dict(), [{k: v for k, v in row.items() if k not in drop} for row in t.history]

    (plain, rows), (used, used_rows) = play(None), play(TOOLS[name])
    for key, array in plain.items():
        np.testing.assert_array_equal(used[key], array)
    assert used_rows == rows


def test_a_tool_that_fails_leaves_no_trace_either():
    t = trainer()
    data = images()
    t.fit(data, batch_size=16)
    before, drawn = {k: v.copy() for k, v in t.model.state_dict().items()}, save_random()[0]

    def lunar_after_step(self, step):
        raise ValueError("in the middle")

    t.plugins.append(plugin(lunar_after_step=lunar_after_step))
    with pytest.raises(ValueError, match="in the middle"):
        lr_find(t, data, steps=20)
    for key, array in before.items():
        np.testing.assert_array_equal(t.model.state_dict()[key], array)
    assert save_random()[0] == drawn and len(t.history) == 1


# --- lr_find ---------------------------------------------------------------------------------------------------------


def test_lr_find_finds_a_rate_that_trains(tmp_path):
    found = lr_find(trainer(lr=1e-5), images(256), low=1e-6, high=100, steps=80, batch_size=32)
    assert len(found.rates) == len(found.losses) == len(found.smooth) < 79  # it ended when the loss grew
    assert found.rates == sorted(found.rates) and found.rates[0] == 1e-6
    assert 1e-4 < found.suggestion < 0.5 and found.suggestion <= found.lowest
    good, bad = trainer(lr=found.suggestion), trainer(lr=1e-5)
    assert good.fit(images(256), epochs=2)[-1]["loss"] < 0.5 * bad.fit(images(256), epochs=2)[-1]["loss"]
    found.plot(tmp_path / "lr.png")
    assert (tmp_path / "lr.png").read_bytes().startswith(b"\x89PNG")
    assert "suggestion" in repr(found)


def test_lr_find_on_a_parabola_knows_the_limit_of_stability():
    class Bowl(lc.layers.Identity):
        def __init__(self):
            super().__init__()
            self.w = lc.Parameter(np.ones(4))

        def forward(self, x):
            return x * 0.0 + self.w

    # loss = mean of (w - 0)^2: with SGD, w shrinks by |1 - lr / 2| a step, so it diverges beyond lr = 4.
    model = Bowl()
    t = Trainer(model, "mse", {"@optimizer": "sgd", "lr": 1.0}, progress="off")
    data = np.zeros((8, 4)), np.zeros((8, 4))
    found = lr_find(t, data, low=1e-3, high=100, steps=60, batch_size=8)
    assert found.suggestion < 4 < found.rates[-1]
    np.testing.assert_array_equal(model.w.data, np.ones(4))


def test_lr_find_keeps_the_ratios_of_groups():
    model = network()
    model(lc.Tensor(images()[0][:2]))
    named = list(model.parameters())
    optimizer = lc.optimizers.SGD([{"params": named[:2], "lr": 0.1}, {"params": named[2:], "lr": 0.01}])
    seen = []
    spy = plugin(lunar_after_step=lambda self: seen.append(optimizer.groups[1].lr / optimizer.groups[0].lr))
    lr_find(Trainer(model, "cross_entropy", optimizer, plugins=[spy], progress="off"), images(), steps=12)
    assert seen == pytest.approx([0.1] * len(seen)) and len(seen) > 3
    assert [g.lr for g in optimizer.groups] == [0.1, 0.01]


def test_lr_find_says_what_it_cannot_do():
    with pytest.raises(HyperparameterError, match="low < high"):
        lr_find(trainer(), images(), low=1.0, high=0.1)
    with pytest.raises(DataError, match="begin lower"), np.errstate(all="ignore"):
        model = lc.layers.Sequential(lc.layers.Flatten(), lc.layers.Dense(8), lc.layers.ReLU(), lc.layers.Dense(4))
        lr_find(trainer(name="sgd", model=model), (images()[0] * 1e30, images()[1]))


# --- find_batch_size --------------------------------------------------------------------------------------------------


def test_find_batch_size_doubles_until_the_data_are_used_up():
    found = find_batch_size(trainer(), images(96), start=16)
    assert [t.size for t in found.trials] == [16, 32, 64, 96]
    assert found.largest == 96 and all(t.fits and t.samples_per_second > 0 for t in found.trials)
    peaks = [t.peak_bytes for t in found.trials]
    assert peaks == sorted(peaks) and 3 < peaks[2] / peaks[0] < 4.2


def test_find_batch_size_stops_at_a_limit_of_memory():
    peaks = [t.peak_bytes for t in find_batch_size(trainer(), images(96), start=16).trials]
    found = find_batch_size(trainer(), images(96), start=16, memory=peaks[1])
    assert found.largest == 32 and [t.fits for t in found.trials] == [True, True, False]
    with pytest.raises(MemoryError, match="a batch of 16 does not fit"):
        find_batch_size(trainer(), images(96), start=16, memory=10)


def test_running_out_of_memory_is_an_answer_and_other_errors_are_not():
    def lunar_before_forward(self, inputs):
        if len(inputs) > 20:
            raise MemoryError("no more")

    assert find_batch_size(trainer(plugin(lunar_before_forward=lunar_before_forward)), images(96)).largest == 16

    def fail(self, inputs):
        raise ValueError("something else")

    with pytest.raises(ValueError, match="something else"):
        find_batch_size(trainer(plugin(lunar_before_forward=fail)), images(96))


# --- rehearsals -------------------------------------------------------------------------------------------------------


def test_dry_run_goes_through_everything_and_says_what_it_saw(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    t = trainer("csv_logger", "early_stopping", "gradient_stats")
    found = dry_run(t, images(), images(32, seed=4), batch_size=8)
    assert found.output_shape == (8, 4) and found.parameters == t.model.num_parameters()
    assert found.figures["step"] == 1 and {"loss", "accuracy", "val_loss", "val_accuracy"} <= found.figures.keys()
    assert found.calls["csv_logger"] >= 3 and found.calls["early_stopping"] >= 2
    assert list(tmp_path.iterdir()) == []  # its files went elsewhere
    assert "plugin csv_logger: " in str(found)


def test_dry_run_shows_warnings_and_errors():
    broken = plugin(lunar_after_step=lambda self: 1 / 0, band="reader")
    assert any("is switched off" in text for text in dry_run(trainer(broken), images()).warnings)
    with pytest.raises(DataError):
        dry_run(trainer(), (images()[0], images()[1] + 7))


def test_overfit_tells_a_model_that_learns_from_one_that_does_not():
    good = overfit(trainer(), images(), steps=120, batch_size=16)
    assert good.ok and "work together" in str(good) and len(good.losses) == 120
    bad = overfit(trainer(lr=0.0), images(), steps=20, batch_size=16)
    assert not bad.ok and "gradient_check" in str(bad)


@pytest.mark.skipif(os.name != "posix", reason="signals")
def test_lr_find_ends_as_a_run_does_when_the_process_is_told_to(tmp_path):
    program = """
import sys, numpy as np, lunar_core as lc
from lunar_training import Trainer, lr_find

class Go:  # an editor, so that it takes part
    def lunar_after_step(self, step):
        if step == 3:
            print("going", flush=True)

x = np.random.default_rng(0).normal(size=(64, 8)).astype(np.float32)
t = Trainer(lc.layers.Sequential(lc.layers.Dense(2)), "mse", "sgd", plugins=[Go()], progress="off")
lr_find(t, (x, x[:, :2]), low=1e-12, high=1e-10, steps=10**6)
"""
    child = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True, cwd=tmp_path)
    assert child.stdout.readline() == "going\n"
    child.send_signal(signal.SIGTERM)
    assert child.wait(timeout=60) == 143
    child.stdout.close()
