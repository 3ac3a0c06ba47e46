"""lunar runs, lunar compare and lunar replay over real runs."""

from __future__ import annotations

import re

import numpy as np
import pytest

import lunar_core as lc
from lunar_training import Trainer

SMALL = ["--set", "model=mlp", "--set", "model.hidden=[16]", "--set", "scheduler=none"]


def fit(name, lr, *plugins, epochs=2, scale=1.0, expect=None):
    lc.seed(0)
    x, y = lc.create("dataset", "digits").arrays()
    logger = lc.create("callback", "sqlite_logger", name=name)
    trainer = Trainer(lc.create("model", "mlp", hidden=(16,)), "cross_entropy", {"@optimizer": "sgd", "lr": lr},
                      metrics=["accuracy"], plugins=[logger, *plugins], progress="off")  # fmt: skip
    trainer.fit((x[:200] * np.float32(scale), y[:200]), val=(x[200:300], y[200:300]), epochs=epochs)
    return trainer


def test_runs_lists_the_store_and_the_run_directories(lunar):
    assert lunar("runs")[2] == "There are no runs yet.\n"
    fit("first", 0.1)
    assert lunar("train", "digits-cnn", *SMALL, "--epochs", "1", "--seed", "7")[0] == 0
    code, out, err = lunar("runs")
    assert (code, err) == (0, "")
    rows = [line.split("\t") for line in out.splitlines()]
    assert rows[0] == ["id", "name", "status", "started", "took", "epochs", "last epoch"]
    assert [row[1][:10] for row in rows[1:]] == ["first", "digits-cnn"]
    assert [row[2] for row in rows[1:]] == ["completed", "completed"] and [row[5] for row in rows[1:]] == ["2", "1"]
    assert re.search(r"val_accuracy 0\.\d{4}", rows[1][6])
    assert lunar("runs", "first")[1].count("\n") == 2
    code, _, err = lunar("runs", "nothing*")
    assert code == 2 and "no run fits 'nothing*'" in err


def test_runs_shows_epochs_and_findings(lunar):
    fit("still", 0.0, lc.create("callback", "diagnosis", patience=1), epochs=3)
    out = lunar("runs", "--show", "still")[1]
    assert out.startswith("still (") and "val_loss" in out and "plateau: val_loss has not improved" in out


def test_compare_shows_settings_figures_and_a_plot(lunar, tmp_path):
    fit("slow", 0.01)
    fit("fast", 0.2)
    code, out, err = lunar("compare", "slow", "fast", "--plot", "curves.png")
    assert (code, err) == (0, "")
    settings, figures, said = out.split("\n\n")
    assert "optimizers.0.lr\t0.01\t0.2" in settings
    rows = {line.split("\t")[0]: line.split("\t")[1:] for line in figures.splitlines()}
    assert rows["best (last)"] == ["slow", "fast", "B - A"]
    assert float(rows["val_loss"][2]) < 0 < float(rows["val_accuracy"][2])
    assert (tmp_path / "curves.png").read_bytes().startswith(b"\x89PNG") and "curves.png" in said
    out = lunar("compare", "slow", "slow", "--figure", "loss")[1]
    assert out.startswith("The settings are the same.") and "accuracy" not in out


def test_compare_says_what_it_does_not_find(lunar):
    assert lunar("compare", "a")[0] == 2
    fit("one", 0.1, epochs=1)
    code, _, err = lunar("compare", "one", "two")
    assert code == 2 and "no run 'two'" in err
    code, _, err = lunar("compare", "one", "one", "--figure", "lost")
    assert code == 2 and "no figure 'lost'; there are loss" in err


def test_replay_names_the_op_the_module_and_the_examples(lunar):
    recorder = lc.create("callback", "flight_recorder")
    with np.errstate(all="ignore"), pytest.raises(lc.errors.LunarError):
        fit("bad", 0.1, recorder, scale=3e38)
    code, out, err = lunar("replay", recorder.bundles[0], "--ops")
    assert (code, err) == (0, "")
    ops, said = out.split("\n\n")
    assert ops.splitlines()[0].split("\t") == ["#", "phase", "op", "module", "min", "max", "non-finite"]
    assert re.search(r'replay: linear in module "\S*" gave \d+ values that are not finite; it is number \d+ of', said)
    assert "its inputs were all finite" in said and "the same as recorded in every op" in said
    assert re.search(r"examples: \d+", said)


def test_replay_wants_a_bundle(lunar, tmp_path):
    code, _, err = lunar("replay", str(tmp_path))
    assert code == 2 and "has no bundle.json" in err
    assert lunar("replay", "missing")[0] == 2
