"""History: rows and columns, best, CSV, JSON, plot."""

from __future__ import annotations

import csv
import json
import math
import subprocess
import sys

import pytest

from lunar_core.errors import DataError, UnknownNameError
from lunar_training import History

ROWS = [
    {"epoch": 1, "step": 10, "loss": 0.9, "accuracy": 0.5, "val_loss": 1.0},
    {"epoch": 2, "step": 20, "loss": 0.5, "accuracy": 0.8, "val_loss": math.nan},
    {"epoch": 3, "step": 30, "loss": 0.1, "accuracy": 0.8, "val_loss": 0.7, "lr": 1e-3},
]


def test_rows_and_columns_are_plain_data():
    history = History(ROWS)
    assert len(history) == 3
    assert history.columns == ["epoch", "step", "loss", "accuracy", "val_loss", "lr"]
    assert history["loss"] == [0.9, 0.5, 0.1]
    assert history["lr"] == [None, None, 1e-3]
    assert history[-1]["step"] == 30
    assert [row["epoch"] for row in history] == [1, 2, 3]
    assert "3 epochs, last: epoch=3" in repr(history)
    assert repr(History()) == "History(no epochs)"


def test_an_unknown_column_is_named_with_the_nearest():
    with pytest.raises(UnknownNameError, match="no column 'val_los'") as info:
        History(ROWS)["val_los"]
    assert "val_loss" in str(info.value)


def test_best_knows_which_way_is_better_and_passes_over_nan():
    history = History(ROWS)
    assert history.best("val_loss")["epoch"] == 3
    assert history.best("accuracy")["epoch"] == 2  # the earliest of equals
    assert history.best("accuracy", mode="min")["epoch"] == 1
    with pytest.raises(UnknownNameError):
        history.best("f1")
    with pytest.raises(DataError, match="no finite value of 'loss'"):
        History([{"epoch": 1, "loss": math.nan}]).best("loss")


def test_csv_and_json_hold_every_figure_in_full(tmp_path):
    history = History(ROWS)
    history.to_csv(tmp_path / "h.csv")
    with open(tmp_path / "h.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [float(r["loss"]) for r in rows] == [0.9, 0.5, 0.1]
    assert rows[0]["lr"] == "" and rows[1]["val_loss"] == "nan"
    history.to_json(tmp_path / "h.json")
    assert json.loads((tmp_path / "h.json").read_text())[1]["val_loss"] is None
    assert history.to_csv().splitlines()[0] == "epoch,step,loss,accuracy,val_loss,lr"
    assert sorted(p.name for p in tmp_path.iterdir()) == ["h.csv", "h.json"]


def test_plot_draws_a_panel_for_each_figure(tmp_path):
    figure = History(ROWS).plot(tmp_path / "h.png")
    assert [axes.get_title() for axes in figure.axes] == ["loss", "accuracy", "lr"]
    assert [line.get_label() for line in figure.axes[0].lines] == ["training", "validation"]
    assert (tmp_path / "h.png").read_bytes().startswith(b"\x89PNG")
    only = History(ROWS).plot(columns=["accuracy"])
    assert [axes.get_title() for axes in only.axes] == ["accuracy"]
    with pytest.raises(UnknownNameError, match="'f1'"):
        History(ROWS).plot(columns=["f1"])
    with pytest.raises(DataError, match="no figures"):
        History().plot()


def test_plotting_opens_no_window_and_training_imports_neither_matplotlib_nor_rich(tmp_path):
    code = (
        "import sys, lunar_training\n"
        "assert not {'matplotlib', 'rich', 'click'} & set(sys.modules), 'imported at start'\n"
        "from lunar_training import History\n"
        f"History([{{'epoch': 1, 'loss': 0.5}}]).plot({str(tmp_path / 'x.svg')!r})\n"
        "assert 'matplotlib.pyplot' not in sys.modules\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, env=_environment())
    assert (tmp_path / "x.svg").exists()


def _environment():
    import os

    return {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "DISPLAY": "", "MPLBACKEND": "tkagg"}
