"""The run store: what a run leaves in it, several writers, and runs that died."""

from __future__ import annotations

import math
import os
import sqlite3
import subprocess
import sys
import threading

import pytest
from instrument_parts import images, run
from training_parts import plugin

from lunar_core.errors import SerializationError, UnknownNameError
from lunar_training import DivergenceError
from lunar_training.callbacks.diagnosis import Diagnosis
from lunar_training.callbacks.sqlite_logger import SQLiteLogger
from lunar_training.comparing import differences
from lunar_training.store import Store, find_run, run_in


@pytest.fixture
def path(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("LUNAR_STORE", str(tmp_path / "store.sqlite"))
    return tmp_path / "store.sqlite"


def test_a_run_leaves_its_figures_its_settings_and_how_it_ended(path):
    t, records = run(SQLiteLogger(name="mine"), epochs=3, val=images(16))
    with Store(path) as store:
        (found,) = store.runs()
        assert (found.name, found.status, found.reason) == ("mine", "completed", None)
        assert found.config["epochs"] == 3 and found.config["optimizers"][0]["lr"] == 0.01
        assert [row["loss"] for row in found.history] == t.history["loss"]
        assert found.best("val_loss") == min(t.history["val_loss"])
        steps, losses = store.curve(found, "loss", "step")
        assert losses == [r["loss"] for r in records.of("step")] and steps == list(range(1, 19))
        assert store.curve(found, "val.loss", "eval")[1] == t.history["val_loss"]
        assert "samples_per_second" in store.names(found)
    assert sqlite3.connect(path).execute("PRAGMA journal_mode").fetchone() == ("wal",)


def test_the_end_of_a_run_is_kept_whatever_it_was(path):
    run(SQLiteLogger(), plugin(lunar_after_step=lambda self, ctx: ctx.stop("enough")))
    with pytest.raises(ZeroDivisionError):
        run(SQLiteLogger(), plugin(lunar_after_step=lambda self: 1 / 0))
    with pytest.raises(DivergenceError):
        run(SQLiteLogger(), plugin(lunar_before_loss=lambda self, outputs, targets: (outputs * math.nan, targets)))
    with Store(path) as store:
        assert [(r.status, r.reason) for r in store.runs()][:2] == [
            ("stopped", "enough"), ("error", "ZeroDivisionError: division by zero"),
        ]  # fmt: skip
        assert store.runs()[2].status == "error"


def test_findings_and_histograms_are_kept_as_data(path):
    from lunar_training.callbacks.gradient_stats import GradientStats

    run(SQLiteLogger(), GradientStats(every="1ep", bins=4), Diagnosis(patience=1), epochs=4,
        optimizer={"@optimizer": "sgd", "lr": 0.0})  # fmt: skip
    with Store(path) as store:
        (found,) = store.runs()
        assert store.told(found, "diagnosis")[0]["kind"] == "plateau"
        assert len(store.told(found, "stats")[0]["grad_hist/0.weight"]["counts"]) == 4
        assert "grad_norm/0.weight" in store.names(found, "stats")


def test_nan_comes_back_as_nan_and_infinity_as_infinity(path):
    with Store(path) as store:
        number = store.begin("a")
        for step, value in enumerate((1.0, math.nan, math.inf)):
            store.add(number, {"event": "step", "epoch": 1, "step": step, "loss": value})
        store.flush()
        _, values = store.curve(store.runs()[0], "loss", "step")
    assert values[0] == 1.0 and math.isnan(values[1]) and values[2] == math.inf


def test_a_run_is_found_by_the_start_of_its_id_or_the_latest_of_a_name(path):
    with Store(path) as store:
        for _ in range(2):
            store.end(store.begin("same"), "completed")
        first, second = store.runs()
        assert store.find(first.id[:6]) == first and store.find("same").id == second.id
        with pytest.raises(UnknownNameError, match="no run 'sane'") as info:
            store.find("sane")
        assert "same" in str(info.value)


def test_several_threads_write_at_the_same_time(path):
    Store(path).close()

    def work(name):
        with Store(path) as store:
            number = store.begin(name)
            for step in range(300):
                store.add(number, {"event": "step", "epoch": 1, "step": step, "loss": float(step)})
                if step % 50 == 0:
                    store.flush(number)
            store.end(number, "completed")

    threads = [threading.Thread(target=work, args=(f"run{i}",)) for i in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    with Store(path) as store:
        assert sorted(len(store.curve(r, "loss", "step")[1]) for r in store.runs()) == [300] * 4


def test_a_run_whose_process_is_gone_is_dead(path):
    code = f"from lunar_training.store import Store; import os; Store({str(path)!r}).begin('lost'); os._exit(9)"
    subprocess.run([sys.executable, "-c", code], check=False, env={**os.environ, "OMP_NUM_THREADS": "1"})
    with Store(path) as store:
        number = store.begin("alive")
        assert [r.status for r in store.runs()] == ["dead", "running"]
        store.end(number, "completed")


def test_what_is_no_store_is_said(path, tmp_path):
    (tmp_path / "text").write_text("hello " * 500)
    with pytest.raises(SerializationError, match="is no run store"):
        Store(tmp_path / "text")
    with pytest.raises(SerializationError, match="there is no run store"):
        find_run("a", str(tmp_path / "missing"))
    newer = sqlite3.connect(tmp_path / "newer")
    newer.execute("PRAGMA user_version=9")
    newer.close()
    with pytest.raises(SerializationError, match="of version 9, expected 1"):
        Store(tmp_path / "newer")


def test_a_store_that_cannot_be_written_does_not_stop_a_run(tmp_path):
    with pytest.warns(UserWarning, match="'sq_lite_logger' is switched off|'sqlite_logger' is switched off"):
        t, _ = run(SQLiteLogger(path=str(tmp_path / "no" / "such" / "folder")))
    assert len(t.history) == 2


def test_a_run_directory_is_a_run_too(path, tmp_path):
    t, _ = run(out=tmp_path / "one", epochs=2)
    found = run_in(tmp_path / "one")
    assert found.status == "completed" and [row["loss"] for row in found.history] == t.history["loss"]
    assert find_run(str(tmp_path / "one")).name == "one"


def test_the_differences_of_settings_are_told_by_their_path():
    a = {"lr": 0.1, "model": {"@model": "mlp", "hidden": [8]}, "same": 1}
    b = {"lr": 0.2, "model": {"@model": "mlp", "hidden": [8, 4]}, "same": 1}
    assert differences([a, b]) == {"lr": ["0.1", "0.2"], "model.hidden.1": ["-", "4"]}
